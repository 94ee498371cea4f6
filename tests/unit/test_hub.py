"""The hub: who asks is answered, who is connected hears the end, and a full table of descriptors ends nothing."""

from __future__ import annotations

import os
import resource
import selectors
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onduty._runtime.hub import Hub, Line
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


def test_a_standby_asks_and_hears_the_end(tmp_path: Path, selector: selectors.BaseSelector) -> None:
    """The end-of-file is what wakes it; a crash and a hand-over look alike."""
    hub = Hub(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    line.ask()
    turn(selector)
    assert line.take_answers() == [answer()]
    hub.close()
    turn(selector)
    assert line.ended
    line.close()
    assert Line.connect(tmp_path, selector) is None


def test_a_leader_without_a_free_descriptor_stays_and_hears_again_later(
    tmp_path: Path, selector: selectors.BaseSelector
) -> None:
    """Who can't be let in waits in the queue; the leader neither fails nor turns for ever."""
    hub = Hub(tmp_path, selector, answer)
    line = Line.connect(tmp_path, selector)
    assert line is not None
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hoard: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, before[1]))
        try:
            while True:
                hoard.append(os.dup(0))
        except OSError:
            pass
        turn(selector)
        assert len(hub) == 0
        assert selector.select(0) == [], "it would be readable for ever"
    finally:
        for descriptor in hoard:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    hub.listen_again()
    line.ask()

    def answered() -> list[dict[str, Any]]:
        turn(selector)
        assert line is not None
        return line.take_answers()

    assert eventually(answered) == [answer()]
    line.close()
    hub.close()
