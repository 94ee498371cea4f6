"""One line to those who use Flask-SocketIO under several workers and have told no ``OnDuty`` of it.

The bus is never swapped unasked. The worker that goes on duty says it, so that it is said once and not by each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onduty import events as ev

given: list[Any] = []
"""What any duty of this process has been told of."""


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
        text = forgotten(getattr(self._app, "extensions", {}), self._workers())
        if text:
            self._emit(ev.Advice(event.at, event.app, text))


def forgotten(extensions: Mapping[str, Any], workers: int | None) -> str | None:
    """What to say where Flask-SocketIO is used with several workers and no duty knows of it."""
    socketio = extensions.get("socketio")
    if socketio is None or workers is None or workers < 2:
        return None
    if any(one is socketio or one is getattr(socketio, "server", None) for one in given):
        return None
    options = getattr(socketio, "server_options", {})
    if options.get("client_manager") or options.get("message_queue"):
        return None  # they have seen to it
    return (
        f"Flask-SocketIO under {workers} workers: clients do not stay connected, and an emit reaches those of one "
        "worker only. Say OnDuty(app, socketio=socketio), and both are seen to"
    )
