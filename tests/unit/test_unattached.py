"""An ``OnDuty`` without an app, in a process that serves: a program of its own, for it says ``start()``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import flask, sys
from onduty import OnDuty
duty = OnDuty()

{declaring}

if "attached" in sys.argv:
    app = flask.Flask("shop", instance_path=sys.argv[1])
    duty.init_app(app)
(other := OnDuty(flask.Flask("other", instance_path=sys.argv[1]))).start()
other.stop()
"""
DECLARING = """
@duty.every(seconds=60)
def push(): ...
"""


@pytest.mark.parametrize(
    ("declaring", "more", "told"),
    [(DECLARING, [], True), (DECLARING, ["attached"], False), ("", [], False)],
    ids=["forgotten", "attached", "nothing declared"],
)
def test_work_without_an_app_is_told_of_once_the_process_serves(
    tmp_path: Path, declaring: str, more: list[str], told: bool
) -> None:
    program = PROGRAM.format(declaring=declaring)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *more], capture_output=True, text=True, timeout=60, check=True
    )
    assert "other: worker ready" in done.stderr
    assert ("push: declared on an OnDuty without an app" in done.stderr) is told
