"""The local socket through which the workers of one machine talk, and by which they know that the leader is gone.

Only the holder of the lock binds: it binds a name of its own and renames that to ``hub.sock``, which is never unlinked,
so there is no instant without it. Standbys stay connected; the end-of-file tells them of a crash and of a hand-over
alike. End-of-file is not "lock free" (measured: still busy in 19 of 99 kills), so it only says: try now.

A line of JSON each way: ``{}`` asks, and the answer is who leads, another ``beat`` if its loop has turned, and which
``place`` among the standbys this one has. A leader that was told to leave says ``{"offer": true}``, and a standby that
stays says ``{"accept": true}``. Whoever has left something for the leader in the journal rings, ``{"ring": true}``: the
hub is a bell, not a mailbox.
Everything here is non-blocking and driven by the elector's selector.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onduty._runtime import forks

_NAME = "hub.sock"
_BACKLOG = 1024
_LINE = 64 * 1024
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_OFFER = {"offer": True}
_ACCEPT = {"accept": True}
_RING = b'{"ring":true}\n'
_SUN_PATH = 100
"""A socket's path is limited to about 108 bytes (unix(7))."""


class Hub:
    """The leader's side. Made after the lock was won, closed after it was let go.

    Who connects before the first :meth:`listen` waits. Later nobody is left waiting: whoever gets no answer takes the
    leader for frozen, so without a descriptor for one more there is no hub, until there are some.
    """

    def __init__(
        self,
        folder: Path,
        selector: selectors.BaseSelector,
        answer: Callable[[], dict[str, Any]],
        rung: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._selector = selector
        self._answer = answer
        self._rung = rung
        self._lines: dict[_Peer, None] = {}  # in the order in which they came
        self._offering = False
        self._is_deaf = True
        self.accepted = False
        self._listener: socket.socket | None = None
        try:
            self._listener = self._bind()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
        with contextlib.suppress(OSError):  # what is left over does no harm
            self._sweep(folder)

    def listen(self) -> None:
        """From now on; or again, after a while without a free descriptor: perhaps there is one now."""
        if self._listener is None:
            with contextlib.suppress(OSError):  # not yet; the next call tries again, and standbys poll meanwhile
                for one in socket.socketpair():  # there is room for it, and for one who comes
                    one.close()
                self._listener = self._bind()
        if self._listener is not None and self._is_deaf:
            self._is_deaf = False
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def offer(self) -> None:
        """Ask the standbys, also those still to come, whether one goes on duty; ``accepted`` says that one does.

        Asking again changes nothing.
        """
        if not self._offering:
            self._offering = True
            for peer in list(self._lines):
                self._tell(peer, _OFFER)

    def close(self) -> None:
        self._turn_away()
        for peer in list(self._lines):
            self._forget(peer)

    def __len__(self) -> int:
        return len(self._lines)

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _adopt(listener)
        own = f"hub.{os.getpid()}"
        try:
            with _ShortPath(self._folder) as place:
                # A dead worker of our pid may have left its name behind; we hold the lock, so it is ours to take.
                (self._folder / own).unlink(missing_ok=True)
                listener.bind(f"{place}/{own}")
                listener.listen(_BACKLOG)
                os.chmod(self._folder / own, 0o600)
                os.rename(self._folder / own, self._folder / _NAME)
        except OSError:
            _drop(listener)
            raise
        return listener

    def _turn_away(self) -> None:
        """Who comes from now on, and who has come and was not let in yet."""
        listener, self._listener, self._is_deaf = self._listener, None, True
        if listener is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(listener)
            _drop(listener)

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._turn_away()
                return
            _adopt(connection)
            peer = _Peer(connection)
            self._lines[peer] = None
            self._selector.register(connection, selectors.EVENT_READ, lambda peer=peer: self._serve(peer))
            if self._offering:
                peer.write(_OFFER)  # who only rang has gone already, and is to be heard all the same

    def _serve(self, peer: _Peer) -> None:
        messages = peer.read()
        if messages is None:
            self._forget(peer)
            return
        for message in messages:
            if "accept" in message:
                self.accepted = True
            elif "ring" in message:
                self._rung()
            elif not self._tell(peer, {**self._answer(), "place": list(self._lines).index(peer)}):
                return

    def _tell(self, peer: _Peer, message: dict[str, Any]) -> bool:
        if peer.write(message):
            return True
        self._forget(peer)
        return False

    def _forget(self, peer: _Peer) -> None:
        self._lines.pop(peer, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer.socket)
        _drop(peer.socket)

    @staticmethod
    def _sweep(folder: Path) -> None:
        for name in os.listdir(folder):  # and no pattern, which a new leader would have to compile
            if name.startswith("hub.") and name[4:].isdigit():
                (folder / name).unlink(missing_ok=True)


class Line:
    """A standby's side: one connection to whoever leads. ``ended``: end-of-file. ``offered``: it wants to leave.

    It wakes its standby, unless that has said :meth:`heed` ``(False)`` and looks by itself.
    """

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        self._peer = _Peer(connection)
        self._selector = selector
        self._is_heeded = False
        self.ended = False
        self.offered = False
        self.accepted = False
        self._answers: list[dict[str, Any]] = []
        self.heed(True)

    def heed(self, wakes: bool) -> None:
        if wakes and not self._is_heeded:
            self._selector.register(self._peer.socket, selectors.EVENT_READ, self._read)
        elif self._is_heeded and not wakes:
            self._unregister()
        self._is_heeded = wakes

    def look(self) -> None:
        """Whatever has come meanwhile, if it wakes nobody."""
        if not self._is_heeded and not self.ended:
            self._read()

    @classmethod
    def connect(cls, folder: Path, selector: selectors.BaseSelector) -> Line | None:
        """``None``: nobody answers there now; the slow poll is left."""
        connection = _connect(folder)
        return None if connection is None else cls(connection, selector)

    def take_answers(self) -> list[dict[str, Any]]:
        answers, self._answers = self._answers, []
        return answers

    def ask(self) -> None:
        self._tell({})

    def accept(self) -> None:
        """Say that this worker goes on duty when the leader lets go."""
        self.offered = False
        self.accepted = True
        self.heed(True)
        self._tell(_ACCEPT)

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._peer.write(message):
            self.ended = True

    def close(self) -> None:
        self._unregister()
        _drop(self._peer.socket)

    def _unregister(self) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._peer.socket)

    def _read(self) -> None:
        lines = self._peer.read()
        if lines is None:
            self.ended = True
            self._unregister()  # readable for ever from now on; the elector would spin
            return
        for message in lines:
            if "offer" in message:
                self.offered = True
            else:
                self._answers.append(message)


