"""From a native thread into a gevent loop, in order: the only safe way there is.

A gevent loop's queues and sockets belong to the thread that runs it. A native thread beside it (a run under an
unpatched ``socketio.run``, a call in gevent's thread pool) may touch none of them; it puts its calls here, and one
greenlet of the loop makes them, in the order in which they came.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from onduty._runtime.threads import stay_behind

_log = logging.getLogger("onduty.crossing")


class Cross(Protocol):
    """Makes a call where it may be made; its result and its errors stay there."""

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> None: ...


def here(function: Callable[..., Any], /, *args: Any) -> None:
    """Where threads are threads, every place is the right one."""
    function(*args)


def after_this_turn() -> Callable[[Callable[[], None]], Any]:
    """Makes a call once the greenlets of this thread's loop that can run have run. It must not wait for anything."""
    from gevent import get_hub

    soon: Callable[[Callable[[], None]], Any] = get_hub().loop.run_callback
    return soon


def into_this_loop() -> Cross:
    """To the gevent loop of the thread that calls this now. From inside that thread a call is made at once."""
    import gevent
    from gevent import monkey
    from gevent.event import Event

    who = monkey.get_original("_thread", "get_ident")
    home, pid = who(), os.getpid()
    loop = gevent.get_hub().loop
    waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
    bell = Event()

    def work() -> None:
        while True:
            bell.wait()
            stay_behind(pid)
            bell.clear()
            while waiting:
                function, args = waiting.popleft()
                try:
                    function(*args)
                except Exception:  # noqa: BLE001  # one failed call must not end the way for all others
                    _log.exception("a call from another thread failed")

    gevent.spawn(work)

    def cross(function: Callable[..., Any], /, *args: Any) -> None:
        if who() == home:
            function(*args)
        else:
            waiting.append((function, args))
            loop.run_callback_threadsafe(bell.set)

    return cross
