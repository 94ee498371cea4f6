"""gevent's own servers outside gunicorn: ``socketio.run`` in gevent mode, ``pywsgi.WSGIServer(...).serve_forever()``.

Only servers of a WSGI application count: a debug console is a ``BaseServer`` too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle
from onduty.servers._imports import when_imported
from onduty.servers._serving import heard
from onduty.servers.werkzeug import reloader_minder


def watch(life: Lifecycle) -> None:
    """``BaseServer.start`` is the evidence, once it has opened its socket."""
    mind_the_reloader = reloader_minder(life)  # ``socketio.run`` borrows Werkzeug's
    when_imported("gevent.baseserver", lambda module: _wrap(life, module, mind_the_reloader))


def _wrap(life: Lifecycle, module: ModuleType, mind_the_reloader: Callable[[], None]) -> None:
    start = module.BaseServer.start

    @functools.wraps(start)
    def start_then_ready(self: Any) -> None:
        start(self)
        serves_wsgi = getattr(self, "application", None) is not None
        if serves_wsgi and heard(life, "gevent", "gevent.baseserver.BaseServer.start"):
            mind_the_reloader()

    module.BaseServer.start = start_then_ready
