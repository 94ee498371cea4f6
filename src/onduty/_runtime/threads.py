"""What the server calls a thread: an OS thread, or a greenlet in a gevent-patched worker.

In a patched worker nothing of ours runs in a native thread that touches patched primitives: such mixtures were
measured to hang requests for good. So threads are made through ``threading`` by attribute, after the server has
patched it or not, and the one thing that must not block a greenlet's neighbours, a call that waits in C, goes through
an :class:`Offload`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from onduty._runtime import forks

T = TypeVar("T")


def is_patched() -> bool:
    """Whether ``threading.Thread`` makes greenlets in this process, now."""
    monkey = sys.modules.get("gevent.monkey")
    return bool(monkey and monkey.is_module_patched("threading"))


def stops_all_greenlets(sleep: object) -> bool:
    """Whether somebody who keeps ``sleep`` got it before this process was patched."""
    if not is_patched():
        return False
    from gevent.monkey import get_original

    return sleep is get_original("time", "sleep")


def spawn(name: str, target: Callable[..., Any], *args: Any) -> threading.Thread:
    """Start a daemon thread: it never holds up the end of its process, a graceful stop comes before that."""
    thread = threading.Thread(target=target, args=args, name=f"onduty-{name}", daemon=True)
    thread.start()
    return thread


def stay_behind(home: int) -> None:
    """Go no further in a process other than ``home`` (a pid), unless the caller is the one that forked it.

    A forked child has none of its parent's threads, but a copy of every greenlet; these would run the parent's slots
    once more, and lead. A copy is parked for good: unwound, it would run users' ``finally`` blocks twice.
    """
    if os.getpid() != home and is_patched() and not forks.is_survivor():
        import gevent

        _parked.append(gevent.getcurrent())  # collected, it would be unwound
        while True:
            gevent.get_hub().switch()


_parked: list[Any] = []


if TYPE_CHECKING:

    class Offload(Protocol):
        """Runs a call that blocks in C, one at a time, and returns its result or raises its error."""

        def __call__(self, function: Callable[..., T], /, *args: Any) -> T: ...


def make_offload() -> Offload:
    """One native thread in a patched worker; elsewhere the call itself, under a lock."""
    return _native_thread() if is_patched() else _here()


def _here() -> Offload:
    lock = threading.Lock()

    def call(function: Callable[..., T], /, *args: Any) -> T:
        with lock:
            return function(*args)

    return call


def _native_thread() -> Offload:
    from gevent import get_hub
    from gevent.threadpool import ThreadPool

    # A hub made by a native thread while the main greenlet starts deadlocks on the import lock; so make ours first.
    get_hub()
    pool = ThreadPool(1)

    def call(function: Callable[..., T], /, *args: Any) -> T:
        result, error = pool.apply(_answer, (function, *args))
        if error is not None:
            raise error
        answer: T = result
        return answer

    return call


def _answer(function: Callable[..., Any], /, *args: Any) -> tuple[Any, BaseException | None]:
    """An error as an answer: gevent would print each that leaves its thread, also those that the caller handles."""
    try:
        return function(*args), None
    except BaseException as error:  # noqa: BLE001  # it is raised again where it was asked for
        return None, error
