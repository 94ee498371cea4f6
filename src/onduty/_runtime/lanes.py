"""What is in progress, task by task, and whether one more may start: the bookkeeping of the scheduler."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from onduty._runtime.execution import Execution, StateBox
from onduty.errors import OnDutyError
from onduty.journal import Outcome
from onduty.schedules import Schedule
from onduty.tasks import Declared, Overlap

Admission = Literal["start", "queue", "skip", "cancel"]


def admit(
    overlap: Overlap | None,
    *,
    in_progress: int,
    waiting: int,
    concurrency: int,
    triggered: bool,
    catching_up: bool = False,
) -> Admission:
    """What becomes of one more run. Pure.

    *queue*: it waits its turn. *skip*: a row says so. *cancel*: those in progress are told to end, and it waits for
    that.
    A slot waits at most one at a time; triggered runs all wait, in order, and none is dropped; so do several slots
    that are caught up on at once, since each of them is to be run.
    """
    if in_progress < concurrency and not waiting:
        return "start"
    if catching_up:
        return "queue"
    if overlap == "cancel":
        return "cancel"
    if triggered:
        return "queue"
    return "queue" if overlap == "queue" and waiting < 1 else "skip"


class Lane:
    """One task or service in this term.

    ``running``: by run id, also those that wait for a retry. ``waiting``: claimed but not begun, in order.
    ``foreign``: run ids of other processes that outlived their leader and still count as running.
    """

    def __init__(self, declared: Declared, box: StateBox, schedule: Schedule | None = None) -> None:
        self.declared = declared
        self.box = box
        self.schedule = schedule
        self.running: dict[str, Execution] = {}
        self.waiting: deque[Execution] = deque()
        self.foreign: set[str] = set()
        self.runs = 0
        self.failures = 0
        self.in_a_row = 0
        self.last_outcome: str | None = None

    @property
    def in_progress(self) -> int:
        return len(self.running) + len(self.foreign)

    def admit(self, *, triggered: bool, catching_up: bool = False) -> Admission:
        options = self.declared.options
        return admit(
            options.overlap,
            in_progress=self.in_progress,
            waiting=len(self.waiting),
            concurrency=options.concurrency,
            triggered=triggered,
            catching_up=catching_up,
        )

    def count(self, outcome: Outcome, *, failed: bool) -> None:
        self.runs += 1
        self.failures += failed
        self.in_a_row = self.in_a_row + 1 if failed else 0
        self.last_outcome = outcome.value

    def snapshot(self, mono: float) -> dict[str, Any]:
        return {
            "running": [
                {
                    "run_id": run.run_id,
                    "attempt": run.attempt,
                    "seconds": round(mono - run.started_mono, 3),
                    "progress": run.progress,
                    "text": run.text,
                    "stopping": run.why,
                }
                for run in list(self.running.values())
            ],
            "waiting": len(self.waiting),
            "lingering_elsewhere": len(self.foreign),
            "runs": self.runs,
            "failures": self.failures,
            "last_outcome": self.last_outcome,
        }


class JournalState:
    """A task's state, read once per term and written through: only this term may write it."""

    def __init__(self, read: Callable[[], str], write: Callable[[str], None]) -> None:
        self._read = read
        self._write = write
        self._text: str | None = None

    def load(self) -> str:
        if self._text is None:
            self._text = self._read()
        return self._text

    def save(self, state: str) -> None:
        self._write(state)
        self._text = state


class NoState:
    """For tasks that run in every worker: there is no one state that all of them could write."""

    def load(self) -> str:
        raise OnDutyError('a task with on="every_worker" has no ctx.state: which of the workers would it belong to?')

    def save(self, state: str) -> None:
        self.load()
