"""An ``OnDuty`` without an app, in a process that serves: a program of its own, for it says ``start()``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import flask, flask_socketio, sys
from onduty import OnDuty
duty = OnDuty({settings})

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
    program = PROGRAM.format(declaring=declaring, settings="")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), *more], capture_output=True, text=True, timeout=60, check=True
    )
    assert "other: worker ready" in done.stderr
    assert ("push: declared on an OnDuty without an app" in done.stderr) is told


def test_a_socketio_whose_duty_has_no_app_is_told_of_too(tmp_path: Path) -> None:
    """Its clients would say "Invalid session", and nothing else would tell why."""
    program = PROGRAM.format(declaring=DECLARING, settings="socketio=flask_socketio.SocketIO()")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "push: declared on an OnDuty without an app" in done.stderr
    assert "clients do not stay connected under several workers; call duty.init_app(app)" in done.stderr
