"""The mesh: a Unix stream to every other worker, and one loop that keeps them.

::

    publish() ──▶ straight into the peer's socket, as far as it takes it ──▶ its outbox ──▶ the loop, when it can
    a peer    ──▶ the loop ──▶ the inbox ──▶ whoever listens

Each pair has two streams, one for each direction. The sender's side ends when the peer is gone; it is forgotten, and a
socket that refuses is removed. Every few seconds the folder is looked at again, so that whatever was missed is found,
and our own name is put back if it was deleted. Without a free descriptor, or room for our socket, it waits for one.

``publish`` never waits: what neither the socket nor the outbox takes is dropped for that peer, beyond 8 MiB if it has
not read for five seconds, beyond 64 MiB if it is merely slower. The inbox does hold back: when it is full we stop
reading, and the others' outboxes fill.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from onduty._runtime.threads import spawn, stay_behind
from onduty.socketio import unix, wire
from onduty.socketio.door import LOOK_AGAIN, Door, passes
from onduty.socketio.ends import Incoming, Outgoing
from onduty.socketio.peers import BUS, to_meet

_log = logging.getLogger("onduty.socketio")

MEETING = 1.0
"""Seconds a starting worker waits at most until those who are there already have connected to it."""
_PAUSE = 0.5
INBOX = 2000
"""Messages that may wait to be handled here before we stop reading."""


class Seat(NamedTuple):
    """Where a worker takes part: under the name ``token``, in ``folder``.

    ``dropped(token, in_all)`` is called by whoever emits, when a frame was dropped for a peer; ``hindered(sentence)``
    when the others can't reach us for now.
    """

    folder: Path
    token: str
    dropped: Callable[[str, int], None]
    hindered: Callable[[str], None]


class Mesh:
    """One per worker. ``inbox``: a queue whose reader is told by nobody but :meth:`taken`."""

    _selector: selectors.BaseSelector
    _bell: socket.socket
    _ears: socket.socket

    def __init__(self, seat: Seat, inbox: Any) -> None:
        self._folder = seat.folder
        self._token = seat.token
        self._inbox = inbox
        self._dropped = seat.dropped
        self._home = os.getpid()
        self._over = False
        self._peers: dict[str, Outgoing] = {}
        self._guests: set[Incoming] = set()
        self._full = False
        self._heard: set[str] = set()
        self._awaited: set[str] = set()
        self._met = threading.Event()
        self._door = Door(seat.folder, BUS + seat.token, 0, seat.hindered)
        self._is_deaf = True
        self._stands = False
        self._looked = time.monotonic()
        self.lost_before = 0
        """Frames dropped for peers that are gone by now."""

    def start(self) -> None:
        """Connect to those who are there, and return when they have connected to us, or soon after.

        Raises:
            OnDutyError, OSError: there can't be a socket in this folder, whatever else happens on this machine.
        """
        self._door.open()
        if self._stand():
            self._look()
        self._awaited = set(self._peers)
        if self._awaited <= self._heard:
            self._met.set()
        spawn("mesh", self._run)
        # So that an emit of theirs, made when we serve already, reaches our clients. One that is frozen is not waited
        # for.
        self._met.wait(MEETING)

    def stop(self) -> None:
        """Leave: the name first, so that nobody comes any more. May be called again."""
        self._over = True
        self._door.unlist()
        self._ring()

    def publish(self, data: bytes, to: str | None) -> None:
        """Send a frame to the worker ``to``, or to every one. Never waits, and raises nothing."""
        for peer in list(self._peers.values()):
            if to is None or to == peer.token:
                if not peer.send(data):
                    self._dropped(peer.token, peer.outbox.dropped)
                if peer.asks_for_the_loop():
                    self._ring()

    def knows(self) -> dict[str, Any]:
        """By token."""
        return self._peers

    def waiting(self) -> int:
        """Bytes of what we have said that the slowest has not taken yet."""
        return max((one.outbox.waiting for one in list(self._peers.values())), default=0)

    def snapshot(self) -> dict[str, Any]:
        """Plain data: for each peer what waits and what was dropped."""
        peers = list(self._peers.values())
        return {
            "peers": {one.token: {"waiting": one.outbox.waiting, "dropped": one.outbox.dropped} for one in peers},
            "dropped": self.lost_before + sum(one.outbox.dropped for one in peers),
        }

    def taken(self) -> None:
        """A message has left the inbox; perhaps there is room to read again."""
        if self._full and self._inbox.qsize() < INBOX // 2:
            self._ring()

    # The loop

    def _run(self) -> None:
        try:
            while not self._over:
                if self._stands or self._stand():
                    self._turn()
                else:
                    time.sleep(_PAUSE)
                    stay_behind(self._home)
        except Exception:  # noqa: BLE001  # whatever it is, it must be told
            if not self._over:
                # As a rule somebody has closed our descriptors; the elector sees it too and gives up its part.
                _log.exception("the mesh of this worker has ended: emits stay in this process")
        finally:
            self._close()

    def _turn(self) -> None:
        ready = self._selector.select(LOOK_AGAIN)
        stay_behind(self._home)
        for key, _ in ready:
            key.data()
        if time.monotonic() - self._looked > LOOK_AGAIN:
            self._look()

    def _stand(self) -> bool:
        """Make what the loop waits on; ``False``: there is no descriptor for it now."""
        made: list[Any] = []
        try:
            made.append(selectors.DefaultSelector())
            made += socket.socketpair()
        except OSError as error:
            for one in made:
                one.close()
            if not passes(error):
                raise
            self._door.tell(error)
            return False
        self._selector, self._bell, self._ears = made
        for end in (self._bell, self._ears):
            end.setblocking(False)
            unix.adopt(end)
        self._selector.register(self._ears, selectors.EVENT_READ, self._rung)
        self._looked = -LOOK_AGAIN
        self._stands = True
        return True

    def _close(self) -> None:
        for peer in list(self._peers.values()):
            self._forget(peer)
        for guest in list(self._guests):
            self._dismiss(guest)
        self._door.drop()
        if self._stands:
            self._selector.close()
            for one in (self._bell, self._ears):
                unix.drop(one)

    def _ring(self) -> None:
        if self._stands:
            with contextlib.suppress(OSError):  # full: it will wake up anyway; closed: it is over
                self._bell.send(b"!")

    def _rung(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ears.recv(4096)
        if self._full and self._inbox.qsize() < INBOX // 2:
            self._full = False
            for guest in list(self._guests):
                self._attend_to(guest)
        for peer in list(self._peers.values()):
            self._attend(peer)

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._listen_again()
        for token in to_meet(unix.names(self._folder), self._token, self._peers):
            self._meet(token)

    def _listen_again(self) -> None:
        """When our name was deleted; and after a while without a free descriptor, as perhaps there is one now."""
        if self._door.is_missing():
            self._be_deaf()
            self._door.mend()
        if self._is_deaf and self._door.listener is not None:
            self._selector.register(self._door.listener, selectors.EVENT_READ, self._accept)
            self._is_deaf = False

    def _be_deaf(self) -> None:
        if not self._is_deaf and self._door.listener is not None:
            self._selector.unregister(self._door.listener)
        self._is_deaf = True

    def _meet(self, token: str) -> None:
        try:
            connection = unix.connect(self._folder, BUS + token, 0)
        except OSError as error:
            # Gone, or wedged, or somebody else's; or there is no descriptor, and more of them at the next look.
            _log.debug("no connection to worker %s: %r", token, error)
            return
        # Among the peers before the hello can be read: who has heard it counts on whatever is said from then on.
        self._peers[token] = peer = Outgoing(token, connection, wire.hello(self._token))
        peer.push()
        self._attend(peer)

    def _attend(self, peer: Outgoing) -> None:
        """Wait for what this peer's state asks for."""
        waits = peer.attended()
        if peer.is_dead:
            self._forget(peer)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if waits else 0)
        if wanted != peer.watched:
            act = self._selector.modify if peer.watched else self._selector.register
            try:
                act(peer.connection, wanted, lambda: self._serve(peer))
            except OSError as error:
                if not passes(error):
                    raise
                self._forget(peer)  # and meet it anew at the next look
                return
            peer.watched = wanted

    def _serve(self, peer: Outgoing) -> None:
        if self._peers.get(peer.token) is not peer:
            return  # forgotten earlier in this very turn, by whoever emitted and found it dead
        peer.look()
        peer.push()
        self._attend(peer)

    def _forget(self, peer: Outgoing) -> None:
        if self._peers.get(peer.token) is peer:
            del self._peers[peer.token]
            self.lost_before += peer.outbox.dropped
            self._awaited.discard(peer.token)
            self._heard_of(None)
        if peer.watched:
            self._selector.unregister(peer.connection)
        unix.drop(peer.connection)

    def _accept(self) -> None:
        while self._door.listener is not None:
            try:
                connection, _ = self._door.listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in unix.NO_DESCRIPTOR:
                    raise
                self._be_deaf()  # until the next look, or it would be readable for ever
                return
            connection.setblocking(False)
            unix.adopt(connection)
            try:
                unix.refuse_strangers(connection)
            except PermissionError as error:
                _log.warning("refused on the bus: %s", error)
                unix.drop(connection)
                continue
            guest = Incoming(connection, self._hear, self._dismiss, self._receive)
            self._guests.add(guest)
            if not self._full:
                self._attend_to(guest)

    def _attend_to(self, guest: Incoming) -> None:
        try:
            self._selector.register(guest.connection, selectors.EVENT_READ, guest.read)
        except OSError as error:
            if not passes(error):
                raise
            self._dismiss(guest)  # it will come again

    def _hear(self, token: str | None) -> None:
        if token is not None and token not in self._peers and token != self._token:
            self._meet(token)
        self._heard_of(token)

    def _heard_of(self, token: str | None) -> None:
        if token is not None:
            self._heard.add(token)
        if self._awaited <= self._heard:
            self._met.set()

    def _receive(self, payload: bytes) -> None:
        self._inbox.put(payload)
        if not self._full and self._inbox.qsize() >= INBOX:
            self._full = True
            for guest in self._guests:
                self._selector.unregister(guest.connection)
            self.taken()  # the reader may have taken all of it before it could see that it is full

    def _dismiss(self, guest: Incoming) -> None:
        self._guests.discard(guest)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(guest.connection)
        unix.drop(guest.connection)
