"""Event loops for ``async def`` runs that are performed here and now, wherever "here" is."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class Loops:
    """Where ``async def`` runs live: on one loop, and on another one where that one is occupied further down the stack.

    Made when first needed. :meth:`close` cancels what still runs there.
    """

    def __init__(self) -> None:
        self._free: list[asyncio.AbstractEventLoop] = []

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it to its end, with no variables of the caller's context."""
        import asyncio

        loop = self._free.pop() if self._free else asyncio.new_event_loop()
        try:
            with outside_any_loop():
                contextvars.Context().run(loop.run_until_complete, coroutine)
        finally:
            self._free.append(loop)

    def close(self) -> None:
        while self._free:
            loop = self._free.pop()
            with outside_any_loop():
                loop.run_until_complete(_cancel_all())
                loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


async def _cancel_all() -> None:
    import asyncio

    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextlib.contextmanager
def outside_any_loop() -> Iterator[None]:
    """asyncio remembers the running loop per thread, and refuses a second one: here it is made to look away.

    For an ``async def`` test that runs what is due, and for a run on top of one that sleeps on a loop.
    """
    if "asyncio" not in sys.modules:
        yield
        return
    import asyncio

    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)
