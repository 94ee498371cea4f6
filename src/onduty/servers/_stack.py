"""Who called us? Questions to the call stack, asked once per process.

A frame is evidence that an environment variable is not: it belongs to this process, now. Only a frame's
module and function are looked at; ``f_locals`` is read from one frame whose meaning is known.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType


def module_of(frame: FrameType) -> str:
    """The name of the module whose code the frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def here() -> Iterator[FrameType]:
    """The frames that led to this call, innermost first, then those of the main thread where this is another one.

    The main thread's belong to it because an app may be made in a thread of a server that waits in its main thread.
    """
    yield from outwards(sys._getframe(1))
    main = threading.main_thread().ident
    if main is not None and main != threading.get_ident():
        yield from outwards(sys._current_frames().get(main))  # noqa: SLF001 - the only way to another thread's stack


def forker(frame: FrameType | None) -> FrameType | None:
    """The one frame that meant to fork, seen from the frame that called ``os.fork``.

    The caller only: with ``multiprocessing``, a request in a worker forks with its whole server further out on
    the stack. gevent's own wrappers lie in between when the process was patched before it forked.
    """
    return next((frame for frame in outwards(frame) if module_of(frame).partition(".")[0] != "gevent"), None)


def is_importing() -> bool:
    """Whether some module is being imported on this thread, by the very code that asks."""
    return any(module_of(frame) in ("importlib._bootstrap", "_frozen_importlib") for frame in here())


def gunicorn_decides() -> bool:
    """Whether gunicorn runs this process, master or worker, so that no other server's word counts here.

    A metrics server started in its master at import would otherwise pass for the app.
    """
    return any(module_of(frame).startswith("gunicorn.") for frame in here())


def made_here(pid: object) -> bool:
    """Whether ``pid`` is ours."""
    return pid == os.getpid()
