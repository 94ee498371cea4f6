"""Those who turn events into sentences and numbers. None of them steers anything."""
