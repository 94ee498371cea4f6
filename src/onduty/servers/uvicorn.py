"""uvicorn's ``Server``, wherever it runs: under gunicorn (``uvicorn_worker``) its shutdown is the only sign of a stop.

There it raises the signal again when it is done, so the process dies without ``worker_exit`` and without ``atexit``.
What must be stopped is stopped inside ``Server.shutdown``.
"""

from __future__ import annotations

import functools
import logging
from types import ModuleType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle, State
from onduty.errors import OnDutyError
from onduty.servers._imports import when_imported
from onduty.servers._serving import serving

_log = logging.getLogger("onduty.servers")
_BOOT_FAILED = 3  # what uvicorn exits with when an app's startup fails; gunicorn does not try again after it


def watch(life: Lifecycle) -> None:
    """Hear ``uvicorn.server.Server`` start and shut down."""
    when_imported("uvicorn.server", lambda module: _wrap(life, module))


def _wrap(life: Lifecycle, module: ModuleType) -> None:
    from onduty.servers._drain import stop_beside

    startup, shutdown = module.Server.startup, module.Server.shutdown

    @functools.wraps(startup)
    async def startup_then_ready(self: Any, *args: Any, **kwargs: Any) -> None:
        await startup(self, *args, **kwargs)
        if self.started and life.state is State.IDLE:
            _ready(life, self)

    @functools.wraps(shutdown)
    async def shutdown_with_us(self: Any, *args: Any, **kwargs: Any) -> None:
        own = functools.partial(shutdown, self, *args, **kwargs)
        if getattr(self, "followed_by_onduty", None) is life:
            await stop_beside(life, "uvicorn shuts down", self, own, lambda: bool(self.force_exit))
        else:
            await own()

    module.Server.startup = startup_then_ready
    module.Server.shutdown = shutdown_with_us


def _ready(life: Lifecycle, server: Any) -> None:
    import asyncio  # loads ssl, so not before gevent may have patched it; here a loop runs already

    loop = asyncio.get_running_loop()
    server.followed_by_onduty = life  # a second Server in this process is somebody else's, and so is its end
    life.loop = lambda: loop
    life.add_sign(lambda: "uvicorn was told to stop" if server.should_exit else None)
    try:
        serving(life, life.server or "uvicorn", "uvicorn.server.Server.startup")
    except OnDutyError as error:
        _log.critical("%s", error)
        raise SystemExit(_BOOT_FAILED) from error
