"""In front of the package of this name, for those who want it not to be installed."""

raise ImportError("hidden by a test")
