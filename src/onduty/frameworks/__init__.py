"""Glue, one file per framework, short enough to read at lunch."""
