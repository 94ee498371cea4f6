"""waitress: ``serve()`` and ``waitress-serve``, with one listening socket or several."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from onduty._runtime.lifecycle import Lifecycle
from onduty.servers._imports import when_imported
from onduty.servers._serving import heard


def watch(life: Lifecycle) -> None:
    """``run`` is the evidence; its sockets listen already."""
    when_imported("waitress.server", lambda module: _wrap_all(life, module))


def _wrap_all(life: Lifecycle, module: ModuleType) -> None:
    _wrap(life, module.BaseWSGIServer)
    _wrap(life, module.MultiSocketServer)


def _wrap(life: Lifecycle, kind: Any) -> None:
    run = kind.run

    @functools.wraps(run)
    def with_evidence(self: Any) -> None:
        heard(life, "waitress", f"waitress.server.{kind.__name__}.run")
        run(self)

    kind.run = with_evidence
