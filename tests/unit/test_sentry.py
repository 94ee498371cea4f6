"""What a standby concludes when the lock is held and nobody answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onduty._runtime.sentry import HEIRS_AFTER, Sentry
from onduty.election.file import FileElection, at_once
from onduty.events import Events, LeaderFrozen, LeaderThawed, LockHeldByOthers
from onduty.process import ProcessId, is_stopped, this_process
from onduty.testing.clock import ManualClock
from support.shortage import no_free_descriptor
from support.waiting import eventually

DIES = """
import sys
from pathlib import Path
from onduty.election.file import FileElection, at_once
from onduty.process import this_process
lock = FileElection(Path(sys.argv[1]), this_process(), lambda fd: None, lambda fd: True, at_once)
lock.campaign()
lock.began(5, 0)
print(lock.last().process.pid, flush=True)
"""


def candidate(lock: Path, me: ProcessId) -> FileElection:
    return FileElection(lock, me, lambda fd: None, lambda fd: True, at_once)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Its record names a leader that is dead."""
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "lock")], check=True, capture_output=True)
    return tmp_path / "lock"


@pytest.fixture
def winner(lock: Path) -> Iterator[FileElection]:
    winner = candidate(lock, this_process())
    assert winner.campaign()
    yield winner
    winner.resign()


def test_who_has_won_and_not_yet_begun_is_not_taken_for_an_heir(lock: Path, winner: FileElection) -> None:
    """Its term begins in the journal, which may be busy for seconds, and whoever believes the line ends it."""
    heard: list[LockHeldByOthers] = []
    events = Events()
    events.subscribe(LockHeldByOthers, heard.append)
    sentry = Sentry("shop", ManualClock(), events, candidate(lock, this_process()), kill_frozen=False)

    for mono in (1.0, 1.0 + HEIRS_AFTER, 5.0):
        sentry.nobody_answers(mono)

    assert heard == []


def test_who_has_left_in_order_is_not_the_leader_whoever_else_has_the_lock(
    tmp_path: Path, lock: Path, winner: FileElection
) -> None:
    """Its process may be suspended for long, while the next one waits for the journal."""
    heard: list[object] = []
    events = Events()
    events.subscribe(LeaderFrozen, heard.append)
    sentry = Sentry("shop", ManualClock(), events, candidate(lock, this_process()), kill_frozen=True)
    command = [sys.executable, "-c", f"{DIES}lock.resign()\nprint(flush=True)\ninput()", str(lock)]
    winner.resign()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as former:
        try:
            assert former.stdout is not None
            assert former.stdout.readline()
            assert former.stdout.readline()
            os.kill(former.pid, signal.SIGSTOP)
            record = candidate(lock, this_process()).last()
            assert record is not None
            assert record.process.pid == former.pid
            eventually(lambda: is_stopped(record.process))
            assert winner.campaign()

            for second in range(60):
                sentry.nobody_answers(1.0 + second)
            # Nor if a standby hears it still, since it was stopped before it closed its hub.
            sentry.hear([{"term": 5, "beat": 0, "process": record.process.as_dict()}])
            for second in range(60):
                sentry.watch(101.0 + second)
            winner.began(6, 0)
            for second in range(60):
                sentry.watch(201.0 + second)

            assert (heard, former.poll()) == ([], None)
        finally:
            former.kill()


def test_without_a_free_descriptor_nothing_is_concluded_and_nothing_fails(lock: Path, winner: FileElection) -> None:
    """A standby that failed in that would let go of its line, and be late when it is needed."""
    heard: list[object] = []
    events = Events()
    events.subscribe(LeaderFrozen, heard.append)
    events.subscribe(LeaderThawed, heard.append)
    sentry = Sentry("shop", ManualClock(), events, candidate(lock, this_process()), kill_frozen=False)
    answer = {"term": 6, "process": this_process().as_dict()}
    sentry.hear([{**answer, "beat": 0}])
    winner.began(6, 0)

    def watches(since: int) -> list[str]:
        for second in range(20):
            sentry.watch(float(since + second))
        return [type(one).__name__ for one in heard]

    with no_free_descriptor():
        assert watches(0) == []
    assert watches(20) == ["LeaderFrozen"], "its beat has not moved for as long as it could be looked at"
    with no_free_descriptor():
        watches(40)
    assert watches(60) == ["LeaderFrozen"], "nothing is seen that would tell of its end"
    sentry.hear([{**answer, "beat": 1}])
    assert watches(80) == ["LeaderFrozen", "LeaderThawed", "LeaderFrozen"]
    assert sentry.frozen

    winner.resign()
    watches(100)
    assert sentry.frozen is None, "who has left is no frozen leader"


def test_a_stopped_leader_is_found_out_though_the_record_is_an_older_copy(tmp_path: Path, lock: Path) -> None:
    """Who was put back into its place by hand does not lead, and the leader can't tell: it is stopped."""
    heard: list[LeaderFrozen] = []
    events = Events()
    events.subscribe(LeaderFrozen, heard.append)
    mine = candidate(lock, this_process())
    sentry = Sentry("shop", ManualClock(), events, mine, kill_frozen=True)
    (tmp_path / "copy").write_bytes(lock.read_bytes())
    with subprocess.Popen(
        [sys.executable, "-c", f"{DIES}input()", str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as leader:
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline()
            record = mine.last()
            assert record is not None
            assert not mine.campaign()
            sentry.hear([{"term": 5, "beat": 0, "process": record.process.as_dict()}])
            os.kill(leader.pid, signal.SIGSTOP)
            eventually(lambda: is_stopped(record.process))
            (tmp_path / "copy").rename(lock)
            assert mine.last() != record

            for second in range(12):
                sentry.watch(float(second))

            assert leader.wait(30) == -signal.SIGKILL
        finally:
            leader.kill()
    assert [(one.state, one.killed) for one in heard] == [("stopped", True)]


def test_a_leader_that_is_stopped_before_it_has_a_hub_is_found_out(tmp_path: Path) -> None:
    """And only then: one that goes on may have no hub at all."""
    heard: list[LeaderFrozen] = []
    events = Events()
    events.subscribe(LeaderFrozen, heard.append)
    sentry = Sentry("shop", ManualClock(), events, candidate(tmp_path / "lock", this_process()), kill_frozen=True)
    command = [sys.executable, "-c", f"{DIES}input()", str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as leader:
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline()
            for second in range(100):
                sentry.nobody_answers(1.0 + second)
            assert (heard, leader.poll()) == ([], None)

            os.kill(leader.pid, signal.SIGSTOP)
            record = candidate(tmp_path / "lock", this_process()).last()
            assert record is not None
            eventually(lambda: is_stopped(record.process))
            for second in range(12):
                sentry.nobody_answers(101.0 + second)

            assert leader.wait(30) == -signal.SIGKILL
        finally:
            leader.kill()  # it may be stopped still, and would be waited for
    assert [(one.pid, one.state, one.killed) for one in heard] == [(leader.pid, "stopped", True)]
