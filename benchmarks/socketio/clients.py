"""Clients that cost next to nothing, so that what is timed is the server: raw HTTP/1.1 and raw WebSockets.

They speak as little of Engine.IO as is needed and look at nothing they need not. The same ones serve both sides.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

PATH = "/socket.io/?EIO=4&transport="
_CHUNK = 64 * 1024
"""For 128 KiB and more malloc maps new pages each time (mallopt(3)), at ten times the price of a read."""
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
_UPGRADE += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Http:
    """One keep-alive connection, and so one worker. One request at a time."""

    def __init__(self, port: int, timeout: float = 30) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str) -> bytes:
        return self.ask(request("GET", path))

    def ask(self, wanted: bytes) -> bytes:
        """The body of the answer.

        Raises:
            OSError: it was none, or its status was not 200.
        """
        self.socket.sendall(wanted)
        return self.answer()

    def answer(self) -> bytes:
        """To a request that somebody has sent."""
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head, body = data[:end].lower(), data[end + 4 :]
        if b"transfer-encoding: chunked" in head:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more()
            body = b"".join(body.split(b"\r\n")[1::2])  # no body here holds a line's end
        else:
            found = re.search(rb"content-length: (\d+)", head)
            length = int(found[1]) if found else 0
            while len(body) < length:
                body += self._more()
        if not head.startswith(b"http/1.1 200"):
            raise ConnectionError(f"{head.decode(errors='replace')}: {body[:200]!r}")
        return body

    def _more(self) -> bytes:
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("the server has hung up")
        return data

    def close(self) -> None:
        self.socket.close()


def request(method: str, path: str, body: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n{body}".encode()


def begin(over: Http) -> str:
    """A new polling session's id; it belongs to the worker this connection reaches."""
    sid: str = json.loads(over.get(f"{PATH}polling")[1:])["sid"]
    return sid


def join(over: Http, sid: str) -> None:
    """Connect a polling session to the default namespace."""
    over.ask(request("POST", f"{PATH}polling&sid={sid}", "40"))
    over.get(f"{PATH}polling&sid={sid}")


class WebSocket:
    """The connection ``over``, upgraded: for the session ``sid``, which polled so far, or for a new one."""

    def __init__(self, over: Http, sid: str = "") -> None:
        self.socket = over.socket
        self._rest = b""
        query = f"&sid={sid}" if sid else ""
        self.socket.sendall(f"GET {PATH}websocket{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_UPGRADE}\r\n".encode())
        while b"\r\n\r\n" not in self._rest:
            self._take()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode(errors="replace"))
        if sid:
            self.ask("2probe")
            self.socket.sendall(frame("5"))
        else:
            self.read()  # how the session is called
        self.ask("40")

    def ask(self, text: str) -> bytes:
        """Say something, and wait for the next message, which is its answer."""
        self.socket.sendall(frame(text))
        answer = self.read()
        while answer == b"6":  # "no more polling"
            answer = self.read()
        return answer

    def read(self) -> bytes:
        """The next message."""
        while True:
            rest = self._rest
            if len(rest) > 1:
                at, length = 2, rest[1]
                if length == 126 and len(rest) > 3:
                    at, (length,) = 4, struct.unpack_from(">H", rest, 2)
                if length != 126 and len(rest) >= at + length:
                    self._rest = rest[at + length :]
                    return rest[at : at + length]
            self._take()

    def events(self) -> bytes:
        """What has come, up to the end of the last whole event; may be nothing."""
        self._take()
        if self._rest.endswith(b"}]"):
            found, self._rest = self._rest, b""
        else:
            end = self._rest.rfind(b"}]") + 2 if b"}]" in self._rest else 0
            found, self._rest = self._rest[:end], self._rest[end:]
        return found

    def _take(self) -> None:
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("the server has hung up")
        self._rest += data

    def close(self) -> None:
        self.socket.close()


def frame(text: str) -> bytes:
    """A short message. A client has to mask what it sends (RFC 6455 5.3); with zeros that changes nothing."""
    data = text.encode()
    assert len(data) < 126
    return bytes((0x81, 0x80 | len(data))) + b"\0\0\0\0" + data


class Crowd:
    """WebSockets, equally many at each worker, so that both sides have the same to do."""

    def __init__(self, port: int, workers: int, each: int) -> None:
        self._poll = select.epoll()
        self.emitters: list[Http] = []
        """A connection to each worker besides."""
        self._members: dict[int, WebSocket] = {}
        for over in _spread(port, workers, each + 1):
            if len(self._members) < workers * each:
                self._members[over.socket.fileno()] = WebSocket(over)
            else:
                self.emitters.append(over)
        for descriptor in self._members:
            self._poll.register(descriptor, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._members)

    def hear(self, over: Http, path: str, take: Callable[[bytes], int], wanted: int) -> tuple[dict[str, Any], int]:
        """Ask for ``path``, and read until ``take`` has counted so many messages: the answer, and when that was.

        ``take`` gets whole messages of one client, as they come, and says how many of those it waits for are in them.
        """
        over.socket.sendall(request("GET", path))
        heard, until = 0, time.monotonic() + 60
        while heard < wanted:
            for descriptor, _ in self._poll.poll(5):
                heard += take(self._members[descriptor].events())
            if time.monotonic() > until:
                raise TimeoutError(f"{wanted - heard} of {wanted} messages did not come")
        at = time.monotonic_ns()
        found: dict[str, Any] = json.loads(over.answer())
        return found, at

    def close(self) -> None:
        self._poll.close()
        for member in self._members.values():
            member.close()
        for emitter in self.emitters:
            emitter.close()


def _spread(port: int, workers: int, each: int) -> Iterator[Http]:
    """Connections, ``each`` to every worker, in turns of one to each worker; which one it is, it says itself."""
    found: dict[bytes, list[Http]] = {}
    until = time.monotonic() + 60
    while len(found) < workers or min(map(len, found.values())) < each:
        if time.monotonic() > until:
            raise TimeoutError(f"no {each} connections to each worker: {[len(some) for some in found.values()]}")
        over = Http(port)
        mine = found.setdefault(over.get("/"), [])
        if len(mine) < each:
            mine.append(over)
        else:
            over.close()
    for turn in range(each):
        yield from (some[turn] for some in found.values())
