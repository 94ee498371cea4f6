"""Stop beside an asyncio server that is winding down, while its loop still turns.

``async def`` runs live on the server's loop, so waiting for them must not block it, and must be over before the
app's lifespan closes what they use.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

from onduty._runtime.lifecycle import Lifecycle

_A_MOMENT = 1.0
"""Seconds: a WebSocket that has been accepted takes a round trip or two until it may be closed."""
_STEP = 0.01


async def stop_beside(
    life: Lifecycle, why: str, server: Any, shutdown: Callable[[], Awaitable[None]], in_haste: Callable[[], bool]
) -> None:
    """Await the server's own ``shutdown()`` and our stop, both begun now.

    It begins a moment later where connections are midway, since uvicorn closes all WebSockets at once; so it ends.

    ``server.lifespan`` is the server's lifespan, ``None`` where the app has none: its shutdown comes after our stop.
    ``in_haste()``: whether the server was told not to wait, for instance by a second Ctrl-C; then we don't either.
    """
    import asyncio  # loads ssl, so not before gevent may have patched it; here a loop runs already

    stopping = threading.Thread(target=life.stop, args=(why,), name="onduty-stop", daemon=True)
    stopping.start()

    async def stopped() -> None:
        while stopping.is_alive() and not in_haste():  # noqa: ASYNC110 - haste is an attribute, and sets no event
            await asyncio.sleep(_STEP)

    async def none_is_midway() -> None:
        steps = round(_A_MOMENT / _STEP)
        while steps and life.is_midway() and not in_haste():
            await asyncio.sleep(_STEP)
            steps -= 1

    lifespan = getattr(server, "lifespan", None)
    if lifespan is not None:
        close_lifespan = lifespan.shutdown

        async def close_lifespan_last() -> None:
            await stopped()
            await close_lifespan()

        lifespan.shutdown = close_lifespan_last
    await none_is_midway()
    await shutdown()
    await stopped()
    # The server has waited for its own connections, and not for those that other workers relay to this one.
    await none_is_midway()
