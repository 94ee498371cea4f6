"""Where a request belongs, from what it says alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onduty.socketio.route import Route, Way, route, route_scope, sid_in

OWN, OTHER = "ownownow", "otheroth"
REST = "0123456789012345678A"
OURS, THEIRS = OWN + REST, OTHER + REST
UPGRADE = {"HTTP_UPGRADE": "WebSocket", "HTTP_CONNECTION": "keep-alive, Upgrade"}


def environ(query: str = "", method: str = "GET", **more: Any) -> dict[str, Any]:
    there = {"gunicorn.socket": object(), "SERVER_PROTOCOL": "HTTP/1.1"}
    return {"REQUEST_METHOD": method, "QUERY_STRING": query, **there, **more}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_poll_of_another_workers_session_is_forwarded(method: str) -> None:
    assert route(environ(f"EIO=4&transport=polling&sid={THEIRS}", method), OWN) == Route(Way.FORWARD, OTHER, THEIRS)


def test_it_is_engine_ios_first_sid_that_counts() -> None:
    """The one engine.io would look up; percent signs are read as it reads them."""
    assert route(environ(f"sid={THEIRS}&sid={OURS}"), OWN).owner == OTHER
    assert route(environ(f"sid=%6f{THEIRS[1:]}"), OWN).owner == OTHER


@given(st.lists(st.sampled_from(["sid", "=", "&", ";", "a", "sid=a", "%73", "+", "ä"])).map("".join))
def test_every_query_is_read_as_engine_io_reads_it(query: str) -> None:
    """Also where a regular expression does it."""
    assert sid_in(query) == parse_qs(query).get("sid", [None])[0]


@pytest.mark.parametrize(
    "request_",
    [
        environ("EIO=4&transport=polling"),
        environ(f"sid={OURS}"),
        environ(f"sid={OURS}", "POST"),
        environ(f"sid={THEIRS}", "OPTIONS"),
        environ("sid=../../etc/passwd"),
        environ("sid=" + "a" * 5000),
        environ("sid=" + THEIRS[:12]),
        environ("sid=../../etc/passwd", **UPGRADE),
        environ(f"sid={THEIRS}", **{**UPGRADE, "SERVER_PROTOCOL": "HTTP/2.0"}),
        {"REQUEST_METHOD": "GET", "QUERY_STRING": f"sid={THEIRS}", "SERVER_PROTOCOL": "HTTP/1.1", **UPGRADE},
    ],
)
def test_what_is_ours_or_nobodys_or_cannot_be_moved_stays_here(request_: dict[str, Any]) -> None:
    """Engine.io answers it: a new session, ours, a question about CORS, or a 400."""
    assert route(request_, OWN).way is Way.HERE


def test_a_websocket_goes_to_its_owner_and_a_new_one_out_of_the_pool() -> None:
    assert route(environ(f"sid={THEIRS}", **UPGRADE), OWN) == Route(Way.SOCKET, OTHER, THEIRS)
    assert route(environ(f"sid={OURS}", **UPGRADE), OWN) == Route(Way.SOCKET, OWN, OURS)
    assert route(environ("EIO=4&transport=websocket", **UPGRADE), OWN) == Route(Way.SOCKET, OWN, None)


def scope(query: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "query_string": query.encode(), **more}


@pytest.mark.parametrize("more", [{}, {"method": "POST"}, {"type": "websocket"}], ids=["GET", "POST", "WebSocket"])
def test_under_asgi_all_of_another_workers_session_is_forwarded(more: dict[str, str]) -> None:
    assert route_scope(scope(f"EIO=4&sid={THEIRS}", **more), OWN) == Route(Way.FORWARD, OTHER, THEIRS)


@pytest.mark.parametrize(
    "scope_",
    [
        scope(f"sid={OURS}"),
        scope(f"sid={OURS}", type="websocket"),
        scope("EIO=4&transport=websocket", type="websocket"),
        scope(f"sid={THEIRS}", method="OPTIONS"),
        scope("sid=../../etc/passwd"),
        scope("sid=%ff\xe4"),
        {"type": "websocket"},
    ],
)
def test_under_asgi_what_is_ours_or_nobodys_stays_here(scope_: dict[str, Any]) -> None:
    assert route_scope(scope_, OWN).way is Way.HERE
