"""onduty's main job, to watch: ``make demo``, or ``make demo ARGS=--prove`` without a browser."""
