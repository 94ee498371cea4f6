"""What the lock says of a leader before its first run: how far slots may run without the next one's knowing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from onduty.clock import SECOND

PROGRAM = """
import sys, time
from pathlib import Path
from onduty import OnDuty
from onduty.events import TermBegan

duty = OnDuty(lambda environ, start_response: [], name="shop", dir=sys.argv[1], durability=sys.argv[2])
seen, runs = [], []

@duty.on(TermBegan)
def record(event):
    seen.append((Path(sys.argv[1]) / "shop" / "lock").read_text())

@duty.every(seconds=0.05, retry_lost=sys.argv[3] == "True")
def tick():
    runs.append(1)

duty.start()
deadline = time.monotonic() + 30
while not runs:
    assert time.monotonic() < deadline, "no run"
    time.sleep(0.01)
duty.stop()
print(seen[0])
"""


def lead(folder: Path, durability: str = "normal", *, retry_lost: bool = False) -> dict[str, Any]:
    """One process leads until its first run; the lock's record when its term began."""
    command = [sys.executable, "-c", PROGRAM, str(folder), durability, str(retry_lost)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    record: dict[str, Any] = json.loads(told.stdout)
    return record


@pytest.mark.parametrize(("durability", "ahead"), [("normal", True), ("full", False)])
def test_slots_are_reserved_when_the_term_begins(tmp_path: Path, durability: str, ahead: bool) -> None:
    """Their rows may be lost in a power cut; with every commit on the disk there is nothing to reserve."""
    record = lead(tmp_path, durability)

    assert (record["reserved_until"] > record["since"] + 30 * SECOND) is ahead
    assert record["gap"] is False


def test_what_is_in_doubt_stays_so_for_the_next_one(tmp_path: Path) -> None:
    """Who learns at the start of a term that slots may have run without a row may die before these are written down."""
    lead(tmp_path)
    lock = tmp_path / "shop" / "lock"
    record = json.loads(lock.read_text())
    before_the_cut = {"clean": False, "reserved_until": time.time_ns() // 1000 + 60 * SECOND}
    process = {**record["process"], "boot": "of another time"}
    lock.write_text(json.dumps({**record, **before_the_cut, "process": process}))

    found = lead(tmp_path)

    assert found["term"] == record["term"] + 1
    assert found["gap"] is True
    assert found["reserved_until"] > found["since"] + 30 * SECOND
    assert json.loads(lock.read_text())["gap"] is False, "they are written down by the time it ends"


def test_what_a_clock_that_was_set_back_leaves_in_doubt_is_told_on(tmp_path: Path) -> None:
    """An hour of slots ahead may have run without a row, and this leader ends before they are due."""
    lead(tmp_path)
    lock = tmp_path / "shop" / "lock"
    until = time.time_ns() // 1000 + 3600 * SECOND
    full_disk = {"clean": False, "gap": True, "reserved_until": until}
    lock.write_text(json.dumps({**json.loads(lock.read_text()), **full_disk}))

    found = lead(tmp_path, retry_lost=True)  # else nothing runs for an hour

    assert (found["gap"], found["reserved_until"]) == (True, until)
    assert json.loads(lock.read_text())["reserved_until"] == until
