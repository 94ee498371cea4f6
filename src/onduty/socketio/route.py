"""Where a request belongs, decided from what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from onduty.socketio.ids import owner_of

_SID = re.compile(r"(?:^|&)sid=([^&]+)")


class Way(Enum):
    HERE = "here"
    """By the server it has reached, as if we were not there."""
    FORWARD = "forward"
    """Its session is another worker's: sent there, and the answer brought back."""
    SOCKET = "socket"
    """A WebSocket: its connection goes to the owner, or out of the server's thread pool if that is us."""


class Route(NamedTuple):
    way: Way
    owner: str = ""
    sid: str | None = None


def route(environ: Mapping[str, Any], own: str) -> Route:
    """The route of an Engine.IO request. What can't be routed is dealt with here, as engine.io does: by a 400."""
    sid = sid_of(environ)
    owner = owner_of(sid)
    method = environ["REQUEST_METHOD"]
    if method == "GET" and asks_for_websocket(environ):
        if not can_be_handed_over(environ) or (sid is not None and owner is None):
            return Route(Way.HERE, sid=sid)
        return Route(Way.SOCKET, owner or own, sid)
    return _forward(sid, own, method)


def route_scope(scope: Mapping[str, Any], own: str) -> Route:
    """The same under ASGI, where a WebSocket is relayed as a poll is: event by event, on the server's loop."""
    return _forward(sid_of_scope(scope), own, scope.get("method", "GET"))


def sid_of_scope(scope: Mapping[str, Any]) -> str | None:
    """The session that an ASGI scope is of."""
    return sid_in(scope.get("query_string", b"").decode("latin-1"))


def sid_in(query: str) -> str | None:
    """The one engine.io would look up."""
    if "%" in query or "+" in query:
        return parse_qs(query).get("sid", [None])[0]
    # The same, for the query of every client there is, in a fifth of the time.
    found = _SID.search(query)
    return found[1] if found else None


def _forward(sid: str | None, own: str, method: str) -> Route:
    owner = owner_of(sid)
    if owner is None or owner == own or method not in ("GET", "POST"):
        return Route(Way.HERE, sid=sid)
    return Route(Way.FORWARD, owner, sid)


def sid_of(environ: Mapping[str, Any]) -> str | None:
    """The session a request is of, read as engine.io reads it."""
    return sid_in(environ.get("QUERY_STRING", ""))


def asks_for_websocket(environ: Mapping[str, Any]) -> bool:
    connection = environ.get("HTTP_CONNECTION", "").lower()
    return environ.get("HTTP_UPGRADE", "").lower() == "websocket" and "upgrade" in connection


def can_be_handed_over(environ: Mapping[str, Any]) -> bool:
    """gunicorn lets us have the connection, and it is this request's alone: HTTP/2 shares one among many."""
    return "gunicorn.socket" in environ and str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/1")
