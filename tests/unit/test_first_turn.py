"""A new leader's first turn and its hub: what is due goes first, and may not keep the hub waiting for long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sqlite3, sys, threading, time
from pathlib import Path
from onduty import OnDuty
from onduty._runtime import policy
from onduty._runtime.hub import ask
from onduty.events import TermBegan

folder = Path(sys.argv[1])
policy.FIRST_TURN = float(sys.argv[2])
duty = OnDuty(lambda environ, start_response: [], name="shop", dir=folder)
is_held, has_begun = threading.Event(), threading.Event()

@duty.service
def collector(ctx):
    has_begun.set()
    while ctx.sleep(60):
        pass

@duty.on(TermBegan)
def hold_the_journal(event):
    global other
    other = sqlite3.connect(folder / "shop" / "journal.sqlite3", isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    is_held.set()

def answers_within(seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ask(folder / "shop", 1.0):
            return True
        time.sleep(0.01)
    return False

duty.start()
assert is_held.wait(30)
print(answers_within(float(sys.argv[3])), has_begun.is_set())
other.execute("rollback")
assert has_begun.wait(30)
print(answers_within(30))
duty.stop()
"""


@pytest.mark.parametrize(
    ("at_most", "seconds", "while_held"),
    [("60", "0.3", "False False"), ("0.05", "5", "True False")],
    ids=["what is due goes first", "but not for long"],
)
def test_the_hub_is_there_after_the_first_turn(tmp_path: Path, at_most: str, seconds: str, while_held: str) -> None:
    """Which is held up by a shell with an open transaction."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), at_most, seconds]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    assert done.stdout.splitlines() == [while_held, "True"], done.stderr
