"""Flask: the app context around a run, settings from ``app.config``, the place for our state.

All that belongs to one app lives in ``app.extensions["onduty"]``, a dict of engines by scope name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, has_app_context
from flask.ctx import AppContext
from flask.globals import _cv_app

from onduty.errors import AppError

if TYPE_CHECKING:
    from onduty._runtime.engine import Engine


class FlaskApp:
    """One Flask app as the duty sees it."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self.config: Mapping[str, Any] = app.config
        self.defaults: Mapping[str, Any] = {"dir": Path(app.instance_path) / "onduty", "name": app.name}
        self.scope: Callable[[], AppScope] = lambda: AppScope(app)

    def is_test(self) -> bool:
        return bool(self._app.testing)

    def attach(self, engine: Engine, on_request: Callable[[], None]) -> None:
        engines: dict[str, Engine] = self._app.extensions.setdefault("onduty", {})
        name = engine.settings.name
        if name in engines:
            raise AppError(
                f"the app {self._app.name!r} has an OnDuty named {name!r} already; call init_app once per app, or give "
                "a second duty a name of its own: OnDuty(app, name=...)"
            )
        engines[name] = engine
        self._app.wsgi_app = _Requests(self._app.wsgi_app, on_request)  # type: ignore[method-assign]


class AppScope:
    """The app context of one run, or of one turn of a service."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._context: AppContext | None = None

    def open(self) -> None:
        if self._context is None:
            self._context = self._app.app_context()
            self._context.push()

    def close(self) -> None:
        context = self._context
        # A function that sleeps inside a context of its own keeps that one, and ours under it, until it leaves it.
        if context is not None and _cv_app.get(None) is context:
            self._context = None
            context.pop()


class _Requests:
    """The WSGI app, with a word to the duty about each request: the last evidence of serving there is."""

    def __init__(self, inner: Callable[..., Iterable[bytes]], on_request: Callable[[], None]) -> None:
        self._inner = inner
        self._on_request = on_request

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self._on_request()
        return self._inner(environ, start_response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def adopt(app: Any) -> FlaskApp | None:
    """``app`` as the duty sees it; ``None``: it is not a Flask app."""
    return FlaskApp(app) if isinstance(app, Flask) else None


def engines_of_current_app() -> list[Engine]:
    """Those of the app whose context this is; empty outside any."""
    return list(current_app.extensions.get("onduty", {}).values()) if has_app_context() else []
