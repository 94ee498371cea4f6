"""The handle of one triggered run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from onduty.clock import SECOND, Clock, Wakeup, to_datetime
from onduty.errors import ArgumentError, OnDutyError
from onduty.journal import Outcome, Request, RunRecord

LONGEST_WAIT = 1e9
"""Seconds, some 30 years."""


class LogLine(NamedTuple):
    """One line that a run has logged; ``at`` in UTC."""

    at: datetime
    level: str
    text: str


class Run:
    """One run, by ``id``; every attribute asks the journal anew. What the journal no longer has is ``None``.

    ``in_time``: waiting moves a test's clock, and holds up nobody.
    """

    def __init__(
        self,
        run_id: str,
        read: Callable[[str], RunRecord | None],
        read_log: Callable[[str], str],
        cancel: Callable[[str], None],
        clock: Clock,
        asked: Callable[[str], Request | None],
        *,
        in_time: bool = False,
    ) -> None:
        self.id = run_id
        self._read = read
        self._read_log = read_log
        self._cancel = cancel
        self._clock = clock
        self._asked = asked
        self._in_time = in_time

    @property
    def task(self) -> str | None:
        """The name of its task."""
        known = self._known()
        return known.task if known else None

    @property
    def slot(self) -> datetime | None:
        """The instant it was due, in UTC; ``None`` for services and triggered runs."""
        record = self._read(self.id)
        return to_datetime(record.slot) if record and record.slot is not None else None

    @property
    def status(self) -> str:
        """*queued*, *running*, or the outcome; *unknown*: the journal has forgotten it, or was deleted."""
        record = self._known()
        if record is None:
            return "unknown"
        if isinstance(record, Request):
            return "queued"
        if record.outcome is not None:
            return record.outcome.value
        return "queued" if record.attempt == 0 or record.retry_at is not None else "running"

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
    def progress(self) -> float:
        """What ``ctx.progress`` said last, from 0 to 1."""
        record = self._read(self.id)
        return record.progress if record and record.progress is not None else 0.0

    @property
    def text(self) -> str:
        """The words that went with it."""
        record = self._read(self.id)
        return (record.text or "") if record else ""

    @property
    def log(self) -> list[LogLine]:
        """What it has said through loggers, its newest 64 KiB."""
        lines = json.loads(self._read_log(self.id))
        return [LogLine(to_datetime(round(at * SECOND)), level, text) for at, level, text in lines]

    @property
    def error(self) -> str | None:
        record = self._read(self.id)
        return record.error if record else None

    @property
    def kwargs(self) -> dict[str, Any]:
        known = self._known()
        found: dict[str, Any] = json.loads(known.kwargs) if known else {}
        return found

    def wait(self, timeout: float | timedelta | None = None) -> Outcome | None:
        """Return the outcome when it has ended, however long that takes, if there is no ``timeout``.

        ``None``: so many seconds were not enough, or the run is *unknown*.

        Raises:
            OnDutyError: Called on an event loop, which could do nothing else meanwhile.
        """
        if isinstance(timeout, timedelta):
            timeout = timeout.total_seconds()
        if timeout is not None and (not isinstance(timeout, (int, float)) or timeout != timeout):  # noqa: PLR0124  # nan
            raise ArgumentError(f"wait(timeout={timeout!r}): give seconds or a timedelta")
        if not self._in_time and _is_on_a_loop():
            raise OnDutyError("wait() would block the event loop: await asyncio.to_thread(run.wait, timeout)")
        deadline = None if timeout is None else self._clock.mono() + min(timeout, LONGEST_WAIT)
        pause = 0.002
        while (outcome := self.outcome) is None:
            if (deadline is not None and self._clock.mono() >= deadline) or self.status == "unknown":
                return None
            self._clock.wait(Wakeup(), pause)
            pause = min(pause * 1.5, 0.05)
        return outcome

    def cancel(self) -> None:
        """Tell it to end, or take it out of the queue, from any process; returns at once."""
        self._cancel(self.id)

    def _known(self) -> RunRecord | Request | None:
        """Its row, or what is asked for while it has none."""
        # Once more, for it may become a run just now.
        return self._read(self.id) or self._asked(self.id) or self._read(self.id)

    def __repr__(self) -> str:
        return f"<Run {self.id}>"


def _is_on_a_loop() -> bool:
    asyncio = sys.modules.get("asyncio")  # without it there is none
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
