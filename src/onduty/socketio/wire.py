"""What workers say to each other, byte by byte: the only place that knows.

Everything is a *frame*: four bytes of length, big-endian, then so many bytes.

On the **bus** the first frame of a connection is a hello, ``{"from": token or null}``; null is a process that only
emits. Every other frame is one message of python-socketio's ``PubSubManager``, as JSON.

On the **counter** a caller sends two frames, a head and a body, and gets two; then it may ask again. A head is *texts*
with a NUL between them, which every forwarded poll pays half as much for as for JSON: what to do, then names and values
of the environ; in an answer the status, then names and values of the headers. What to do is ``poll``, a request
forwarded to the owner of its session; ``wake``, let the poll that waits for the session in the body return with what
there is; or ``ask``, for the owner's own facts. With ``socket`` the first byte carries a descriptor. The owner answers
``TAKEN``, and begins when it reads ``GO``: until then the caller may still keep the connection.

Between asyncio workers there is ``relay`` instead of ``poll`` and ``socket``: the body is an ASGI scope. The owner
answers :data:`ACCEPTED`, and from then on each side sends *events*, ASGI messages, again a head (of JSON) and a body
each, until the owner says :data:`OVER`. Events that come when nothing is relayed belong to what is over.

Texts and JSON throughout: reading a message executes nothing, whoever wrote it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

LONGEST = 256 * 1024 * 1024
"""A frame longer than this is not one of ours; the connection is closed."""
TAKEN = b"T"
GO = b"G"

_DEEDS = ("poll", "wake", "ask", "socket", "relay")
_BETWEEN = "\0"
_BULK = ("body", "bytes", "text")
"""Of an ASGI message the one part that may be long; it goes as it is, all else as JSON."""
_SCOPE = {
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
}
_SCOPE |= {"client", "server", "subprotocols"}
"""What the client asked, and how. The rest of a scope belongs to the process it is in: state, extensions, routes."""
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


ACCEPTED = frame(TAKEN) + frame(b"")
OVER = frame(b"O") + frame(b"")


def is_over(head: bytes) -> bool:
    """Whether this is the head of :data:`OVER`."""
    return head == b"O"


def hello(token: str | None) -> bytes:
    return frame(json.dumps({"from": token}).encode())


def read_hello(payload: bytes) -> str | None:
    """Whose hello it is; ``None``: of a process that only emits."""
    name = _object(payload).get("from")
    if name is not None and not isinstance(name, str):
        raise NotOurs(f"a hello from {name!r}")
    return name


def request(do: str, environ: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Both frames of a request. Of ``environ`` the strings go over: all that says what the client asked, and how.

    But for one with a NUL in it: a server decodes such a path, and Engine.IO asks nobody for it.
    """
    strings = [item for item in environ.items() if isinstance(item[1], str)]
    try:
        head = _texts(do, strings)
    except ValueError:
        head = _texts(do, [item for item in strings if _BETWEEN not in "".join(item)])
    return frame(head) + frame(body)


def read_request(payload: bytes) -> tuple[str, dict[str, str]]:
    do, environ = _read_texts(payload)
    if do not in _DEEDS:
        raise NotOurs(f"a request to do {do!r:.80}")
    return do, dict(environ)


def response(status: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    return frame(_texts(status, headers)) + frame(body)


def read_response(payload: bytes) -> tuple[str, list[tuple[str, str]]]:
    status, headers = _read_texts(payload)
    if not status[:3].isdecimal():
        raise NotOurs(f"a status of {status!r:.80}")
    return status, list(headers)


def _texts(first: str, pairs: Iterable[tuple[str, str]]) -> bytes:
    parts = [first, *chain.from_iterable(pairs)]
    joined = _BETWEEN.join(parts)
    if joined.count(_BETWEEN) >= len(parts):
        raise ValueError("a text with a NUL in it")
    return joined.encode("utf-8", "surrogatepass")


def _read_texts(payload: bytes) -> tuple[str, Iterator[tuple[str, str]]]:
    try:
        parts = payload.decode("utf-8", "surrogatepass").split(_BETWEEN)
    except UnicodeDecodeError as error:
        raise NotOurs(f"texts that are none: {error}") from error
    if len(parts) % 2 == 0:
        raise NotOurs("a name without its value")
    return parts[0], zip(parts[1::2], parts[2::2], strict=True)


def scope(of: Mapping[str, Any]) -> bytes:
    """The body of a ``relay``."""
    return _dumped({key: value for key, value in of.items() if key in _SCOPE})


def read_scope(payload: bytes) -> dict[str, Any]:
    found = _object(payload, _bytes_again)
    for key in ("client", "server"):
        if isinstance(found.get(key), list):
            found[key] = tuple(found[key])
    return found


def event(message: Mapping[str, Any]) -> bytes:
    """Both frames of an ASGI message."""
    bulk = next((key for key in _BULK if message.get(key) is not None), None)
    payload = message[bulk] if bulk else b""
    rest = {key: value for key, value in message.items() if key not in _BULK}
    head = _dumped({"event": rest, "bulk": bulk})
    return frame(head) + frame(payload.encode() if isinstance(payload, str) else bytes(payload))


def read_event(payload: bytes, body: bytes) -> dict[str, Any]:
    head = _object(payload, _bytes_again)
    message, bulk = head.get("event"), head.get("bulk")
    if not isinstance(message, dict) or not isinstance(message.get("type"), str) or bulk not in (None, *_BULK):
        raise NotOurs("an event without its parts")
    if bulk is not None:
        try:
            message[bulk] = body.decode() if bulk == "text" else body
        except UnicodeDecodeError as error:
            raise NotOurs(f"text that is none: {error}") from error
    return message


def is_late(head: bytes) -> bool:
    """Whether this, in the place of a request, is an event of a relay that is over."""
    return head.startswith(b"{")


def _dumped(what: dict[str, Any]) -> bytes:
    return json.dumps(what, default=_as_text).encode()


def _as_text(value: Any) -> dict[str, str]:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{value!r:.80} does not go between workers")
    return {"latin-1": bytes(value).decode("latin-1")}


def _bytes_again(found: dict[str, Any]) -> Any:
    if found.keys() != {"latin-1"}:
        return found
    if not isinstance(found["latin-1"], str):
        raise NotOurs(f"bytes that are {found['latin-1']!r:.80}")
    return found["latin-1"].encode("latin-1")


def _object(payload: bytes, hook: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    try:
        found = json.loads(payload, object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise NotOurs(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise NotOurs(f"not an object: {found!r:.80}")
    return found
