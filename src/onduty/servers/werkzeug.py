"""Werkzeug: ``app.run``, ``flask run`` and ``socketio.run`` in threading mode, with and without the reloader.

The environment can't tell "no reloader" from "the reloader's parent" while the app is imported. Only one of them ever
calls ``serve_forever``.
"""

from __future__ import annotations

import functools
import os
from types import ModuleType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle
from onduty.servers._imports import when_imported
from onduty.servers._serving import heard, orphaned


def watch(life: Lifecycle) -> None:
    """``BaseWSGIServer.serve_forever`` is the evidence; its socket listens already."""
    when_imported("werkzeug.serving", lambda module: _wrap(life, module))


def mind_the_reloader(life: Lifecycle) -> None:
    """In a reloader's child the parent's death is a sign: nobody would reload or end the child any more."""
    if os.environ.get("WERKZEUG_RUN_MAIN") == "true":
        life.add_sign(orphaned(os.getppid(), "reloader"))


def _wrap(life: Lifecycle, module: ModuleType) -> None:
    serve_forever = module.BaseWSGIServer.serve_forever

    @functools.wraps(serve_forever)
    def with_evidence(self: Any, *args: Any, **kwargs: Any) -> None:
        if heard(life, "Werkzeug", "werkzeug.serving.BaseWSGIServer.serve_forever"):
            mind_the_reloader(life)
        serve_forever(self, *args, **kwargs)

    module.BaseWSGIServer.serve_forever = with_evidence
