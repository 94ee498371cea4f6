"""Engine.io's sessions tell our connections how much they are about to say, as far as engine.io is made so."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import engineio
import pytest

from onduty.socketio.threaded import _announce


class Session:
    """As ``engineio.Socket`` as far as it matters here."""

    def __init__(self, *, upgraded: bool) -> None:
        self.upgraded = upgraded

    def poll(self) -> list[str]:
        return ["a", "b"]

    def talk(self, websocket: Any) -> None: ...


class Connection:
    def __init__(self) -> None:
        self.expected: list[int] = []

    def expect(self, count: int) -> None:
        self.expected.append(count)


def websocket(eio: Any, session: Session, connection: object) -> None:
    """A request to become one."""
    eio._async["websocket"](session.talk, eio)({"gunicorn.socket": connection}, None)


@pytest.fixture
def eio() -> Any:
    found = engineio.Server(async_mode="threading")

    def kind(handler: Any, server: Any) -> Any:
        def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            return []

        return serve

    found._async = {**found._async, "websocket": kind}
    _announce(found)
    return found


def test_a_session_announces_what_it_took_from_its_queue(eio: Any) -> None:
    """Once it is a WebSocket; before, its queue is emptied by requests."""
    connection = Connection()
    for upgraded in (False, True):
        session = Session(upgraded=upgraded)
        websocket(eio, session, connection)
        assert session.poll() == ["a", "b"]

    assert connection.expected == [2]


def test_a_connection_of_the_servers_own_is_left_alone(eio: Any) -> None:
    session = Session(upgraded=True)

    websocket(eio, session, object())

    assert session.poll() == ["a", "b"]
    assert "poll" not in vars(session)


@pytest.mark.parametrize("parts", [{}, {"websocket": None}], ids=["made otherwise", "without WebSockets"])
def test_another_engine_io_is_left_alone(parts: dict[str, Any]) -> None:
    other = SimpleNamespace(_async=parts)

    _announce(other)

    assert other._async == parts
