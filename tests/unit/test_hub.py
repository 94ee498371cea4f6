"""The hub: who asks is answered, who is connected hears the end, and a full table of descriptors ends nothing."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from onduty._runtime.hub import Hub, Line, ask, ring
from support.shortage import no_free_descriptor
from support.waiting import eventually


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        yield selector


def turn(selector: selectors.BaseSelector, times: int = 5) -> None:
    for _ in range(times):
        for key, _events in selector.select(0):
            key.data()


def answer() -> dict[str, Any]:
    return {"pid": 7, "beat": 1}


def opened(folder: Path, selector: selectors.BaseSelector, *more: Any) -> Hub:
    hub = Hub(folder, selector, *more)
    hub.listen()
    return hub


def test_a_standby_asks_and_hears_the_end(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    """The end-of-file is what wakes it; a crash and a hand-over look alike."""
    hub = opened(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    line.ask()
    turn(selector)
    assert line.take_answers() == [{**answer(), "place": 0}]
    hub.close()
    turn(selector)
    assert line.ended
    line.close()
    assert Line.connect(tmp_path, selector) is None


def test_each_standby_is_told_its_place_and_moves_up(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    hub = opened(tmp_path, selector, answer)
    lines = [line for _ in range(3) if (line := Line.connect(tmp_path, selector))]

    def places() -> list[int]:
        for line in lines:
            line.ask()
        turn(selector)
        return [one["place"] for line in lines for one in line.take_answers()]

    assert places() == [0, 1, 2]
    lines.pop(0).close()
    assert places() == [0, 1]
    for line in lines:
        line.close()
    hub.close()


def test_a_line_that_is_not_heeded_wakes_nobody_and_tells_all_the_same(
    tmp_path: Path, selector: selectors.BaseSelector
) -> None:
    """What the leader says, its offer and its end. Whoever accepts that offer is woken again."""
    hub = opened(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    turn(selector)
    line.heed(False)
    line.ask()
    hub.offer()
    turn(selector)
    assert not line.offered
    line.look()
    assert line.offered
    assert len(line.take_answers()) == 1

    line.accept()
    hub.close()

    turn(selector)
    assert line.ended
    line.close()


def test_a_line_that_is_not_heeded_ends_too(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    hub = opened(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    line.heed(False)
    turn(selector)
    hub.close()

    turn(selector)
    assert not line.ended
    line.look()

    assert line.ended
    line.close()


def test_nonsense_ends_the_line_it_came_on_and_nothing_else(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    """Also such that Python's parser gives up on with an error of its own."""
    hub = opened(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    for nonsense in (b"{}}\n", b"[1]\n", b"[" * 50_000 + b"\n"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "hub.sock"))
            peer.send(nonsense)
            turn(selector)
            assert peer.recv(10) == b""

    line.ask()
    turn(selector)
    assert len(line.take_answers()) == 1
    line.close()
    hub.close()


def is_answered(folder: Path, selector: selectors.BaseSelector) -> bool:
    line = Line.connect(folder, selector)
    assert line is not None
    line.ask()
    turn(selector)
    line.close()
    return line.take_answers() == [{**answer(), "place": 0}]


def test_a_leader_without_a_free_descriptor_stays_and_hears_again_later(
    tmp_path: Path, selector: selectors.BaseSelector
) -> None:
    """Who can't be let in is turned away, and not left waiting; the leader neither fails nor turns for ever."""
    hub = opened(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    with no_free_descriptor() as hoard:
        turn(selector)
        assert len(hub) == 0
        assert line.ended
        assert selector.select(0) == [], "it would be readable for ever"
        hub.listen()
        turn(selector)
        os.close(hoard.pop())
        assert Line.connect(tmp_path, selector) is None
    line.close()

    hub.listen()

    assert is_answered(tmp_path, selector)
    hub.close()


def test_a_leader_that_finds_no_free_descriptor_when_it_begins_is_there_later(
    tmp_path: Path, selector: selectors.BaseSelector
) -> None:
    with no_free_descriptor():
        hub = opened(tmp_path, selector, answer)
    assert Line.connect(tmp_path, selector) is None

    hub.listen()

    assert is_answered(tmp_path, selector)
    hub.close()


def test_a_leader_that_is_too_busy_to_answer_is_not_nobody(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    """Who asks from outside can tell one from the other."""
    assert ask(tmp_path, 0.1) is None
    hub = opened(tmp_path, selector, answer)  # and nobody turns the loop
    try:
        with pytest.raises(TimeoutError):
            ask(tmp_path, 0.1)
    finally:
        hub.close()
    assert ask(tmp_path, 0.1) is None


def test_a_leader_that_wants_to_leave_is_the_one_still(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    """What it says to the standbys is said to all who come, and is no answer."""
    hub = opened(tmp_path, selector, answer)
    hub.offer()
    with ThreadPoolExecutor(1) as others:
        told = others.submit(ask, tmp_path, 10.0)
        eventually(lambda: turn(selector) or told.done())
    hub.close()
    assert told.result() == {**answer(), "place": 0}


@pytest.mark.parametrize("offers", [False, True])
def test_who_rings_is_heard_also_by_a_leader_that_wants_to_leave(
    tmp_path: Path, selector: selectors.BaseSelector, offers: bool
) -> None:
    """Though it has gone by the time that it is told of the offer."""
    rung: list[int] = []
    hub = opened(tmp_path, selector, answer, lambda: rung.append(1))
    if offers:
        hub.offer()
    assert [ring(tmp_path) for _ in range(5)] == [True] * 5
    turn(selector)
    assert (len(rung), len(hub)) == (5, 0)
    hub.close()
