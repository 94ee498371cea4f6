"""Options of the whole suite; fixtures live beside the tests that use them, helpers in ``support``."""

from __future__ import annotations

import os

from hypothesis import settings

# No deadline per example: on a machine that is busy with real servers, slow is not wrong.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=300, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Hundreds of workers are started, and without it each would compile anew what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
