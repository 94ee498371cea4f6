"""Runs, their keys and their logs, as one process remembers them; no more of them than it is told to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from onduty.journal import Outcome, RunRecord
from onduty.journal.entries import Claim, Passed
from onduty.process import ProcessId

PRUNE_STEP = 1000


class Row:
    """What a row was made with, which stays, and what has become of it. Made for each run, so it is made cheaply."""

    __slots__ = (
        "attempt",
        "ended_at",
        "entry",
        "error",
        "outcome",
        "process",
        "progress",
        "result",
        "retry_at",
        "started_at",
        "term",
        "text",
    )

    def __init__(self, entry: Claim | Passed, term: int, process: ProcessId) -> None:
        self.entry = entry
        self.term = term
        self.process = process
        self.attempt = 0
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.outcome: Outcome | None = None
        self.result: str | None = None
        self.error: str | None = None
        self.progress = 0.0
        self.text = ""
        self.retry_at: int | None = None
        if isinstance(entry, Passed):
            self.ended_at, self.outcome, self.error = entry.at, entry.outcome, entry.why
        elif entry.begin:
            self.attempt, self.started_at = 1, entry.at

    @property
    def slot(self) -> int | None:
        return self.entry.last if isinstance(self.entry, Passed) else self.entry.slot

    @property
    def key(self) -> str | None:
        return None if isinstance(self.entry, Passed) else self.entry.key

    @property
    def once(self) -> bool:
        return isinstance(self.entry, Claim) and self.entry.once and self.entry.key is not None

    @property
    def is_queued(self) -> bool:
        return self.outcome is None and (self.attempt == 0 or self.retry_at is not None)

    def end(self, outcome: Outcome, at: int) -> None:
        self.outcome, self.ended_at, self.retry_at = outcome, at, None

    def record(self) -> RunRecord:
        entry = self.entry
        return RunRecord(
            run_id=entry.run_id,
            task=entry.task,
            slot=self.slot,
            first_slot=entry.first if isinstance(entry, Passed) else entry.slot,
            slots=entry.count if isinstance(entry, Passed) else 1,
            term=self.term,
            attempt=self.attempt,
            process=self.process,
            created_at=entry.at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            outcome=self.outcome,
            kwargs="{}" if isinstance(entry, Passed) else entry.kwargs,
            result=self.result,
            error=self.error,
            schedule=entry.schedule,
            key=self.key,
            once=self.once,
            progress=self.progress,
            text=self.text,
            retry_at=self.retry_at,
        )


class MemoryRows:
    """``keep``: about how many; those without an outcome always stay.

    ``in_progress``: by (task, key), the run that is queued or running.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._rows: dict[str, Row] = {}
        self._order: deque[str] = deque()
        self.logs: dict[str, str] = {}
        self.in_progress: dict[tuple[str, str], str] = {}
        self.made = 0
        """So many there have been."""

    def get(self, run_id: str) -> Row | None:
        return self._rows.get(run_id)

    def unended(self, run_id: str) -> Row | None:
        row = self._rows.get(run_id)
        return row if row is not None and row.outcome is None else None

    def all_unended(self) -> list[RunRecord]:
        return [row.record() for row in self._rows.values() if row.outcome is None]

    def newest_first(self, task: str | None) -> Iterator[RunRecord]:
        rows = (self._rows[run_id] for run_id in reversed(self._order))
        return (row.record() for row in rows if task in (None, row.entry.task))

    def insert(self, row: Row) -> None:
        run_id = row.entry.run_id
        self.made += 1
        self._rows[run_id] = row
        self._order.append(run_id)
        if row.key is not None:
            self.in_progress[row.entry.task, row.key] = run_id
        if len(self._order) > self._keep:
            self._drop_oldest()

    def end(self, row: Row, outcome: Outcome, at: int) -> None:
        row.end(outcome, at)
        if row.key is not None:
            self.in_progress.pop((row.entry.task, row.key), None)

    def rename(self, old: str, new: str) -> None:
        for row in self._rows.values():
            if row.entry.task == old:
                row.entry = row.entry._replace(task=new)
        for task, key in [place for place in self.in_progress if place[0] == old]:
            self.in_progress[new, key] = self.in_progress.pop((task, key))

    def prune(self, keep_runs: int, before: int) -> int:
        seen: Counter[str] = Counter()
        doomed: list[str] = []
        for run_id in reversed(self._order):
            row = self._rows[run_id]
            task = row.entry.task
            seen[task] += 1
            if row.ended_at is not None and (seen[task] > keep_runs or row.ended_at < before):
                doomed.append(run_id)
        doomed = doomed[-PRUNE_STEP:]  # the oldest
        for run_id in doomed:
            self._forget(run_id)
        self._order = deque(run_id for run_id in self._order if run_id in self._rows)
        return len(doomed)

    def _drop_oldest(self) -> None:
        for place, run_id in enumerate(self._order):  # the first, unless something old still runs
            if self._rows[run_id].outcome is not None:
                del self._order[place]
                self._forget(run_id)
                return

    def _forget(self, run_id: str) -> None:
        del self._rows[run_id]
        self.logs.pop(run_id, None)