def ring(folder: Path) -> bool:
    """Wake whoever leads; ``False``: nobody seems to, or it did not hear, and will look by itself within a second.

    Raises:
        OSError: It can't be known who leads; there is no free descriptor, as a rule.
    """
    connection = _connect(folder)
    if connection is None:
        return False
    try:
        return connection.send(_RING) == len(_RING)
    except OSError:
        return False
    finally:
        _drop(connection)


def ask(folder: Path, timeout: float) -> dict[str, Any] | None:
    """Who leads, asked once from outside the election; ``None``: nobody is there.

    Raises:
        TimeoutError: Somebody is, and has not answered within ``timeout`` seconds.
    """
    connection = _connect(folder)
    if connection is None:
        return None
    try:
        connection.settimeout(timeout)
        connection.sendall(b"{}\n")
        with connection.makefile("rb") as lines:
            while line := lines.readline(_LINE):
                answer: dict[str, Any] = json.loads(line)
                if answer != _OFFER:  # a leader that wants to leave says so to whoever comes, and is the one still
                    return answer
        return None
    except TimeoutError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        _drop(connection)


class _Peer:
    """One connection, line by line, never blocking."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def read(self) -> list[dict[str, Any]] | None:
        """The lines that have come; ``None``: the other side is gone or talks nonsense."""
        try:
            data = self.socket.recv(_LINE)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if not data or len(self._buffer) > _LINE:
            return None
        try:
            messages = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return None
        return messages if all(isinstance(one, dict) for one in messages) else None

    def write(self, message: dict[str, Any]) -> bool:
        """Small, so it fits the socket's buffer or the other side does not read: then it is better off reconnecting."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            return self.socket.send(data) == len(data)
        except OSError:
            return False


def _connect(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _adopt(connection)
    try:
        with _ShortPath(folder) as place:
            connection.connect(f"{place}/{_NAME}")
    except OSError as error:
        _drop(connection)
        if error.errno in (errno.EAGAIN, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT, errno.EPIPE):
            return None
        raise
    return connection


def _adopt(connection: socket.socket) -> None:
    connection.setblocking(False)
    forks.keep_from_children(connection.fileno())


def _drop(connection: socket.socket) -> None:
    if forks.release(connection.fileno()):
        connection.close()
    else:
        connection.detach()  # somebody closed it, and its number may be another file by now


class _ShortPath:
    """A path to ``folder`` that is short enough for a socket, while the block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd: int | None = None

    def __enter__(self) -> str:
        if len(os.fsencode(self._folder)) + len(_NAME) + 20 <= _SUN_PATH:
            return str(self._folder)
        self._fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}"

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
