"""A client between polling and its WebSocket: a worker that leaves lets it finish that."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from onduty._runtime.aio import Tasks
from onduty._runtime.lifecycle import Lifecycle
from onduty.servers import _drain
from onduty.servers._drain import stop_beside
from onduty.socketio import threaded
from onduty.socketio.asgi import routing
from onduty.socketio.asgi.routing import Router
from onduty.socketio.asgi.upgrades import Upgrades

PROBED = {"type": "websocket.send", "bytes": None, "text": "3probe"}
UPGRADE = {"type": "websocket.receive", "text": "5"}


async def hear(message: dict[str, Any]) -> dict[str, Any]:
    return message


async def say(_: Any) -> None:
    pass


def test_a_client_is_midway_from_the_answer_to_its_probe_until_its_next_word() -> None:
    """Also where that word is that it has gone."""

    async def run(word: dict[str, Any]) -> list[bool]:
        upgrades = Upgrades()
        with upgrades.followed(lambda: hear(word), say) as (receive, send):
            found = [upgrades.is_midway()]
            await send({"type": "websocket.accept"})
            found.append(upgrades.is_midway())
            await send(PROBED)
            found.append(upgrades.is_midway())
            assert await receive() == word
            return [*found, upgrades.is_midway()]

    for word in (UPGRADE, {"type": "websocket.disconnect", "code": 1006}):
        assert asyncio.run(run(word)) == [False, False, True, False]


def test_each_websocket_is_midway_by_itself_and_not_beyond_its_end() -> None:
    async def run() -> list[bool]:
        upgrades = Upgrades()
        with upgrades.followed(lambda: hear(UPGRADE), say) as (_, send):
            with upgrades.followed(lambda: hear(UPGRADE), say) as (receive, other_send):
                await send(PROBED)
                await other_send(PROBED)
                await receive()
                found = [upgrades.is_midway()]
            found.append(upgrades.is_midway())
        return [*found, upgrades.is_midway()]

    assert asyncio.run(run()) == [True, True, False]


class Server:
    """As much of one as ``stop_beside`` knows."""

    lifespan = None
    in_haste = False

    def __init__(self) -> None:
        self.life = Lifecycle()
        self.life.add_midway(lambda: self.midway)
        self.midway = True
        self.closed_while_midway: bool | None = None

    async def shutdown(self) -> None:
        self.closed_while_midway = self.midway

    midway_seconds = 0.1

    def stop(self) -> None:
        asyncio.run(asyncio.wait_for(self._stop(), 20))

    async def _stop(self) -> None:
        asyncio.get_running_loop().call_later(self.midway_seconds, setattr, self, "midway", False)
        await stop_beside(self.life, "a test", self, self.shutdown, lambda: self.in_haste)


def test_connections_are_closed_when_none_is_midway() -> None:
    server = Server()

    server.stop()

    assert server.closed_while_midway is False


def test_a_worker_does_not_end_while_a_client_of_its_own_is_midway_elsewhere() -> None:
    """The server waits for its connections, and others relay theirs to it: it would be gone before they are over."""

    class Relaying(Server):
        async def shutdown(self) -> None:
            self.midway = True
            asyncio.get_running_loop().call_later(0.1, setattr, self, "midway", False)

    server = Relaying()
    server.midway = False

    server.stop()

    assert server.midway is False


def test_whoever_takes_longer_than_a_moment_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may have stopped in the middle, for good."""
    monkeypatch.setattr(_drain, "_A_MOMENT", 0.05)
    server = Server()
    server.midway_seconds = 60.0

    server.stop()

    assert server.closed_while_midway is True


def test_a_server_in_haste_waits_for_nobody() -> None:
    server = Server()
    server.in_haste = True

    server.stop()

    assert server.closed_while_midway is True


@pytest.mark.parametrize("finishes", [True, False], ids=["it finishes", "it has stopped in the middle"])
def test_a_worker_of_threads_waits_a_moment_for_those_between(monkeypatch: pytest.MonkeyPatch, finishes: bool) -> None:
    """Among others that are where they want to be."""
    monkeypatch.setattr(threaded, "_A_MOMENT", 20.0 if finishes else 0.05)
    between = SimpleNamespace(upgrading=True)
    eio = SimpleNamespace(sockets={"a": SimpleNamespace(upgrading=False), "b": between})
    upgraded = threading.Timer(0.05, setattr, (between, "upgrading", False))

    if finishes:
        upgraded.start()
    threaded.let_upgrades_finish(eio)

    assert between.upgrading is not finishes


@pytest.mark.parametrize("longest", [30.0, 0.05], ids=["while it may be", "when it has been long enough"])
def test_a_leaving_worker_closes_no_websocket_while_a_client_is_midway(
    monkeypatch: pytest.MonkeyPatch, longest: float
) -> None:
    """Its own sweep does not undo what the server waits for."""
    monkeypatch.setattr(routing, "_A_MOMENT", 0.02)
    monkeypatch.setattr(routing, "_LONGEST_MIDWAY", longest)

    async def run() -> tuple[bool, bool]:
        upgrades, closed = Upgrades(), asyncio.Event()
        eio, nobody = SimpleNamespace(sockets={}), SimpleNamespace(token="")
        router = Router(None, nobody, eio, upgrades, say)  # type: ignore[arg-type]

        async def send(message: dict[str, Any]) -> None:
            assert message["type"] == "websocket.close"
            closed.set()

        router._websockets.add(send)
        with upgrades.followed(lambda: hear(UPGRADE), say) as (_, noted):
            await noted(PROBED)
            router.leave(Tasks(asyncio.get_running_loop()))
            try:
                await asyncio.wait_for(closed.wait(), 0.3 if longest == 30 else 20)
            except asyncio.TimeoutError:
                pass
            midway = closed.is_set()
        await asyncio.wait_for(closed.wait(), 20)
        return midway, closed.is_set()

    assert asyncio.run(run()) == (longest != 30, True)
