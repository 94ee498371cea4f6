"""The lock file, beyond the port's contract: one holder, whatever is done to the file or its descriptor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onduty.election.file import FileElection, at_once
from onduty.errors import StoreUnavailable
from onduty.process import this_process
from support.shortage import no_free_descriptor


def candidate(path: Path) -> FileElection:
    return FileElection(path, this_process(), lambda fd: None, lambda fd: True, at_once)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_who_wins_and_begins_no_term_leaves_the_record_alone(lock: Path) -> None:
    """It may have led before, and know a term that is older than the record's: the floor must not go down."""
    first, second = candidate(lock), candidate(lock)
    first.campaign()
    first.began(41, 7)
    first.resign()
    second.campaign()
    second.began(42, 8)
    second.resign()

    assert first.campaign()
    first.resign()

    told = second.last()
    assert told is not None
    assert (told.term, told.since) == (42, 8)


def test_who_lets_go_reserves_nothing_beyond_that(lock: Path) -> None:
    """After a power cut, what came due later was missed, and not perhaps run."""
    first = candidate(lock)
    first.campaign()
    first.began(41, 7)
    first.reserve(1000, False, 0)
    first.resign(500)

    told = candidate(lock).last()
    assert told is not None
    assert (told.reserved_until, told.clean) == (500, True)


@pytest.mark.parametrize("text", ['{"process":{"host"', "[" * 100_000], ids=["half", "deep"])
def test_a_torn_record_is_no_record(lock: Path, text: str) -> None:
    """Nothing is guessed from half a line; and whoever wins writes over what there was."""
    lock.write_text(text)

    assert candidate(lock).last() is None
    winner = candidate(lock)
    assert winner.campaign()
    winner.began(41, 7)
    told = candidate(lock).last()
    assert told is not None
    assert told.term == 41
    winner.resign()


def test_what_can_not_be_read_is_not_taken_for_nothing(lock: Path) -> None:
    """A leader that did would run again what the last one could not write down. Whoever holds the lock can read."""
    first, second = candidate(lock), candidate(lock)
    first.campaign()
    first.began(41, 7, gap=True)
    assert not second.campaign()
    with no_free_descriptor():
        told = first.last()
        assert told is not None
        assert (told.term, told.gap) == (41, True)
        with pytest.raises(StoreUnavailable, match=r"lock can't be read: Too many open files"):
            second.last()
        with pytest.raises(StoreUnavailable, match="find out what this process leaves open"):
            candidate(lock).campaign()
        first.resign()
        assert second.campaign()
        told = second.last()
        assert told is not None
        assert (told.term, told.gap) == (41, True)
    second.resign()


def test_a_holder_whose_file_was_replaced_no_longer_holds(lock: Path) -> None:
    """The file is deleted by a cleaner: the holder notices, since the name means another file now."""
    holder = candidate(lock)
    holder.campaign()
    assert holder.still_mine()

    lock.unlink()

    assert not holder.still_mine()
    holder.resign()


def test_a_standby_does_not_make_a_second_lock_while_the_first_is_held(lock: Path) -> None:
    """Deleted or not, the file that it knew is still locked."""
    holder, standby = candidate(lock), candidate(lock)
    holder.campaign()
    assert not standby.campaign()
    lock.unlink()

    assert not standby.campaign()
    assert not lock.exists()
    holder.resign()

    assert standby.campaign()
    assert standby.is_new
    standby.resign()


def test_a_newcomer_that_had_to_make_the_file_says_so(lock: Path) -> None:
    """Somebody may hold a deleted one; the elector then asks the hub."""
    newcomer = candidate(lock)

    assert newcomer.campaign()
    assert newcomer.is_new
    newcomer.resign()
    again = candidate(lock)
    assert again.campaign()
    assert not again.is_new
    again.resign()


def test_a_closed_descriptor_is_noticed_and_its_number_left_alone(lock: Path, tmp_path: Path) -> None:
    """It may be another file by now."""
    holder = FileElection(lock, this_process(), lambda fd: None, lambda fd: False, at_once)
    holder.campaign()
    descriptor = holder._fd
    assert descriptor is not None
    os.close(descriptor)
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    try:
        assert other == descriptor
        assert not holder.still_mine()
        assert not holder.is_intact
        holder.resign()
        os.fstat(other)
    finally:
        with contextlib.suppress(OSError):
            os.close(other)


HOLD = """
import sys
from collections.abc import Callable
from pathlib import Path
from onduty.election.file import FileElection, at_once
from onduty.process import this_process
lock = FileElection(Path(sys.argv[1]), this_process(), lambda fd: None, lambda fd: True, at_once)
print(lock.campaign(), flush=True)
lock.began(5, 0)
if sys.argv[2] == "fork":
    import os
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    os._exit(0)
sys.stdin.read()
"""


def test_the_kernel_releases_the_lock_of_a_killed_process(lock: Path) -> None:
    """However it dies."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        mine = candidate(lock)
        assert not mine.campaign()
        assert mine.heirs() is None

        holder.kill()
        holder.wait()

        assert mine.campaign()
        mine.resign()


def test_who_holds_the_lock_that_we_wait_for_can_be_named(lock: Path, tmp_path: Path) -> None:
    """Whatever the record says, and whichever file has its name by now."""
    me = this_process()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        mine, it = candidate(lock), me._replace(pid=holder.pid)
        assert not mine.campaign()
        assert (mine.is_held_by(it), mine.is_held_by(me)) == (True, False)

        (tmp_path / "other").write_text("{}")
        (tmp_path / "other").rename(lock)
        assert mine.is_held_by(it)
        assert not candidate(lock).is_held_by(it)
        holder.kill()
        holder.wait()

        assert not mine.is_held_by(it)
        assert mine.campaign()
        assert mine.is_held_by(me)
        mine.resign()


def test_who_inherited_a_dead_holder_s_lock_can_be_named(lock: Path) -> None:
    """Here the child was not told to let go, as after a fork made in C."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), "fork"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        holder.wait()
        mine = candidate(lock)

        assert not mine.campaign()
        heirs = mine.heirs()
        assert heirs
        assert holder.pid not in heirs
        last = mine.last()
        assert last is not None
        assert last.process.pid == holder.pid
        assert holder.stdin is not None
        holder.stdin.close()


def test_a_leader_that_moves_its_reservation_waits_for_the_disk_elsewhere(lock: Path) -> None:
    """In a gevent worker nobody waits for a slow disk every half minute. A take-over does not wait for a thread."""
    elsewhere: list[int] = []

    def offload(call: Callable[[int], None], fd: int) -> None:
        elsewhere.append(fd)
        call(fd)

    leader = FileElection(lock, this_process(), lambda fd: None, lambda fd: True, offload)
    leader.campaign()
    leader.began(41, 7)
    assert elsewhere == []

    leader.reserve(1000, False, 0)

    assert len(elsewhere) == 1
    told = candidate(lock).last()
    assert told is not None
    assert told.reserved_until == 1000
