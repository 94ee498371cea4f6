"""Session routing: a worker that gets a request of another worker's session brings it there.

::

    request ─┬─ our session, or none ─────────────▶ engine.io, here
             ├─ a poll of another's ──────────────▶ its owner's counter and back
             └─ a WebSocket ─┬─ ours ─────────────▶ engine.io, here, outside the server's pool of threads
                             └─ another's ────────▶ its descriptor to the owner; we let go of it
                               encrypted, either ─▶ a pair of sockets; we carry the bytes between

The owner is gone: engine.io answers here what it does for an unknown session, a 400 with CORS headers, and the client
starts anew. An owner that is there but frozen gets a few seconds, then the answer is the same.

It sits where engine.io is entered, behind all middleware: what that did to the environ is what the owner sees, once.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Iterable
from typing import Any

from onduty._runtime.crossing import Cross
from onduty._runtime.threads import spawn
from onduty.socketio import unix, wire
from onduty.socketio.counter import Counter, Wsgi
from onduty.socketio.ids import Ids
from onduty.socketio.lines import Line, Lines
from onduty.socketio.route import Way, route
from onduty.socketio.sockets import Morgue, is_encrypted, relay

_A_MOMENT = 0.5
_UNREACHABLE = (unix.Gone, unix.Wedged, unix.NoDescriptor, PermissionError)


class Router:
    """One per worker. ``serve`` is engine.io's own entrance, ``eio`` its server.

    A worker that leaves is not held up by those who wait: whoever polls through it for another worker's session is
    answered with what there is, and comes back to another worker; its own sessions end as they would in a moment.
    """

    def __init__(self, lines: Lines, ids: Ids, eio: Any, serve: Wsgi, counter: Counter, cross: Cross) -> None:
        self._ids = ids
        self._eio = eio
        self._serve = serve
        self._counter = counter
        self._cross = cross
        self._home = os.getpid()
        self._lines = lines
        self._morgue = Morgue()
        self._leaving = False
        self._waiting: dict[object, tuple[str, str]] = {}
        self.forwarded = 0
        self.handed_over = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """A WSGI application."""
        if os.getpid() != self._home:
            return self._serve(environ, start_response)  # a worker's forked child has its own life
        where = route(environ, self._ids.token)
        if where.way is Way.SOCKET:
            is_ours = where.owner == self._ids.token
            if is_ours and where.sid is not None and where.sid not in self._eio.sockets:
                return self._serve(environ, start_response)
            self._hand_over(environ, where.owner, is_ours=is_ours)
        if self._leaving and where.sid in self._eio.sockets and environ["REQUEST_METHOD"] == "GET":
            self._end(self._eio.sockets[where.sid])  # or its poll would keep us here; now it is a 400
        _with_known_length(environ, self._eio.max_http_buffer_size)
        if where.way is Way.FORWARD:
            answer = self._forward(environ, where.owner, where.sid or "")
            if answer is not None:
                status, headers, body = answer
                start_response(status, headers)
                return [body]
        return self._serve(environ, start_response)

    def leave(self) -> None:
        """Returns at once. Whoever carries bytes lets go within a second: a reload does not wait for a WebSocket."""
        if not self._leaving:
            self._leaving = True
            spawn("farewell", self._say_farewell)

    def _say_farewell(self) -> None:
        for owner, sid in list(self._waiting.values()):
            self._have_woken(owner, sid)
        self._cross(self._end_polling_sessions)

    def _end_polling_sessions(self) -> None:
        for session in list(self._eio.sockets.values()):
            self._end(session)

    def _end(self, session: Any) -> None:
        if not session.upgraded and not session.upgrading:
            # Without a word: told that it is closed, python-socketio's client (5.18) takes that as meant, for good.
            session.close(wait=False, abort=True, reason=self._eio.reason.SERVER_DISCONNECT)

    def _have_woken(self, owner: str, sid: str) -> None:
        with contextlib.suppress(OSError):  # gone or frozen: its poll ends by itself
            self._lines.exchange(owner, wire.request("wake", {}, sid.encode()), _A_MOMENT)

    def stop(self) -> None:
        """Let go of the dead socket; requests that still come are served here."""
        self._morgue.close()

    def _forward(
        self, environ: dict[str, Any], owner: str, sid: str
    ) -> tuple[str, list[tuple[str, str]], bytes] | None:
        """The owner's answer; ``None``: there is none to be had."""
        is_poll = environ["REQUEST_METHOD"] == "GET"
        body = b"" if is_poll else environ["wsgi.input"].read(_length(environ))
        longest_poll = self._eio.ping_interval + self._eio.ping_timeout + 10
        self.forwarded += 1
        me = object()
        try:
            if is_poll:
                self._waiting[me] = owner, sid
                if self._leaving:
                    self._have_woken(owner, sid)
            head, body = self._lines.exchange(owner, wire.request("poll", environ, body), longest_poll)
        except _UNREACHABLE as error:
            if isinstance(error, unix.Gone):
                self._lines.pool.forget(owner)
            return None
        finally:
            self._waiting.pop(me, None)
        status, headers = wire.read_response(head)
        # Engine.io does not say how long it is, so gunicorn would send it in chunks, each by a call of its own.
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
            headers.append(("Content-Length", str(len(body))))
        return status, headers, body

    def _hand_over(self, environ: dict[str, Any], owner: str, *, is_ours: bool) -> None:
        """Bring the connection to its owner, and raise ``StopIteration``; returning means that this can't be done."""
        client = environ["gunicorn.socket"]
        if is_encrypted(client):
            self._carry(environ, client, owner, is_ours=is_ours)
            return
        if not self._morgue.is_open():
            return
        if is_ours:
            try:
                descriptor = os.dup(client.fileno())
            except OSError:  # none is free: then it is served where it is
                return
            self._serve_beside(environ, descriptor)
            self._morgue.bury(client)
            raise StopIteration
        line = self._bring(environ, client.fileno(), owner)
        if line is not None:
            self._morgue.bury(client)
            self._let_go(line)
            raise StopIteration

    def _carry(self, environ: dict[str, Any], client: Any, owner: str, *, is_ours: bool) -> None:
        try:
            near, far = socket.socketpair()
        except OSError:  # no descriptor is free
            return
        unix.adopt(near)
        try:
            if is_ours:
                self._serve_beside(environ, far.detach())
            else:
                line = self._bring(environ, far.fileno(), owner)
                if line is None:
                    return
                self._let_go(line)
                far.close()
            with contextlib.suppress(OSError):  # either side may be cut off
                relay(client, near, lambda: self._leaving)
        finally:
            far.close()
            unix.drop(near)
        raise StopIteration

    def _serve_beside(self, environ: dict[str, Any], descriptor: int) -> None:
        try:
            spawn("websocket", self._counter.serve_socket, dict(environ), descriptor)
        except RuntimeError:  # no more threads
            os.close(descriptor)
            raise

    def _bring(self, environ: dict[str, Any], descriptor: int, owner: str) -> Line | None:
        """The line on which the owner says that it has the descriptor and waits for our word."""
        self.handed_over += 1
        request = wire.request("socket", environ)
        line = None
        try:
            line = self._lines.line(owner, is_new=True)
            sent = socket.send_fds(line.connection, [request], [descriptor])
            line.send(request[sent:], self._lines.pool.waits(owner))
            if line.next(self._lines.pool.waits(owner), len(wire.TAKEN)) == wire.TAKEN:
                return line
        except TimeoutError:
            self._lines.pool.is_frozen(owner)
        except OSError:
            pass  # gone, before it took anything
        if line is not None:
            line.close()
        return None

    def _let_go(self, line: Line) -> None:
        with contextlib.suppress(OSError):  # it died holding the connection, which dies with it
            line.connection.sendall(wire.GO)
        line.close()


def _length(environ: dict[str, Any]) -> int:
    return int(environ.get("CONTENT_LENGTH") or 0)


def _with_known_length(environ: dict[str, Any], limit: int) -> None:
    """Engine.io reads as many bytes as ``CONTENT_LENGTH`` says, so of a chunked body none. Tell it how many there are.

    Too long a body is not read at all: engine.io refuses it by its length.
    """
    if environ["REQUEST_METHOD"] != "POST":
        return
    if environ.get("CONTENT_LENGTH"):
        if _length(environ) > limit:
            environ["wsgi.input"] = io.BytesIO()
    elif "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        body = environ["wsgi.input"].read(limit + 1)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
