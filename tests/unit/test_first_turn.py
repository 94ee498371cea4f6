"""A new leader's first turn and its hub: who connects sees at once that somebody leads; what is due is served first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onduty._runtime.hub import ask
from support.waiting import eventually

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

def says(seconds):
    try:
        return "leads" if ask(folder / "shop", seconds) else "nobody"
    except TimeoutError:
        return "somebody"

duty.start()
assert is_held.wait(30)
print(says(float(sys.argv[3])), has_begun.is_set())
other.execute("rollback")
assert has_begun.wait(30)
print(says(30))
duty.stop()
"""

PAUSED = """
import sys, threading, time
from pathlib import Path
from onduty import OnDuty
from onduty.events import TaskPaused, TermBegan
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process

folder = Path(sys.argv[1])
duty = OnDuty(lambda environ, start_response: [], name="shop", dir=folder)
began, is_paused = [], threading.Event()

@duty.every(seconds=1000)
def tick():
    began.append("tick")

@duty.task
def probe():
    began.append("probe")

@duty.on(TermBegan)
def pause(event):
    other = SqliteJournal(folder / "shop" / "journal.sqlite3")
    other.open(this_process())
    other.set_paused("tick", time.time_ns() // 1000)
    other.close()

@duty.on(TaskPaused)
def paused(event):
    is_paused.set()

duty.start()
assert is_paused.wait(30)
assert probe.trigger().wait(30).value == "succeeded"
print(began)
duty.stop()
"""

STUCK = """
import re, sys, time
from onduty import OnDuty

duty = OnDuty(lambda environ, start_response: [], name="shop", dir=sys.argv[1])

@duty.service
def collector(ctx):
    print("stuck", flush=True)
    re.match(r"(a+)+$", "a" * 60 + "b")

duty.start()
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("at_most", "seconds", "while_held"),
    [("60", "0.3", "somebody False"), ("0.05", "30", "leads False")],
    ids=["what is due goes first", "but not for long"],
)
def test_who_asks_during_the_first_turn_is_answered_after_it(
    tmp_path: Path, at_most: str, seconds: str, while_held: str
) -> None:
    """Which is held up by a shell with an open transaction."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), at_most, seconds]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    assert done.stdout.splitlines() == [while_held, "leads"], done.stderr


def test_what_was_paused_when_the_term_had_only_begun_does_not_run(tmp_path: Path) -> None:
    """By somebody else, while those that listen to the beginning take their time."""
    command = [sys.executable, "-c", PAUSED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)

    assert done.stdout == "['probe']\n", done.stderr


def is_too_busy_to_answer(folder: Path) -> bool:
    """``False``: it still answers. Never is it nobody."""
    try:
        assert ask(folder, 0.3) is not None
        return False
    except TimeoutError:
        return True


def test_a_first_run_that_keeps_the_interpreter_can_be_seen(tmp_path: Path) -> None:
    """Whoever could not connect could not tell that it is frozen."""
    with subprocess.Popen([sys.executable, "-c", STUCK, str(tmp_path)], stdout=subprocess.PIPE) as leader:
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline() == b"stuck\n"
            eventually(lambda: is_too_busy_to_answer(tmp_path / "shop"))
        finally:
            leader.kill()
