"""A standby's turns: it connects, asks at once, is woken by the end only if it comes next, and tries for the lock."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onduty._runtime import policy
from onduty._runtime.hub import Hub
from onduty._runtime.sentry import Sentry
from onduty._runtime.standby import Standby
from onduty.election.file import FileElection, at_once
from onduty.events import Events
from onduty.process import this_process
from onduty.testing.clock import ManualClock


class Worker:
    """A standby with a loop of its own. ``stays``: what it says when the leader offers its duty."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.clock = clock
        self.selector = selectors.DefaultSelector()
        self.stays = True
        election = FileElection(folder / "lock", this_process(), lambda fd: None, lambda fd: True, at_once)
        self.sentry = Sentry("shop", clock, Events(), election, kill_frozen=False)
        self.standby = Standby(folder, self.selector, self.sentry, lambda: self.stays)

    def turn(self) -> float:
        seconds = self.standby.turn(self.clock.mono())
        self.is_woken()
        return seconds

    def is_woken(self) -> bool:
        happened = self.selector.select(0)
        for key, _ in happened:
            key.data()
        return bool(happened)


class Leader:
    def __init__(self, folder: Path, term: int) -> None:
        self.selector = selectors.DefaultSelector()
        about = {"pid": 7, "process": this_process().as_dict(), "term": term, "beat": 1}
        self.hub = Hub(folder, self.selector, lambda: about)
        self.hub.listen()

    def serve(self) -> None:
        while happened := self.selector.select(0):
            for key, _ in happened:
                key.data()

    def die(self) -> None:
        self.hub.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workers(tmp_path: Path, clock: ManualClock) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = [Worker(tmp_path, clock) for _ in range(4)]
        for worker in workers:
            stack.callback(worker.standby.close)
        yield workers


def settle(leader: Leader, workers: list[Worker]) -> None:
    """All hear the end of the leader before, connect, ask and hear the answer, without a moment's passing."""
    for _ in range(6):
        for worker in workers:
            worker.turn()
        leader.serve()


def heard(workers: list[Worker]) -> list[tuple[Any, int]]:
    return [(worker.sentry.leader and worker.sentry.leader["term"], worker.sentry.place) for worker in workers]


def test_the_end_wakes_the_two_that_come_next(tmp_path: Path, workers: list[Worker]) -> None:
    leader = Leader(tmp_path, 41)
    settle(leader, workers)
    assert heard(workers) == [(41, 0), (41, 1), (41, 2), (41, 3)]

    leader.die()

    assert [worker.is_woken() for worker in workers] == [True, True, False, False]
    assert [worker.turn() for worker in workers] == [policy.HURRY_STEPS[0]] * 4, "who looks by itself hurries too"


def test_a_new_leader_is_asked_at_once(tmp_path: Path, workers: list[Worker]) -> None:
    """However short ago the old one was asked: who does not know its place is woken by the end, and all would be."""
    leader = Leader(tmp_path, 41)
    settle(leader, workers)
    leader.die()
    follower = Leader(tmp_path, 42)

    settle(follower, workers)

    assert sorted(heard(workers)) == [(42, 0), (42, 1), (42, 2), (42, 3)]
    follower.die()
    assert [worker.is_woken() for worker in workers].count(True) == 2


def test_a_leader_that_is_not_there_yet_is_looked_for_ever_more_slowly(
    tmp_path: Path, workers: list[Worker], clock: ManualClock
) -> None:
    """The lock is free a moment after the end-of-file, on a busy machine later; then a slow poll is left."""
    leader = Leader(tmp_path, 41)
    settle(leader, workers)
    leader.die()
    one = workers[0]
    one.turn()

    paces = []
    for seconds in (0.0, 0.1, policy.HURRY):
        clock.advance(seconds)
        paces.append(one.turn())

    assert paces == [*policy.HURRY_STEPS, policy.SLOW_POLL]


@pytest.mark.parametrize("stays", [True, False])
def test_an_offer_is_accepted_by_one_that_stays(tmp_path: Path, workers: list[Worker], stays: bool) -> None:
    leader = Leader(tmp_path, 41)
    settle(leader, workers)
    last = workers[-1]
    last.stays = stays

    leader.hub.offer()
    last.turn()
    leader.serve()

    accepted = leader.hub.accepted
    leader.die()

    assert accepted is stays
    assert last.is_woken() is stays, "who goes on duty is woken, whatever its place"
