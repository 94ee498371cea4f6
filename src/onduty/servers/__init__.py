"""Who am I, when am I ready, when do I leave: the one room that knows web servers.

Nothing is inferred from the environment. A process is *ready* on positive evidence that it serves, given by code that
runs in it: a hook of its server, or the call that begins to serve. Reloader parents, gunicorn's master, commands and
shells never get there, without having to be told apart. *Never* is for those that run the app's code for
others: job and test runners, children of a worker.

One file per server. ``recognise`` asks each of them to look, or to listen for later.

Their places are kept for uWSGI (``post_fork_hook``, ``mule_id``), uvicorn alone (its ``Server`` is followed already;
its ``--workers`` and ``--reload`` are untried), granian, hypercorn (their lifespan, or their frames at import) and
mod_wsgi (``process_group``): a file each beside these, and a word in ``_listen_for_the_others``.
"""

from __future__ import annotations

import itertools
import os
from types import FrameType
from weakref import WeakKeyDictionary

from onduty._runtime.lifecycle import Lifecycle, State
from onduty.errors import OnDutyError
from onduty.servers import _stack, gunicorn, never
from onduty.servers._serving import serving

__all__ = ["after_fork", "by_hand", "first_request", "recognise"]

_recognised_in: WeakKeyDictionary[Lifecycle, int] = WeakKeyDictionary()
_requests: WeakKeyDictionary[Lifecycle, itertools.count[int]] = WeakKeyDictionary()


def recognise(life: Lifecycle) -> None:
    """Called where an ``OnDuty`` is declared: find out what this process is, or arrange to hear of it.

    Cheap, and calling again is harmless: no thread, no descriptor, no lock, no import of a server.
    """
    before = _recognised_in.get(life)
    if before == os.getpid() or life.state is not State.IDLE:
        return
    _recognised_in[life] = os.getpid()
    why = never.reason()
    if why is not None:
        life.never(why)
        return
    if not gunicorn.recognise(life) and before is None:  # a forked child inherits what listens already
        _listen_for_the_others(life)


def by_hand(life: Lifecycle) -> None:
    """Somebody says that this process serves; its end is heard as that of any other.

    Raises:
        OnDutyError: It has ended its work, and nobody would know of a second life.
    """
    if life.state is State.LEAVING:
        raise OnDutyError(f"start(): this process has ended its work ({life.why}); begin it in a new process")
    serving(life, "", "start() was called")


def _listen_for_the_others(life: Lifecycle) -> None:
    from onduty.servers import gevent, uvicorn, waitress, werkzeug, wsgiref  # here: most workers are gunicorn's

    for server in (werkzeug, gevent, waitress, uvicorn, wsgiref):
        server.watch(life)


def after_fork(life: Lifecycle, frame: FrameType | None) -> None:
    """Called in a forked child after ``life.forked()``, with the frame that called ``os.fork``; starts nothing.

    The child may be about to exec, and under gevent it may not be patched yet.
    """
    _requests.pop(life, None)
    caller = _stack.forker(frame)
    if caller is not None and life.state is State.IDLE and gunicorn.after_fork(life, caller):
        _recognised_in[life] = os.getpid()


def first_request(life: Lifecycle) -> None:
    """The last resort, for servers unknown here that fork: a request, and a listening socket to have got it from.

    Call it on requests while ``life`` is idle. It looks at the first, second, fourth, eighth ... of them, because a
    test client may come first, and looking costs a system call per descriptor.
    """
    if life.state is not State.IDLE:
        return
    number = next(_requests.setdefault(life, itertools.count(1)))
    if number & (number - 1) or _stack.is_importing() or _stack.gunicorn_decides():
        return
    from onduty.servers._listening import owns_a_listener

    if owns_a_listener():
        serving(life, "an unknown server", "a request, in a process with a listening socket")
