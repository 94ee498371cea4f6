"""The small parts of the asyncio twin, on a loop of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onduty.socketio import unix, wire
from onduty.socketio.asgi.body import beginning_with, with_known_length
from onduty.socketio.asgi.bus import Inbox
from onduty.socketio.asgi.streams import Streams
from support.owner import OWNER, SLEEPS, STOPS, computes, owner_that, sleeps


def said(*messages: dict[str, Any]) -> Callable[[], Any]:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_the_first_event_can_be_said_again() -> None:
    """Before all others, once."""

    async def run() -> list[Any]:
        receive = beginning_with({"type": "a"}, said({"type": "b"}, {"type": "c"}))
        return [(await receive())["type"] for _ in range(3)]

    assert asyncio.run(run()) == ["a", "b", "c"]


def known_length(scope: dict[str, Any], *messages: dict[str, Any]) -> tuple[Any, list[Any]]:
    async def run() -> tuple[Any, list[Any]]:
        found, receive = await with_known_length(scope, said(*messages), 10)
        heard = [await receive()]
        while heard[-1].get("more_body"):
            heard.append(await receive())
        return found, heard

    return asyncio.run(run())


def test_a_chunked_body_comes_whole_and_says_its_length() -> None:
    scope = {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}

    found, heard = known_length(scope, part(b"ab", more=True), part(b"cd"))

    assert found["headers"][-1] == (b"content-length", b"4")
    assert heard == [part(b"abcd")]


def test_a_chunked_body_over_the_limit_is_read_no_further() -> None:
    """It says a length that engine.io refuses."""
    scope = {"type": "http", "method": "POST", "headers": []}

    found, _ = known_length(scope, part(b"x" * 8, more=True), part(b"x" * 8, more=True), part(b"never read"))

    assert found["headers"] == [(b"content-length", b"16")]


def test_a_body_that_is_cut_off_is_not_taken_for_a_whole_one() -> None:
    """Half a message may be another message."""
    scope = {"type": "http", "method": "POST", "headers": []}

    found, heard = known_length(scope, part(b"40", more=True), {"type": "http.disconnect"})

    assert found is scope
    assert heard == [{"type": "http.disconnect"}]


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "http", "method": "GET", "headers": []},
        {"type": "http", "method": "POST", "headers": [(b"Content-Length", b"2")]},
        {"type": "websocket", "headers": []},
    ],
)
def test_all_else_is_left_as_it_is(scope: dict[str, Any]) -> None:
    found, heard = known_length(scope, part(b"a", more=True), part(b"b"))

    assert found is scope
    assert heard == [part(b"a", more=True), part(b"b")]


def test_what_a_thread_puts_in_wakes_the_loop_in_order_and_nothing_is_left() -> None:
    """However putting and taking meet."""
    count = 20_000

    async def run() -> list[int]:
        inbox = Inbox(asyncio.get_running_loop())

        def put() -> None:
            for number in range(count):
                inbox.put(number.to_bytes(4, "big"))

        thread = threading.Thread(target=put)
        thread.start()
        found = [int.from_bytes(await asyncio.wait_for(inbox.get(), 5), "big") for _ in range(count)]
        thread.join()
        assert inbox.qsize() == 0
        return found

    assert asyncio.run(run()) == list(range(count))


def reach(folder: Path, owner: str, stands_still: float = 0) -> bool:
    """Whether ``owner`` was reached with a patience of a second; the loop itself can't turn for a while."""

    async def run() -> bool:
        streams = Streams(folder, patience=1)
        asyncio.get_running_loop().call_later(0.1, time.sleep, stands_still)
        try:
            (await streams.reach(OWNER, wire.request("relay", {}))).close()
        except unix.Wedged:
            assert streams.pool.is_suspected(OWNER)
            return False
        assert not streams.pool.is_suspected(OWNER)
        return True

    with owner_that(owner, folder):
        return asyncio.run(run())


@pytest.mark.parametrize("owner", [SLEEPS, STOPS], ids=["sleeps", "stopped"])
def test_an_owner_that_does_nothing_and_does_not_accept_is_frozen(tmp_path: Path, owner: str) -> None:
    assert not reach(tmp_path, owner)


def test_an_owner_that_computes_is_not(tmp_path: Path) -> None:
    assert reach(tmp_path, computes(3, then=wire.ACCEPTED))


def test_an_owner_that_stood_still_as_long_as_we_did_is_not(tmp_path: Path) -> None:
    assert reach(tmp_path, sleeps(1.6, then=wire.ACCEPTED), stands_still=1.4)


STOPS_ONCE_ASKED = f"""
connection, _ = listener.accept()
connection.recv(1000)
connection.sendall({wire.ACCEPTED!r})
connection.recv(1)
{STOPS}
"""
BODY = b"x" * 1_000_000
SMALL_BODY = b"x" * 1_000


@pytest.mark.parametrize("body", [BODY, SMALL_BODY], ids=["that waits for room", "that was sent"])
def test_an_owner_that_stops_amid_a_body_is_frozen(tmp_path: Path, body: bytes) -> None:
    async def run() -> None:
        streams = Streams(tmp_path, patience=1)
        stream = await streams.reach(OWNER, wire.request("relay", {}))
        await streams.bring(OWNER, stream, {"type": "http.request", "body": SMALL_BODY, "more_body": True})
        with pytest.raises(unix.Wedged):
            await streams.bring(OWNER, stream, {"type": "http.request", "body": body})
        assert streams.pool.is_suspected(OWNER)

    with owner_that(STOPS_ONCE_ASKED, tmp_path):
        asyncio.run(run())


def test_an_owner_may_hold_back_what_comes_over_a_websocket(tmp_path: Path) -> None:
    """It does that while an app works on one message, and reads no other."""

    async def run() -> None:
        streams = Streams(tmp_path, patience=0.3)
        stream = await streams.reach(OWNER, wire.request("relay", {}))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(streams.bring(OWNER, stream, {"type": "websocket.receive", "bytes": BODY}), 1)
        assert not streams.pool.is_suspected(OWNER)
        stream.cut()

    with owner_that(sleeps(0, then=wire.ACCEPTED), tmp_path):
        asyncio.run(run())
