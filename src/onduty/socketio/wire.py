"""What workers say to each other, byte by byte: the only place that knows.

Everything is a *frame*: four bytes of length, big-endian, then so many bytes.

On the **bus** the first frame of a connection is a hello, ``{"from": token or null}``; null is a process that only
emits. Every other frame is one message of python-socketio's ``PubSubManager``, as JSON.

On the **counter** a caller sends two frames, a head ``{"do": what, "environ": {...}}`` and a body, and gets two, a head
``[status, headers]`` and a body; then it may ask again. ``do`` is ``poll``, a request forwarded to the owner of its
session; ``wake``, let the poll that waits for the session in the body return with what there is; or ``ask``, for the
owner's own facts. With ``socket`` the first byte carries a descriptor. The owner answers
``TAKEN``, and begins when it reads ``GO``: until then the caller may still keep the connection.

JSON throughout: reading a message executes nothing, whoever wrote it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 256 * 1024 * 1024
"""A frame longer than this is not one of ours; the connection is closed."""
TAKEN = b"T"
GO = b"G"

_LENGTH = struct.Struct(">I")


class NotOurs(ValueError):
    """What came can't have been sent by this version of onduty."""


def frame(payload: bytes) -> bytes:
    if len(payload) > LONGEST:
        raise ValueError(f"a message of {len(payload)} bytes is longer than the {LONGEST} that go between workers")
    return _LENGTH.pack(len(payload)) + payload


class Splitter:
    """Bytes as they come, frames as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames completed by ``data``, in order.

        Raises:
            NotOurs: the stream can't be followed any further.
        """
        buffer = self._buffer
        buffer += data
        frames, at = [], 0
        while len(buffer) - at >= 4:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > LONGEST:
                raise NotOurs(f"a frame of {length} bytes")
            if len(buffer) - at - 4 < length:
                break
            frames.append(bytes(buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        if at:
            del buffer[:at]
        return frames


def hello(token: str | None) -> bytes:
    return frame(json.dumps({"from": token}).encode())


def read_hello(payload: bytes) -> str | None:
    """Whose hello it is; ``None``: of a process that only emits."""
    name = _object(payload).get("from")
    if name is not None and not isinstance(name, str):
        raise NotOurs(f"a hello from {name!r}")
    return name


def request(do: str, environ: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Both frames of a request. Of ``environ`` the strings go over: all that says what the client asked, and how."""
    strings = {key: value for key, value in environ.items() if isinstance(value, str)}
    return frame(json.dumps({"do": do, "environ": strings}).encode()) + frame(body)


def read_request(payload: bytes) -> tuple[str, dict[str, str]]:
    head = _object(payload)
    do, environ = head.get("do"), head.get("environ")
    if not isinstance(do, str) or not isinstance(environ, dict):
        raise NotOurs("a request without its parts")
    return do, environ


def response(status: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    return frame(json.dumps([status, list(headers)]).encode()) + frame(body)


def read_response(payload: bytes) -> tuple[str, list[tuple[str, str]]]:
    try:
        status, headers = json.loads(payload)
        return str(status), [(str(name), str(value)) for name, value in headers]
    except (TypeError, ValueError) as error:
        raise NotOurs(f"a response that can't be read: {error}") from error


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError as error:
        raise NotOurs(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise NotOurs(f"not an object: {found!r:.80}")
    return found
