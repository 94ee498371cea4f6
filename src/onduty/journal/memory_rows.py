"""Runs, their keys and their logs, as one process remembers them; no more of them than it is told to."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from onduty.journal import Outcome, RunRecord
from onduty.journal.entries import Claim, Passed
from onduty.process import ProcessId

PRUNE_STEP = 1000


class Row:
    """A row as :class:`RunRecord` has it. Two are made for each slot of a task that is late, so each is one object."""

    __slots__ = (
        "at",
        "attempt",
        "ended_at",
        "error",
        "first",
        "key",
        "kwargs",
        "once",
        "outcome",
        "process",
        "progress",
        "result",
        "retry_at",
        "run_id",
        "schedule",
        "slot",
        "slots",
        "started_at",
        "task",
        "term",
        "text",
    )

    def __init__(self, entry: Claim | Passed, term: int, process: ProcessId) -> None:
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
        self.first: int | None
        self.slot: int | None
        self.key: str | None
        if isinstance(entry, Passed):
            self.run_id, self.task, self.first, self.slot, self.slots, self.outcome, self.at, self.schedule, why = entry
            self.ended_at, self.error = self.at, why
            self.kwargs, self.key, self.once = "{}", None, False
        else:
            self.run_id, self.task, self.slot, self.at, begin, self.kwargs, self.schedule, self.key, once = entry
            self.first, self.slots = self.slot, 1
            self.once = once and self.key is not None
            if begin:
                self.attempt, self.started_at = 1, self.at

    @property
    def is_queued(self) -> bool:
        return self.outcome is None and (self.attempt == 0 or self.retry_at is not None)

    def end(self, outcome: Outcome, at: int) -> None:
        self.outcome, self.ended_at, self.retry_at = outcome, at, None

    def record(self) -> RunRecord:
        return RunRecord(
            run_id=self.run_id,
            task=self.task,
            slot=self.slot,
            first_slot=self.first,
            slots=self.slots,
            term=self.term,
            attempt=self.attempt,
            process=self.process,
            created_at=self.at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            outcome=self.outcome,
            kwargs=self.kwargs,
            result=self.result,
            error=self.error,
            schedule=self.schedule,
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
        return (row.record() for row in rows if task in (None, row.task))

    def insert(self, row: Row) -> None:
        run_id = row.run_id
        self.made += 1
        self._rows[run_id] = row
        self._order.append(run_id)
        if row.key is not None:
            self.in_progress[row.task, row.key] = run_id
        if len(self._order) > self._keep:
            self._drop_oldest()

    def end(self, row: Row, outcome: Outcome, at: int) -> None:
        row.end(outcome, at)
        if row.key is not None:
            self.in_progress.pop((row.task, row.key), None)

    def rename(self, old: str, new: str) -> None:
        for row in self._rows.values():
            if row.task == old:
                row.task = new
        for task, key in [place for place in self.in_progress if place[0] == old]:
            self.in_progress[new, key] = self.in_progress.pop((task, key))

    def prune(self, keep_runs: int, before: int) -> int:
        seen: Counter[str] = Counter()
        doomed: list[str] = []
        for run_id in reversed(self._order):
            row = self._rows[run_id]
            task = row.task
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
