"""The handle of one triggered run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from onduty.clock import Clock, Wakeup
from onduty.journal import Outcome, RunRecord


class Run:
    """One run, by ``id``; every attribute asks the journal anew. What the journal no longer has is ``None``."""

    def __init__(
        self, run_id: str, read: Callable[[str], RunRecord | None], cancel: Callable[[str], None], clock: Clock
    ) -> None:
        self.id = run_id
        self._read = read
        self._cancel = cancel
        self._clock = clock

    @property
    def status(self) -> str:
        """*queued*, *running*, or the outcome."""
        record = self._read(self.id)
        if record is None or (record.outcome is None and record.attempt == 0):
            return "queued"
        return record.outcome.value if record.outcome else "running"

    @property
    def outcome(self) -> Outcome | None:
        """``None`` until it has ended."""
        record = self._read(self.id)
        return record.outcome if record else None

    @property
    def result(self) -> Any:
        """What the function returned, if that is plain JSON data of at most 64 KiB."""
        record = self._read(self.id)
        return json.loads(record.result) if record and record.result is not None else None

    @property
    def error(self) -> str | None:
        record = self._read(self.id)
        return record.error if record else None

    @property
    def kwargs(self) -> dict[str, Any]:
        record = self._read(self.id)
        found: dict[str, Any] = json.loads(record.kwargs) if record else {}
        return found

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Return the outcome when it has ended; ``None`` when ``timeout`` seconds were not enough."""
        deadline = None if timeout is None else self._clock.mono() + timeout
        pause = 0.002
        while (outcome := self.outcome) is None:
            if deadline is not None and self._clock.mono() >= deadline:
                return None
            self._clock.wait(Wakeup(), pause)
            pause = min(pause * 1.5, 0.05)
        return outcome

    def cancel(self) -> None:
        """Tell it to end, or take it out of the queue; returns at once."""
        self._cancel(self.id)

    def __repr__(self) -> str:
        return f"<Run {self.id}>"
