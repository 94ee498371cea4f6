"""A new line to another worker, while there is no room for one: here no descriptor, there no place in its queue."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onduty.socketio import unix, wire
from onduty.socketio.asgi.streams import Streams
from onduty.socketio.lines import Line, Lines
from onduty.socketio.peers import COUNTER
from onduty.socketio.pool import Pool

OWNER = "owner-11"
REQUEST = wire.request("relay", {})
Bring = Callable[[Path, float, Callable[[], Any]], "Pool[Any]"]


def by_a_thread(folder: Path, patience: float, then: Callable[[], Any]) -> Pool[Any]:
    lines = Lines(folder, patience)
    then()
    for _ in range(2):
        with contextlib.suppress(unix.Wedged, unix.NoDescriptor):
            assert lines.exchange(OWNER, REQUEST, 30)[1] == b"fine"
    lines.pool.close()
    return lines.pool


def by_a_loop(folder: Path, patience: float, then: Callable[[], Any]) -> Pool[Any]:
    async def run() -> Pool[Any]:
        streams = Streams(folder, patience)
        then()
        for _ in range(2):
            with contextlib.suppress(unix.Wedged, unix.NoDescriptor):
                streams.pool.keep(OWNER, await streams.reach(OWNER, REQUEST))
        streams.pool.close()
        return streams.pool

    return asyncio.run(run())


@pytest.fixture(params=[by_a_thread, by_a_loop])
def bring(request: pytest.FixtureRequest) -> Bring:
    """The request twice to ``OWNER``, once all is prepared and ``then`` was called; what is left of the lines."""
    found: Bring = request.param
    return found


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[socket.socket]:
    listener = unix.listen(tmp_path, COUNTER + OWNER)
    yield listener
    unix.drop(listener)


def attend(listener: socket.socket) -> None:
    """Say "fine" to the first who is not gone, for as long as it asks."""
    asked = 0
    while not asked:
        connection, _ = listener.accept()
        line = Line(connection)
        with contextlib.suppress(unix.Gone), connection:
            while True:
                line.receive()
                line.receive()
                asked += 1
                connection.sendall(wire.response("200 OK", [], b"fine"))


class Descriptors:
    """Of this process."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, self._limits[1]))

    def give_back(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


@pytest.fixture
def descriptors() -> Iterator[Descriptors]:
    found = Descriptors()
    yield found
    found.give_back()


def test_a_descriptor_that_comes_free_is_waited_for(
    bring: Bring, tmp_path: Path, owner: socket.socket, descriptors: Descriptors, caplog: pytest.LogCaptureFixture
) -> None:
    def let_in() -> None:
        descriptors.give_back()
        attend(owner)

    attendant = threading.Timer(0.6, let_in)

    def then() -> None:
        descriptors.take()
        attendant.start()

    pool = bring(tmp_path, 5, then)

    attendant.join()
    assert caplog.records == []
    assert not pool.is_suspected(OWNER)


@pytest.mark.usefixtures("owner")
def test_that_none_comes_free_is_said_once_and_blames_nobody(
    bring: Bring, tmp_path: Path, descriptors: Descriptors, caplog: pytest.LogCaptureFixture
) -> None:
    pool = bring(tmp_path, 0.3, descriptors.take)

    (said,) = caplog.records
    assert "Too many open files" in said.message
    assert "ulimit -n" in said.message
    assert not pool.is_suspected(OWNER)


@pytest.fixture
def guests(owner: socket.socket, tmp_path: Path) -> Iterator[list[socket.socket]]:
    """As many as may wait at the owner."""
    owner.listen(0)
    waiting = []
    with contextlib.suppress(unix.Wedged):
        while True:
            waiting.append(unix.connect(tmp_path, COUNTER + OWNER, 0))
    assert waiting
    yield waiting
    for one in waiting:
        unix.drop(one)


def test_a_place_in_the_queue_is_waited_for(
    bring: Bring,
    tmp_path: Path,
    owner: socket.socket,
    guests: list[socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def let_in() -> None:
        for one in guests:
            unix.drop(one)
        attend(owner)

    attendant = threading.Timer(0.6, let_in)

    pool = bring(tmp_path, 5, attendant.start)

    attendant.join()
    assert caplog.records == []
    assert not pool.is_suspected(OWNER)


@pytest.mark.usefixtures("guests")
def test_who_lets_nobody_in_is_frozen(bring: Bring, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = bring(tmp_path, 0.3, lambda: None)

    assert [one.message.split(":")[0] for one in caplog.records] == [f"worker {OWNER} is frozen"]
    assert pool.is_suspected(OWNER)
