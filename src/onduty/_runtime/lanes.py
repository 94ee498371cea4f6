"""What is in progress, task by task, and whether one more may start: the bookkeeping of the scheduler."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from onduty._runtime.execution import Execution
from onduty.errors import OnDutyError
from onduty.journal import Mark, Outcome
from onduty.options import Overlap
from onduty.schedules import Schedule
from onduty.tasks import Declared

if TYPE_CHECKING:
    from onduty._runtime.execution import StateBox

TAKEN_AHEAD = 20
"""So many runs that are asked for are taken before there is a place for them. What waits here is in memory, and what
the next leader has to read before it begins."""

ALL = 1_000_000
"""More than anybody takes at once."""

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

    *queue*: it waits its turn. *skip*: a row says so. *cancel*: those in progress are told to end, those that wait give
    way, and it waits for that. A slot waits at most one at a time; triggered runs all wait, in order, and so do several
    slots that are caught up on at once, since each of them is to be run.
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


def lane_name(task: str, key: str) -> str:
    """Of a task's own lane, or of that of its dynamic schedule ``key``. No task's name holds that character."""
    return f"{task}\x1f{key}" if key else task


class Lane:
    """One task or service in this term, or one dynamic schedule of a task (``key``), whose runs get ``kwargs``.

    ``running``: by run id, also those that wait for a retry. ``waiting``: claimed but not begun, in order.
    ``foreign``: run ids of other processes that outlived their leader and still count as running; ``unwanted``: those
    that were cancelled, and are not tried again.
    ``paused``: nothing becomes due here, and a service does not run. ``mark``: how far it had come when it was put on,
    or taken off, the agenda. ``since``: when a dynamic schedule was asked for. ``once_key``: it is to succeed once
    under that name.
    """

    def __init__(
        self, declared: Declared, box: StateBox, schedule: Schedule | None = None, key: str = "", kwargs: str = "{}"
    ) -> None:
        self.declared = declared
        self.name = lane_name(declared.name, key)
        self.key = key
        self.kwargs = kwargs
        self.box = box
        self.schedule = schedule
        self.paused = False
        self.mark: Mark | None = None
        self.since: int | None = None
        self.once_key: str | None = None
        self.running: dict[str, Execution] = {}
        self.waiting: deque[Execution] = deque()
        self.foreign: set[str] = set()
        self.unwanted: set[str] = set()
        self.runs = 0
        self.failures = 0
        self.in_a_row = 0
        self.last_outcome: Outcome | None = None

    @property
    def task(self) -> str:
        return self.declared.name

    @property
    def in_progress(self) -> int:
        return len(self.running) + len(self.foreign)

    def admit(self, *, triggered: bool, catching_up: bool = False) -> Admission:
        options = self.declared.chosen
        return admit(
            options.overlap,
            in_progress=self.in_progress,
            waiting=len(self.waiting),
            concurrency=options.concurrency,
            triggered=triggered,
            catching_up=catching_up,
        )

    @property
    def room(self) -> int:
        """How many runs that are asked for can be taken now; the others stay asked for.

        Some wait here before there is a place for them: no slot comes before them, and to take each by itself would
        cost more. Where the newest replaces all others, it has to come here first.
        """
        options = self.declared.chosen
        if options.overlap == "cancel":
            return ALL
        return 0 if self.waiting else max(options.concurrency - self.in_progress, 0) + TAKEN_AHEAD

    @property
    def room_when_idle(self) -> int:
        """The same, when all that is in progress has ended."""
        options = self.declared.chosen
        return ALL if options.overlap == "cancel" else options.concurrency + TAKEN_AHEAD

    def count(self, outcome: Outcome, *, failed: bool) -> None:
        self.runs += 1
        self.failures += failed
        self.in_a_row = self.in_a_row + 1 if failed else 0
        self.last_outcome = outcome

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
            "paused": self.paused,
            "lingering_elsewhere": len(self.foreign),
            "runs": self.runs,
            "failures": self.failures,
            "last_outcome": self.last_outcome and self.last_outcome.value,
        }


class JournalState:
    """A task's state, read once per term and written through: only this term may write it.

    Several runs of one task may change it at once, each a key of its own, and none of them is lost.
    """

    def __init__(self, read: Callable[[], str], write: Callable[[str], None]) -> None:
        self._read = read
        self._write = write
        self._text: str | None = None
        self._turn = threading.Lock()

    def load(self) -> str:
        if self._text is None:
            self._text = self._read()
        return self._text

    def change(self, change: Callable[[str], str]) -> None:
        with self._turn:
            state = change(self.load())
            self._write(state)
            self._text = state


class NoState:
    """For tasks that run in every worker: there is no one state that all of them could write."""

    def load(self) -> str:
        raise OnDutyError('a task with on="every_worker" has no ctx.state: which of the workers would it belong to?')

    def change(self, change: Callable[[str], str]) -> None:
        self.load()
