"""How long an owner that does not answer is waited for, by what the kernel says it does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onduty.process import Doing
from onduty.socketio import unix
from onduty.socketio.patience import MOST_PATIENCE, NO_PATIENCE, PATIENCE, PATIENCE_OF_A_LOOP, waits

NOTHING = Doing(stopped=False, runs=False, cpu_seconds=7.0)
STOPPED = NOTHING._replace(stopped=True)
QUEUED = NOTHING._replace(runs=True)


def waited(patience: float, look: Callable[[int], Doing | None]) -> float:
    return sum(waits(patience, 1234, look=look))


def spending(share: float) -> Callable[[int], Doing]:
    """A look at a process that uses ``share`` of a processor, looked at every quarter of a second."""
    spent = 0.0

    def look(pid: int) -> Doing:
        nonlocal spent
        spent += share * 0.25
        return NOTHING._replace(cpu_seconds=spent)

    return look


@pytest.mark.parametrize("patience", [NO_PATIENCE, PATIENCE, PATIENCE_OF_A_LOOP])
@pytest.mark.parametrize("doing", [NOTHING, None], ids=["idle", "out of sight"])
def test_who_does_nothing_or_cannot_be_seen_gets_our_patience(patience: float, doing: Doing | None) -> None:
    assert waited(patience, lambda pid: doing) == pytest.approx(patience)


def test_who_is_stopped_gets_the_short_one() -> None:
    assert waited(PATIENCE_OF_A_LOOP, lambda pid: STOPPED) == PATIENCE
    assert waited(NO_PATIENCE, lambda pid: STOPPED) == NO_PATIENCE


@pytest.mark.parametrize("patience", [PATIENCE, PATIENCE_OF_A_LOOP])
def test_who_computes_or_waits_for_a_processor_gets_the_longest(patience: float) -> None:
    assert waited(patience, lambda pid: QUEUED) == MOST_PATIENCE
    assert waited(patience, spending(0.05)) == MOST_PATIENCE
    assert waited(patience, spending(0.005)) == patience


def test_who_has_been_busy_and_is_not_any_more_gets_our_patience_from_then_on() -> None:
    looks = iter([QUEUED] * 8 + [NOTHING] * 80)

    assert waited(PATIENCE, lambda pid: next(looks)) == 2 * PATIENCE


def test_who_is_stopped_for_a_moment_while_it_computes_is_not_frozen() -> None:
    looks = iter([QUEUED] * 12 + [STOPPED] * 7 + [QUEUED] * 80)

    assert waited(PATIENCE, lambda pid: next(looks)) == MOST_PATIENCE


@pytest.mark.parametrize(
    ("doing", "seconds"), [(STOPPED, NO_PATIENCE), (None, NO_PATIENCE), (NOTHING, PATIENCE), (QUEUED, MOST_PATIENCE)]
)
def test_who_was_found_frozen_a_moment_ago_gets_less_unless_it_is_seen_awake(
    doing: Doing | None, seconds: float
) -> None:
    assert sum(waits(PATIENCE, 1234, suspected=True, look=lambda pid: doing)) == seconds


@pytest.mark.parametrize("most", [0.05, 0.5])
@pytest.mark.parametrize("suspected", [False, True])
@pytest.mark.parametrize("doing", [QUEUED, STOPPED, None])
def test_no_more_than_asked_for(doing: Doing | None, suspected: bool, most: float) -> None:
    assert sum(waits(PATIENCE, 1234, suspected=suspected, most=most, look=lambda pid: doing)) <= most


def test_the_process_that_was_named_is_looked_at() -> None:
    seen: list[int] = []

    list(waits(NO_PATIENCE, 1234, look=seen.append))  # type: ignore[arg-type]

    assert set(seen) == {1234}


def test_nobody_has_the_unknown_pid() -> None:
    assert sum(waits(NO_PATIENCE, unix.UNKNOWN)) == NO_PATIENCE
