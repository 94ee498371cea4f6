"""The standard library's ``wsgiref`` server, in the main thread only.

In another thread it is a side show: a metrics endpoint, the answer page of a log-in.
"""

from __future__ import annotations

import functools
import threading
from types import ModuleType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle
from onduty.servers._imports import when_imported
from onduty.servers._serving import heard


def watch(life: Lifecycle) -> None:
    """``WSGIServer.serve_forever`` is the evidence; its socket listens already."""
    when_imported("wsgiref.simple_server", lambda module: _wrap(life, module))


def _wrap(life: Lifecycle, module: ModuleType) -> None:
    serve_forever = module.WSGIServer.serve_forever

    @functools.wraps(serve_forever)
    def with_evidence(self: Any, *args: Any, **kwargs: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            heard(life, "wsgiref", "wsgiref.simple_server.WSGIServer.serve_forever")
        serve_forever(self, *args, **kwargs)

    # On this class, not on the parent it inherits the method from: every socketserver would call.
    module.WSGIServer.serve_forever = with_evidence
