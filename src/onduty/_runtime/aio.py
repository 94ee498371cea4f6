"""Where ``async def`` runs live: on the server's own loop under ASGI, else on one private loop.

In a gevent-patched worker the private loop is a greenlet like everything else. asyncio remembers the running loop per
OS thread, so while that greenlet waits, all other greenlets of the worker would seem to be inside our loop, and a
request handler that calls ``asyncio.run`` would be refused. The selector therefore takes the mark off while it waits.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from onduty._runtime.threads import is_patched, spawn

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("onduty.run")


class Tasks:
    """What was started on ``loop`` and has not ended: the loop itself keeps only a weak reference to its tasks.

    (docs.python.org, asyncio.create_task.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: set[Any] = set()
        self._when_idle: Callable[[], None] | None = None

    def submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start it, from any thread, and whether or not the loop runs yet; it must bring back its own errors."""
        self.loop.call_soon_threadsafe(self._adopt, coroutine)

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call it on the loop, soon; a loop that has ended does nothing any more."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function, *args)

    def when_idle(self, function: Callable[[], None]) -> None:
        """Call it on the loop as soon as nothing of this runs there any more."""
        self.call(self._wait_for_idle, function)

    def _adopt(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: Any) -> None:
        self._running.discard(task)
        if not self._running and self._when_idle is not None:
            self._when_idle()

    def _wait_for_idle(self, function: Callable[[], None]) -> None:
        self._when_idle = function
        if not self._running:
            function()


class AsyncHost:
    """``server_loop`` answers the loop the server runs the app on, or ``None``."""

    def __init__(self, server_loop: Callable[[], Any]) -> None:
        self._server_loop = server_loop
        self._private: asyncio.AbstractEventLoop | None = None
        self._tasks: Tasks | None = None
        self._over = False

    def submit(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start it on the loop, from another thread; it must bring back its own errors."""
        loop = self._server_loop() or self._private or self._start()
        if self._tasks is None or self._tasks.loop is not loop:
            self._tasks = Tasks(loop)
        self._tasks.submit(coroutine)

    def stop(self) -> None:
        """End the private loop once nothing runs there: what was told to end must get its turn, or would never tell."""
        loop, self._private = self._private, None
        if loop is None:
            return

        def end() -> None:
            self._over = True
            loop.stop()

        tasks = self._tasks if self._tasks is not None and self._tasks.loop is loop else Tasks(loop)
        tasks.when_idle(end)

    def _start(self) -> asyncio.AbstractEventLoop:
        running = threading.Event()
        spawn("asyncio", self._run, running)
        running.wait()
        assert self._private is not None
        return self._private

    def _run(self, running: threading.Event) -> None:
        import asyncio

        self._over = False
        self._private = loop = (
            asyncio.SelectorEventLoop(_polite_selector()) if is_patched() else asyncio.new_event_loop()
        )
        loop.call_soon(running.set)
        while not self._over:
            try:
                loop.run_forever()  # ends also when a run calls loop.stop(); the others go on
            except BaseException:  # noqa: BLE001  # a run's child task that calls sys.exit ends the call, not the loop
                _log.exception("an error left a task of a run")
        loop.close()


def _polite_selector() -> Any:
    import asyncio
    import selectors

    base: Any = selectors.DefaultSelector

    class PoliteSelector(base):  # type: ignore[misc]  # the base is chosen at run time
        def select(self, timeout: float | None = None) -> Any:
            loop = asyncio._get_running_loop()
            asyncio._set_running_loop(None)
            try:
                return super().select(timeout)
            finally:
                asyncio._set_running_loop(loop)

    return PoliteSelector()
