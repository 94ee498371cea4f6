"""Emits, acknowledgements, rooms and disconnects across workers: python-socketio's ``PubSubManager`` over our mesh.

What ``PubSubManager`` promises holds: a message is handled here first and then told to the others; it arrives at most
once, in the order of its emitter. What concerns one client goes to that client's worker only.

``Bus`` is the manager of a worker, and ``asgi.bus.AsyncBus`` that of an asyncio worker.
``Emitter`` is for processes that serve nobody, a command, a script, a job::

    Emitter(duty).emit("news", {"text": "from a script"})
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

try:
    from socketio import PubSubManager
except ImportError as error:
    raise ImportError(f"onduty.socketio needs python-socketio ({error}): pip install 'onduty[socketio]'") from error

from onduty._runtime.crossing import Cross, here
from onduty.socketio import unix, wire
from onduty.socketio.mesh import Mesh, Seat
from onduty.socketio.peers import BUS, addressee, tokens

_log = logging.getLogger("onduty.socketio")

_PATIENCE = 1.0
"""Seconds an emitter outside waits for a worker that does not read."""


class OnMesh:
    """What a client manager needs to be on the mesh, whichever kind of waiting its server is made of."""

    name = "onduty"
    host_id: str
    json: Any
    set_server: Callable[[Any], None]

    def join(self, seat: Seat, inbox: Any) -> None:
        """Join the others; what they say comes into ``inbox``."""
        self.host_id = seat.token
        self._home = os.getpid()
        self._inbox = inbox
        self.mesh = Mesh(seat, inbox)
        self.mesh.start()

    def close(self) -> None:
        """Leave. May be called again."""
        self.mesh.stop()

    def tell(self, data: dict[str, Any], cross: Cross = here) -> int:
        """Bring a message to those it concerns; never waits. How long it was, where there is anybody."""
        to = addressee(data, self.host_id, self.mesh.knows())
        # In a worker's forked child there is no mesh: what it emits stays there, as it would without us.
        if to != self.host_id and os.getpid() == self._home:
            message = wire.frame(_encoded(self.json, data))
            cross(self.mesh.publish, message, to)
            return len(message)
        return 0


def _in_turn(name: str) -> Callable[..., Any]:
    method = getattr(PubSubManager, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return method(self, *args, **kwargs)

    return call


class InTurn(PubSubManager):  # type: ignore[misc]  # python-socketio is untyped
    """Clients come and go in many threads at once, and python-socketio (5.18) makes and drops its tables in between: of
    two that are the first at the same moment it forgets one, which then is connected and never answered.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = threading.RLock()

    pre_connect = _in_turn("pre_connect")
    connect = _in_turn("connect")
    pre_disconnect = _in_turn("pre_disconnect")
    basic_disconnect = _in_turn("basic_disconnect")
    basic_enter_room = _in_turn("basic_enter_room")
    basic_leave_room = _in_turn("basic_leave_room")


class Bus(OnMesh, InTurn):
    """The client manager of one worker. Made when the worker is ready; :meth:`open` comes before ``initialize``."""

    def open(self, seat: Seat, cross: Cross) -> None:
        """``set_server`` has been called, so that the inbox is of the kind this server waits on."""
        self._cross = cross
        self.join(seat, self.server.eio.create_queue())

    def _publish(self, data: dict[str, Any]) -> None:
        self.tell(data, self._cross)

    def _listen(self) -> Iterator[bytes]:
        while True:
            payload = self._inbox.get()
            self.mesh.taken()
            yield payload


class HasStatus(Protocol):
    def status(self) -> dict[str, Any]: ...


class Emitter(PubSubManager):  # type: ignore[misc]  # python-socketio is untyped
    """Emits to the clients of all workers from a process that is none.

    ``place``: the ``OnDuty``, or its ``status()["folder"]``. It starts no thread and may be made and used at any time.
    Where no worker is there an emit reaches nobody, which is no error, and is logged once as a warning until one is met
    again. A worker that does not read for a second is left out, and the emit is counted in ``dropped``.
    """

    name = "onduty"

    def __init__(self, place: HasStatus | Path | str, json: Any = None) -> None:
        super().__init__(write_only=True, json=json)
        self._folder = Path(place if isinstance(place, (str, Path)) else place.status()["folder"]) / FOLDER
        self._streams: dict[str, socket.socket] = {}
        self._is_alone = False
        self.dropped = 0

    def close(self) -> None:
        """Let go of the connections; the next emit makes new ones."""
        while self._streams:
            unix.drop(self._streams.popitem()[1])

    def disconnect(self, sid: str, namespace: str | None = None, **kwargs: Any) -> None:
        """Disconnect a client, whichever worker has it."""
        self._publish(
            {"method": "disconnect", "sid": sid, "namespace": namespace or "/", "host_id": self.host_id},
        )

    def _publish(self, data: dict[str, Any]) -> None:
        message = wire.frame(_encoded(self.json, data))
        there = self._connect()
        to = addressee(data, self.host_id, there)
        for token in there if to is None else [to]:
            try:
                self._streams[token].sendall(message)
            except OSError as error:
                # A frame may have gone out in part, so the stream is of no use any more; a new one is.
                self.dropped += isinstance(error, TimeoutError)
                unix.drop(self._streams.pop(token))

    def _connect(self) -> list[str]:
        """To every worker there is now."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            names = []
        there = tokens(names)
        for token in set(self._streams) - there:
            unix.drop(self._streams.pop(token))
        for token in sorted(there - set(self._streams)):
            try:
                stream = unix.connect(self._folder, BUS + token, _PATIENCE)
            except unix.Gone:
                there.discard(token)
                continue
            except unix.Wedged:
                continue
            try:
                stream.sendall(wire.hello(None))
            except OSError:  # it has ended since
                unix.drop(stream)
                continue
            self._streams[token] = stream
        self._tell_if_alone(not there)
        return list(self._streams)

    def _tell_if_alone(self, is_alone: bool) -> None:
        if is_alone and not self._is_alone:
            _log.warning(
                "an emit reaches nobody: no worker has its socket in %s; "
                "give the duty, or the folder that a worker names when it is ready",
                self._folder,
            )
        self._is_alone = is_alone


FOLDER = "socketio"
"""Where the sockets lie, in the app's own folder."""


def _encoded(codec: Any, data: dict[str, Any]) -> bytes:
    text = codec.dumps(data) if codec is not json else json.dumps(data, separators=(",", ":"))
    return text if isinstance(text, bytes) else str(text).encode()
