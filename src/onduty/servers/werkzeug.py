"""Werkzeug: ``app.run``, ``flask run`` and ``socketio.run`` in threading mode, with and without the reloader.

The environment can't tell "no reloader" from "the reloader's parent" while the app is imported. Only one of them ever
calls ``serve_forever``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle
from onduty.servers._imports import when_imported
from onduty.servers._serving import heard, orphaned


def watch(life: Lifecycle) -> None:
    """``BaseWSGIServer.serve_forever`` is the evidence; its socket listens already."""
    mind_the_reloader = reloader_minder(life)
    when_imported("werkzeug.serving", lambda module: _wrap(life, module, mind_the_reloader))


def reloader_minder(life: Lifecycle) -> Callable[[], None]:
    """What to call when this process serves: in a reloader's child the parent's death becomes a sign.

    Nobody would reload or end the child any more. The parent is noted now, at declaration: by then it may be gone.
    """
    me, parent = os.getpid(), os.getppid()

    def mind() -> None:
        # The variable is inherited by whatever the child starts or forks, which has another parent, free to end.
        if os.environ.get("WERKZEUG_RUN_MAIN") == "true" and os.getpid() == me:
            life.add_sign(orphaned(parent, "reloader"))

    return mind


def _wrap(life: Lifecycle, module: ModuleType, mind_the_reloader: Callable[[], None]) -> None:
    serve_forever = module.BaseWSGIServer.serve_forever

    @functools.wraps(serve_forever)
    def with_evidence(self: Any, *args: Any, **kwargs: Any) -> None:
        if heard(life, "Werkzeug", "werkzeug.serving.BaseWSGIServer.serve_forever"):
            mind_the_reloader()
        serve_forever(self, *args, **kwargs)

    module.BaseWSGIServer.serve_forever = with_evidence
