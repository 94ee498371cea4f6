"""How many threads runs get, decided on a clock that is moved by hand and with no thread at all."""

from __future__ import annotations

from typing import Any

import pytest

from onduty._runtime import pool as pools
from onduty._runtime.pool import EAGER_THREADS, MOST_THREADS, SLOW, Pool
from onduty.testing import ManualClock

RUN: Any = object()


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self.pool = Pool(self.clock, lambda run: None)
        self.names: list[str] = []
        self.room = 10_000
        monkeypatch.setattr(pools, "spawn", self._spawn)

    def _spawn(self, name: str, target: Any) -> None:
        if len(self.names) >= self.room:
            raise RuntimeError("can't start new thread")
        self.names.append(name)

    def put(self, runs: int) -> None:
        for _ in range(runs):
            self.pool.put(RUN)

    def end(self, runs: int) -> None:
        for _ in range(runs):
            self.pool.has_ended()

    def sizes(self, looks: int) -> list[int]:
        found = []
        for _ in range(looks):
            self.clock.advance(SLOW * 1.01)
            self.pool.grow()
            found.append(len(self.names))
        return found


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_as_many_threads_as_runs_while_these_are_few(stage: Stage) -> None:
    for runs in range(1, EAGER_THREADS + 1):
        stage.put(1)
        assert not stage.pool.grow()
        assert len(stage.names) == runs


def test_an_idle_thread_is_taken_first(stage: Stage) -> None:
    stage.put(3)
    stage.pool.grow()
    stage.end(3)
    stage.put(3)

    assert not stage.pool.grow()
    assert len(stage.names) == 3


def test_quick_work_gets_no_more_however_much_there_is(stage: Stage) -> None:
    """Hundreds wait at each look, and none of them does at the next."""
    for _ in range(100):
        stage.put(200)
        assert stage.pool.grow()
        stage.clock.advance(SLOW / 2)
        stage.end(200)

    assert len(stage.names) == EAGER_THREADS


def test_slow_work_gets_a_thread_for_each_run(stage: Stage) -> None:
    """``concurrency=64`` means 64 at once, also of runs that wait for something for a moment only."""
    stage.put(64)
    assert stage.pool.grow()

    assert stage.sizes(4) == [16, 32, 64, 64]
    assert not stage.pool.grow()


def test_a_few_that_never_end_do_not_hold_up_the_others_for_long(stage: Stage) -> None:
    stage.put(EAGER_THREADS)
    stage.pool.grow()
    stage.clock.advance(3600)
    stage.put(1)
    stage.pool.grow()

    assert stage.sizes(1) == [EAGER_THREADS + 1]


def test_there_is_an_end_to_it(stage: Stage) -> None:
    stage.put(5_000)

    assert stage.sizes(12)[-1] == MOST_THREADS
    assert not stage.pool.grow()  # and nobody has to look again


def test_a_machine_without_threads_is_asked_again(stage: Stage) -> None:
    stage.room = 0
    stage.put(3)
    assert stage.pool.grow()
    stage.room = 2
    assert stage.pool.grow()
    stage.room = 3

    assert not stage.pool.grow()
    assert stage.names == ["run-1", "run-2", "run-3"]
