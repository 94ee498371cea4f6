"""One line to those who use Flask-SocketIO under several workers and have not told their ``OnDuty`` of it.

The bus is never swapped unasked. The worker that goes on duty says it, so that it is said once and not by each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onduty import events as ev


class Reminder:
    """A listener. ``workers``: how many there are, asked when it matters."""

    def __init__(
        self, app: Any, name: str, workers: Callable[[], int | None], emit: Callable[[ev.Event], None]
    ) -> None:
        self._app = app
        self._name = name
        self._workers = workers
        self._emit = emit
        self._said = False

    def __call__(self, event: ev.TermBegan) -> None:
        if self._said or event.app != self._name:
            return
        self._said = True
        from onduty.socketio.checks import forgotten

        text = forgotten(getattr(self._app, "extensions", {}), self._workers())
        if text:
            self._emit(ev.Advice(event.at, event.app, text))
