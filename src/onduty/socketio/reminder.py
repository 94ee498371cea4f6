"""One line to those who use Flask-SocketIO under several workers and have told no ``OnDuty`` of it.

The bus is never swapped unasked. The worker that goes on duty says it, so that it is said once and not by each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onduty import events as ev
from onduty._runtime.lifecycle import Lifecycle


class Reminder:
    """A listener. Of ``life`` it asks how many workers there are, and what other duties know."""

    def __init__(self, app: Any, name: str, life: Lifecycle, emit: Callable[[ev.Event], None]) -> None:
        self._app = app
        self._name = name
        self._life = life
        self._emit = emit
        self._said = False

    def __call__(self, event: ev.TermBegan) -> None:
        if self._said or event.app != self._name:
            return
        self._said = True
        known = [one.socketio for one in self._life.crew if hasattr(one, "socketio")]
        text = forgotten(getattr(self._app, "extensions", {}), self._life.workers, known)
        if text:
            self._emit(ev.Advice(event.at, event.app, text))


def forgotten(extensions: Mapping[str, Any], workers: int | None, known: Sequence[Any]) -> str | None:
    """What to say where Flask-SocketIO is used with several workers and is not among those that are ``known``."""
    socketio = extensions.get("socketio")
    if socketio is None or workers is None or workers < 2:
        return None
    if any(one is socketio or one is getattr(socketio, "server", None) for one in known):
        return None
    options = getattr(socketio, "server_options", {})
    if options.get("client_manager") or options.get("message_queue"):
        return None  # they have seen to it
    return (
        f"Flask-SocketIO under {workers} workers: clients do not stay connected, and an emit reaches those of one "
        "worker only. Say OnDuty(app, socketio=socketio), and both are seen to"
    )
