"""The proof's audience: one Socket.IO client on every worker, each of which notes when it heard whose heartbeat.

By hand over simple-websocket, which Flask-SocketIO brings anyway: of the protocol a listener needs four packets
(https://socket.io/docs/v4/socket-io-protocol). It connects by WebSocket alone, so its worker is the one that the kernel
gave the connection to; when that one dies it connects again by itself, as every client does.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import Any

from simple_websocket import Client, ConnectionClosed
from simple_websocket import ConnectionError as Refused
from wsproto.utilities import ProtocolError

from demo.diary import now

_AGAIN = 0.1
"""Seconds between two tries to connect; a browser's client waits a little longer."""


class Listener:
    """One client. ``worker``: whose it is, ``None`` while it is not connected. ``beats``: (microseconds, pid) each."""

    def __init__(self, port: int) -> None:
        self.worker: int | None = None
        self.beats: list[tuple[int, int]] = []
        self._url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        self._socket: Any = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self.worker = None
        with suppress(AttributeError, ConnectionClosed):  # never connected, or not just now
            self._socket.close()

    def _stay(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except (ConnectionClosed, Refused, ProtocolError, OSError):
                self.worker = None
                self._closed.wait(_AGAIN)

    def _listen(self) -> None:
        self._socket = Client(self._url)
        # To the default namespace, before the server's first packet is read: where that came together with the answer
        # to the handshake, simple-websocket looks at it when the next one comes.
        self._socket.send("40")
        while True:
            packet = self._socket.receive()
            if packet == "2":  # ping
                self._socket.send("3")
            elif packet[:2] == "42":
                self._learn(json.loads(packet[2:])[1])

    def _learn(self, facts: dict[str, Any]) -> None:
        self.worker = facts.get("connected_to", self.worker)
        if "reading" in facts.get("collector", {}):
            self.beats.append((now(), facts["collector"]["pid"]))


class Audience:
    """Listeners, one for each worker whenever :meth:`gather` returns."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._all: list[Listener] = []

    def gather(self, workers: list[int], timeout: float = 15.0) -> list[Listener]:
        """One for each of ``workers``, or fewer if the time does not suffice: nobody can choose who answers."""
        deadline = time.monotonic() + timeout
        while True:
            kept = {one.worker: one for one in self._all if one.worker in workers}
            for surplus in set(self._all) - set(kept.values()):
                surplus.close()
            self._all = list(kept.values())
            if len(kept) == len(workers) or time.monotonic() > deadline:
                return self._all
            self._all.append(newest := Listener(self._port))
            while newest.worker is None and time.monotonic() < deadline:
                time.sleep(0.01)

    def close(self) -> None:
        for one in self._all:
            one.close()


def first_beats(listeners: list[Listener], pid: int, timeout: float = 5.0) -> list[int | None]:
    """When each heard the first heartbeat of worker ``pid``; ``None`` for those who have not when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        heard = [next((at for at, by in one.beats if by == pid), None) for one in listeners]
        if None not in heard or time.monotonic() > deadline:
            return heard
        time.sleep(0.02)
