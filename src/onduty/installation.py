"""What the duty knows of one app: its settings, its surroundings for a run, and where its engines are kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onduty._runtime.engine import Engine
from onduty.errors import AppError

if TYPE_CHECKING:
    from onduty._runtime.execution import Scope


if TYPE_CHECKING:

    class Installation(Protocol):
        """What a framework's glue tells the duty about one app."""

        @property
        def defaults(self) -> Mapping[str, Any]: ...
        @property
        def config(self) -> Mapping[str, Any]: ...
        @property
        def scope(self) -> Callable[[], Scope] | None: ...
        def is_test(self) -> bool: ...
        def attach(self, engine: Engine, on_request: Callable[[], None]) -> None: ...


def installation_of(app: Any) -> Installation:
    """``app`` by its framework's glue, or as any other WSGI or ASGI app. Raises ``AppError`` for what is no app."""
    if isinstance(app, str) or not (callable(app) or hasattr(app, "wsgi_app")):
        raise AppError(f"OnDuty({app!r}): give the app object itself, a Flask app or any WSGI or ASGI app")
    if "flask" in sys.modules:
        from onduty.frameworks.flask import adopt

        adopted = adopt(app)
        if adopted is not None:
            return adopted
    return _PlainApp()


class _PlainApp:
    """Any other WSGI or ASGI app: there is nothing to ask it, so ``name`` must be said."""

    config: Mapping[str, Any] = {}
    scope = None

    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"dir": Path.cwd() / "instance" / "onduty"}

    def is_test(self) -> bool:
        return False

    def attach(self, engine: Engine, on_request: Callable[[], None]) -> None:
        pass


def engines_of_current_app() -> list[Engine]:
    """Those of the app in whose context the caller is."""
    if "flask" not in sys.modules:
        return []
    from onduty.frameworks import flask

    return flask.engines_of_current_app()
