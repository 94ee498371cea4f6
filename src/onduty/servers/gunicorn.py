"""gunicorn: each worker class, with and without ``--preload``, through HUP and every kind of end.

A worker knows itself by a frame: that of ``gunicorn.arbiter:spawn_worker``, whose local ``worker`` is the worker, or
one of the worker's own methods.

* imported in the worker: the frame is on the stack, and ``worker.pid`` is ours;
* imported in the master (``--preload``, or by ``gunicorn.conf.py``): nothing is known at import. The forked child looks
  at the frame that called ``os.fork()``. Hooks set on the master's ``cfg`` would be lost at the first HUP, which makes
  a new ``cfg`` and imports nothing; the child's own copy of ``cfg`` is always the right one.

From there on gunicorn's hooks tell the rest, chained in front of or behind the user's own. The master is never ready.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FrameType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle
from onduty.servers import _stack
from onduty.servers._serving import orphaned, serving


def recognise(life: Lifecycle) -> bool:
    """Look at the stack: in a worker, hook it; in a worker's own child, never; in the master or elsewhere, nothing.

    Answers whether all is known by that.
    """
    worker = next((found for frame in _stack.here() if (found := _at_work_in(frame)) is not None), None)
    if worker is None or not isinstance(worker.pid, int):
        return False  # not a worker, or a hook of the master's that runs before the fork
    if not _stack.made_here(worker.pid):
        life.never("a child of a gunicorn worker")
        return True
    adopt(life, worker)
    return not _is_uvicorn(worker)


def after_fork(life: Lifecycle, frame: FrameType) -> bool:
    """In a forked child: whether ``frame``, which forked, made it a worker; then it is hooked. Starts nothing."""
    worker = _spawned_in(frame)
    if worker is None:
        return False
    adopt(life, worker)
    return True


def adopt(life: Lifecycle, worker: Any) -> None:
    """This process is ``worker``: follow it from ready to gone."""
    from onduty.servers._succession import expected_from

    cfg = worker.cfg
    life.server = f"gunicorn {str(cfg.worker_class_str).rpartition('.')[2]}"
    life.workers = cfg.workers
    life.http2 = "h2" in getattr(cfg, "http_protocols", ())  # since 25
    # A worker that does not report for ``timeout`` seconds is killed too, and a stopping one does not report.
    life.grace_limit = float(min(cfg.graceful_timeout, cfg.timeout or cfg.graceful_timeout))
    life.loop = lambda: getattr(worker, "loop", None)
    # Turns false in gunicorn's own signal handlers: the earliest graceful sign, and ours touches no handler.
    life.add_sign(lambda: None if worker.alive else "gunicorn told this worker to stop")
    life.add_sign(orphaned(worker.ppid, "gunicorn master"))
    life.successors = expected_from(worker.ppid, [one.fileno() for one in worker.sockets])

    if worker.booted:
        # Declared late, by a request: the hook is past.
        serving(life, life.server, "a request in a gunicorn worker")
    elif not _is_uvicorn(worker):
        _after(cfg, "post_worker_init", lambda: serving(life, life.server, "gunicorn post_worker_init"))
    _before(cfg, "worker_int", lambda: _leave_in_haste(life, "gunicorn worker_int"))
    _before(cfg, "worker_abort", lambda: _leave_in_haste(life, "gunicorn worker_abort"))
    _before(cfg, "worker_exit", lambda: life.stop("gunicorn worker_exit"))
    _stop_before_the_loop_closes(life, worker)


def _leave_in_haste(life: Lifecycle, why: str) -> None:
    life.successors = lambda: False  # the master kills this worker soon, whoever comes after it
    life.leaving(why)


def _spawned_in(frame: FrameType) -> Any:
    if frame.f_code.co_name == "spawn_worker" and _stack.module_of(frame) == "gunicorn.arbiter":
        return frame.f_locals.get("worker")
    return None


def _at_work_in(frame: FrameType) -> Any:
    """The worker spawned by this frame, or handling a request in it: a greenlet's stack goes no further out."""
    if _stack.module_of(frame).startswith("gunicorn.workers."):
        worker = frame.f_locals.get("self")
        if hasattr(worker, "cfg") and hasattr(worker, "booted"):
            return worker
    return _spawned_in(frame)


def _is_uvicorn(worker: Any) -> bool:
    """Its loop does not exist at ``post_worker_init``; ``servers.uvicorn`` hears it start, and stop."""
    return any(kind.__module__.partition(".")[0] in ("uvicorn", "uvicorn_worker") for kind in type(worker).__mro__)


def _after(cfg: Any, hook: str, ours: Callable[[], None]) -> None:
    """Do ``ours`` after the user's own hook, unless that raises."""
    theirs = getattr(cfg, hook)

    @functools.wraps(theirs)  # gunicorn counts the parameters
    def both(*args: Any) -> None:
        theirs(*args)
        ours()

    cfg.set(hook, both)


def _before(cfg: Any, hook: str, ours: Callable[[], None]) -> None:
    """Do ``ours`` before the user's own hook, which runs even when ours raises."""
    theirs = getattr(cfg, hook)

    @functools.wraps(theirs)  # gunicorn counts the parameters
    def both(*args: Any) -> None:
        try:
            ours()
        finally:
            theirs(*args)

    cfg.set(hook, both)


def _stop_before_the_loop_closes(life: Lifecycle, worker: Any) -> None:
    """gunicorn's asgi worker cancels what runs on its loop before ``worker_exit``; so stop while it drains."""
    shutdown = getattr(worker, "_shutdown", None)
    if shutdown is None or not hasattr(worker, "lifespan"):
        return
    from onduty.servers._drain import stop_beside

    async def shutdown_with_us() -> None:
        why = "gunicorn's asgi worker shuts down"
        await stop_beside(life, why, worker, shutdown, lambda: bool(getattr(worker, "_quick_shutdown", False)))

    worker._shutdown = shutdown_with_us  # noqa: SLF001 - no hook runs while that loop still turns
