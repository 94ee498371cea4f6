"""The engine room: the only one with threads (or greenlets), forks and signals."""
