"""What the two halves have in common: a worker that waits in threads (or greenlets), and one that waits on a loop.

A *half* is all of ours that waits: the counter, the router and the bus. The formats, the folder, the mesh and the
decisions are the same for both.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from onduty._runtime.crossing import Cross, here
from onduty.socketio.bus import OnMesh
from onduty.socketio.ids import Ids
from onduty.socketio.lines import Lines
from onduty.socketio.mesh import Seat

_log = logging.getLogger("onduty.socketio")


@dataclass(frozen=True)
class Place:
    """The worker a half is put into.

    ``about`` tells of this worker, and ``look`` is to be called twice a second: nothing else in a worker that is not on
    duty would notice that it is to leave. ``midway`` takes a question that a server which is to close all connections
    asks first: whether there is one that should not be closed in this moment.
    """

    seat: Seat
    server: Any
    ids: Ids
    lines: Lines
    about: Callable[[], dict[str, Any]]
    look: Callable[[], None]
    midway: Callable[[Callable[[], bool]], None]


class Traffic(Protocol):
    """What a router counts."""

    forwarded: int
    handed_over: int


class Half(ABC):
    """Whoever makes one puts it to work.

    ``bus`` is the client manager; ``None``: the app has brought its own.
    """

    bus: OnMesh | None = None
    router: Traffic

    def share(self, server: Any, plain: type, bus: OnMesh, join: Callable[[], None], soon: Cross = here) -> None:
        """Make ``bus`` the client manager in place of a ``plain`` one, and let it join the mesh.

        ``plain`` is the class of the manager that python-socketio makes when nobody has said anything. ``soon`` makes a
        call where the manager may start what waits.
        """
        if type(server.manager) is plain:
            self.bus = bus
            bus.set_server(server)
            join()
            server.manager = bus
        else:
            kind = type(server.manager).__name__
            _log.info("emits go by the app's own %s, and reach whom that reaches; sessions are seen to here", kind)
        # Python-socketio does this at the first client. A worker that has none would never hear an acknowledgement.
        if not getattr(server, "manager_initialized", True):
            server.manager_initialized = True
            soon(server.manager.initialize)

    @abstractmethod
    def leave(self) -> None:
        """Let nobody hold this worker up. Returns at once."""

    @abstractmethod
    def stop(self) -> None:
        """Take nobody any more, and leave the mesh. May be called again."""
