"""A process that no server serves: the work is begun by hand, and ends in good order with the interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onduty.journal import Outcome
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process

PROGRAM = """
import sys, time
from onduty import Context, OnDuty

duty = OnDuty(lambda environ, start_response: [], name="shop", dir=sys.argv[1])
begun = []

@duty.service
def collector(ctx: Context) -> None:
    begun.append(1)
    while ctx.sleep(60):
        pass
    print("told to end")

duty.start()
deadline = time.monotonic() + 30
while not begun:
    assert time.monotonic() < deadline, "it did not begin"
    time.sleep(0.01)
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "duty.stop()"])
def test_work_begun_by_hand_is_told_that_the_process_ends(tmp_path: Path, end: str) -> None:
    """With ``stop`` or without: it is not for the next one to find it lost."""
    command = [sys.executable, "-c", PROGRAM.replace("{end}", end), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout == "told to end\n"
    assert "Traceback" not in done.stderr
    journal = SqliteJournal(tmp_path / "shop" / "journal.sqlite3")
    journal.open(this_process())
    assert [run.outcome for run in journal.recent()] == [Outcome.STOPPED]
    journal.close()


def test_work_that_was_stopped_begins_in_a_new_process_only(tmp_path: Path) -> None:
    """Said where it is asked for: without a word it would never run again."""
    command = [sys.executable, "-c", PROGRAM.replace("{end}", "duty.stop()\nduty.start()"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "onduty.errors.OnDutyError: start(): this process has ended its work (stop() was called);"
        " begin it in a new process"
    )
