"""The steps all servers share: say *ready* once, and hear the end of the interpreter."""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Callable
from weakref import WeakSet

from onduty._runtime.lifecycle import Lifecycle, State
from onduty.servers import _stack

_told_at_exit: WeakSet[Lifecycle] = WeakSet()


def serving(life: Lifecycle, server: str, evidence: str) -> None:
    """This process serves: name the server, hear its exit, start. Only the first evidence counts."""
    if life.state is not State.IDLE:
        return
    life.server = server
    _hear_exit(life)
    life.ready(evidence)


def heard(life: Lifecycle, server: str, evidence: str) -> bool:
    """As :func:`serving`, for a server that may also be a side show, such as a metrics endpoint in a gunicorn master.

    Answers whether it was this evidence that counted.
    """
    if life.state is not State.IDLE or _stack.gunicorn_decides():
        return False
    serving(life, server, evidence)
    return True


def orphaned(parent: int, name: str) -> Callable[[], str | None]:
    """A sign for ``Lifecycle.add_sign``: the process ``parent`` that minded this one is gone.

    An orphan may live on for long (a sync worker for half its time-out); it must not lead a dead server meanwhile.
    """
    return lambda: None if os.getppid() == parent else f"the {name} (pid {parent}) is gone"


def _hear_exit(life: Lifecycle) -> None:
    # Threading's own callback comes before non-daemon threads are joined, and some servers end without the other.
    if life in _told_at_exit:
        return
    _told_at_exit.add(life)
    stop = functools.partial(life.stop, "the interpreter is ending")
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(stop)
    atexit.register(stop)
