"""The counter of a worker, where the others bring what belongs to its sessions: polls, WebSockets, questions.

One thread takes the connections, and each connection has one of its own, outside the server's pool: a long poll waits
here for as long as the client does.
"""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from onduty._runtime.threads import spawn, stay_behind
from onduty.socketio import unix, wire
from onduty.socketio.client import open_client
from onduty.socketio.door import Door
from onduty.socketio.half import Place
from onduty.socketio.lines import CHUNK, Line
from onduty.socketio.peers import COUNTER
from onduty.socketio.route import sid_of

_log = logging.getLogger("onduty.socketio")

_HANDSHAKE = 10.0
_LOOK_EVERY = 0.5
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Counter:
    """``serve`` is engine.io's own entrance, ``wake`` ends the poll that waits for a session.

    ``ended`` hears the session of each WebSocket that has ended, also of one that never got further than its handshake.
    """

    def __init__(
        self, place: Place, serve: Wsgi, wake: Callable[[str], None], ended: Callable[[str | None], None]
    ) -> None:
        self._serve = serve
        self._wake = wake
        self._ended = ended
        self._about = place.about
        self._look = place.look
        self._home = os.getpid()
        self._over = False
        self._door = Door(place.seat.folder, COUNTER + place.seat.token, _LOOK_EVERY, place.seat.hindered)
        self._door.open()

    def start(self) -> None:
        spawn("counter", self._accept)

    def stop(self) -> None:
        """Take nobody any more; who is being served goes on to be. May be called again."""
        self._over = True
        self._door.unlist()
        self._door.hang_up()

    def serve_socket(self, environ: dict[str, Any], descriptor: int) -> None:
        """Be the web server of one WebSocket, until it ends; ``descriptor`` is closed then."""
        client = open_client(descriptor)
        try:
            # Not the WebSocket's end of the connection any more; it would keep the server's own object alive.
            environ.pop("eventlet.input", None)
            if not (environ.get("HTTP_SEC_WEBSOCKET_KEY") and environ.get("HTTP_SEC_WEBSOCKET_VERSION")):
                client.sendall(_as_http("400 Bad Request", [], b""))  # RFC 6455 4.2.1; simple-websocket would raise
                return
            answer = _answer(self._serve, {**environ, "gunicorn.socket": client})
            client.sendall(_as_http(*answer))  # engine.io refused it
        except StopIteration:
            pass  # what simple-websocket says when it has taken the connection: the WebSocket is over
        except OSError as error:
            _log.debug("a WebSocket ended: %r", error)
        except Exception:  # noqa: BLE001  # gunicorn would log it, and so do we; the next client is served
            _log.exception("a WebSocket failed")
        finally:
            client.close()
            self._ended(sid_of(environ))

    def _accept(self) -> None:
        while not self._over:
            connection = self._next()
            stay_behind(self._home)
            if connection is not None:
                self._serve_line(connection)
            elif self._over:
                return
            elif self._door.is_lost():
                _log.error("this worker can be reached by the others no more: its descriptors were closed")
                return
            else:
                self._look()
                if self._door.is_missing():
                    self._door.mend()

    def _next(self) -> socket.socket | None:
        """Who comes next; ``None``: nobody for a moment, or nobody can."""
        try:
            if self._door.listener is not None:
                return self._door.listener.accept()[0]
        except (TimeoutError, ConnectionAbortedError):
            return None
        except OSError as error:
            if self._over or self._door.is_lost():
                return None
            _log.debug("nobody can come now: %r", error)  # no descriptor is free, as a rule
        time.sleep(_LOOK_EVERY)
        return None

    def _serve_line(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        unix.adopt(connection)
        try:
            spawn("counter-line", self._attend, connection)
        except RuntimeError as error:  # no more threads now
            _log.debug("a line can't be served: %r", error)
            unix.drop(connection)

    def _attend(self, connection: socket.socket) -> None:
        line = Line(connection)
        descriptors: list[int] = []
        try:
            unix.refuse_strangers(connection)
            # Only the first bytes of a line may bring a descriptor with them.
            data, descriptors, _, _ = socket.recv_fds(connection, CHUNK, 1)
            line.feed(data)
            while True:
                do, strings = wire.read_request(line.receive())
                environ, body = _environ(strings), line.receive()
                environ["wsgi.input"] = io.BytesIO(body)
                stay_behind(self._home)
                if do == "socket":
                    self._take(line, environ, descriptors.pop())
                    return
                connection.sendall(self._answered(do, environ, body))
        except unix.Gone:
            pass  # the caller has ended, or lets go of a line it does not need
        except (OSError, IndexError, wire.NotOurs) as error:
            _log.debug("a line to this worker ended: %r", error)
        finally:
            line.close()
            for descriptor in descriptors:
                os.close(descriptor)

    def _take(self, line: Line, environ: dict[str, Any], descriptor: int) -> None:
        try:
            line.connection.settimeout(_HANDSHAKE)
            line.connection.sendall(wire.TAKEN)
            # Whoever gave up waiting for us has closed the line, and serves the client itself.
            is_ours = line.connection.recv(1) == wire.GO
        except OSError:
            is_ours = False
        line.close()
        if is_ours:
            self.serve_socket(environ, descriptor)
        else:
            os.close(descriptor)

    def _answered(self, do: str, environ: dict[str, Any], body: bytes) -> bytes:
        if do == "ask":
            return wire.response("200 OK", [], json.dumps(self._about()).encode())
        if do == "wake":
            self._wake(body.decode())
            return wire.response("200 OK", [], b"")
        try:
            return wire.response(*_answer(self._serve, environ))
        except Exception:  # noqa: BLE001  # gunicorn would answer this too, and log it
            _log.exception("a forwarded request failed")
            return wire.response("500 Internal Server Error", [("Content-Type", "text/plain")], b"")


def _environ(strings: dict[str, str]) -> dict[str, Any]:
    """A WSGI environ (PEP 3333) of what has come over."""
    return {
        **strings,
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _answer(serve: Wsgi, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        started[:] = [status, headers]

    body = b"".join(serve(environ, start_response))
    status, headers = started or ("200 OK", [])
    return status, headers, body


def _as_http(status: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
