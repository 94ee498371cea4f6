"""The port to the durable record of slots, runs, state, requests and terms.

A journal is the second defence for "once": whoever leads, a run starts only after :class:`Claim` was accepted, and it
is accepted once per (task, schedule, slot) for ever, and only for a slot later than the schedule's mark. Every entry
carries the term of its writer, and the journal refuses a term that is not its newest.

What people ask for (a trigger, a pause, a dynamic schedule) carries no term: any process may write it, in a short
transaction of its own, and the leader finds it there.

Not promised: that the *effect* of a run happens once. A machine can die between the effect and the row.
"""

# Annotations are evaluated here, for the reason given in ``entries``.
from collections.abc import Collection, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from onduty.process import ProcessId

if TYPE_CHECKING:
    from onduty.journal.entries import Entry

REQUEST_SECONDS = 1.0
"""How long a request may wait to be written before it is :class:`onduty.errors.JournalBusy`."""


class Outcome(str, Enum):
    """How a run, or a slot that never became one, ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"  # another run of the task was in progress, or the task was paused
    MISSED = "missed"  # nobody was on duty, or the leader was late
    STOPPED = "stopped"  # it ended because its worker was leaving
    LOST = "lost"  # its process died while it ran, or nobody can know any more whether it ran

    def __str__(self) -> str:
        return self.value


class RunRecord(NamedTuple):
    """One row: a run, or a range of slots that never became one.

    ``slot`` is the (last) slot, ``first_slot`` and ``slots`` differ from it and 1 only for a range.
    Without an ``outcome`` it is *queued* if ``attempt`` is 0 or ``retry_at`` is set (the next attempt waits until
    then), else *running*. ``error`` is that of the last attempt that had one. Its log is read by :meth:`Journal.log`.
    """

    run_id: str
    task: str
    slot: int | None
    first_slot: int | None
    slots: int
    term: int
    attempt: int
    process: ProcessId
    created_at: int
    started_at: int | None
    ended_at: int | None
    outcome: Outcome | None
    kwargs: str
    result: str | None
    error: str | None
    schedule: str = ""
    key: str | None = None
    once: bool = False
    progress: float = 0.0
    text: str = ""
    retry_at: int | None = None


class Newest(NamedTuple):
    """How far a journal has come; 0: there is none yet."""

    term: int
    row: int


class Mark(NamedTuple):
    """How far a schedule has come: its last slot, and the plan it then had, if that is known.

    A dynamic schedule that was dropped has the plan ``""``, which is no schedule's. ``furthest``: the mark that it had
    before the clock was set back, if it ever was.
    """

    slot: int | None
    plan: str | None
    furthest: int | None = None


Kind = Literal["trigger", "cancel"]
KINDS: tuple[Kind, ...] = ("trigger", "cancel")


class Request(NamedTuple):
    """What somebody wants of the leader. ``kind`` is ``"trigger"`` or ``"cancel"``, ``target`` the run to be cancelled.

    The ``id`` of a trigger becomes its run's.
    """

    id: str
    kind: str
    task: str
    at: int
    kwargs: str = "{}"
    key: str | None = None
    target: str | None = None


class Dynamic(NamedTuple):
    """A schedule of a task made while the app runs, named by (``task``, ``key``); ``spec`` and ``kwargs`` are JSON."""

    task: str
    key: str
    spec: str
    kwargs: str
    at: int


class Opening(NamedTuple):
    """What a term begins with. ``revision`` is that of ``paused`` and ``schedules``."""

    marks: dict[tuple[str, str], Mark]
    revision: int
    paused: dict[tuple[str, str], int]
    schedules: list[Dynamic]
    asked_of: set[tuple[str, str]]
    unfinished: list[RunRecord]


class Journal(Protocol):
    """Where a term is allocated and every claim is decided.

    All methods may be called from any thread after :meth:`open`, and raise ``StoreUnavailable`` when the question
    could not be asked or answered; nothing is half-written then. ``JournalDamaged``, a kind of it, says that it never
    will be, until :meth:`set_aside`.
    """

    def open(self, me: ProcessId) -> None:
        """Connect, in the process that will use it; calling again is harmless. Makes the store if it is missing."""

    def close(self) -> None:
        """Disconnect; calling again, or before :meth:`open`, is harmless."""

    def before_fork(self) -> None:
        """Disconnect, and let no thread connect before :meth:`after_fork`: this process forks, and the child will open
        the same store by itself. Whoever is being answered is waited for.
        """

    def after_fork(self) -> None:
        """In the parent, in the thread that called :meth:`before_fork`, also if that raised: all is as it was."""

    def forget_in_child(self) -> None:
        """Called in a forked child: drop the connection without closing it; nothing there belongs to us."""

    def set_aside(self, why: str) -> Path:
        """Move a damaged store away, so that the next :meth:`open` makes a new one; answers where it is now.

        For the leader alone, after ``JournalDamaged`` was raised in office, not before: while another one moves it, it
        looks damaged. The error's ``kind`` is ``why``: the new name tells it, and when. The new store knows nothing, no
        mark and no term.
        """

    # Terms, and what the leader writes in their name

    def term(self) -> int:
        """The newest term; 0 before the first."""

    def begin_term(self, floor: int, now: int) -> int:
        """Allocate the next term: one more than the larger of ``floor`` and the newest known.

        With neither (both 0) it begins at ``now`` in whole seconds, not at 1, so that a resource
        fenced by an older term does not refuse us for ever after the folder was deleted.
        """

    def write(self, term: int, entries: "Sequence[Entry]") -> list[bool]:
        """Write all entries in one transaction, in order; say of each whether it was accepted.

        Raises:
            TermLost: ``term`` is not the newest, or it was begun in another file, of which this one may be an older
                copy. Only ``Finish`` entries were written.
        """

    def set_state(self, term: int, task: str, state: str, schedule: str = "") -> None:
        """Replace the state (JSON) of the task's schedule; durable when it returns. Raises ``TermLost``."""

    # What any process asks for. Raises ``JournalBusy`` after a second.

    def request(self, wanted: Request) -> str:
        """Leave it for the leader; durable when it returns. Answers its id.

        For a trigger whose (task, key) is requested, queued or running already, the id of that one, and nothing is
        written. Repeating an id is harmless, also after it became a run (for as long as its row is kept).
        """

    def newest(self) -> Newest:
        """The newest term, and the number of the newest row: they grow in one store, unless all rows are pruned."""

    def requests(
        self,
        tasks: Collection[str] | None = None,
        at_most: int | None = None,
        kind: Kind | None = None,
        before: str | None = None,
    ) -> list[Request]:
        """Those that no :class:`Claim` and no :class:`Answered` has answered, oldest first.

        Of these ``tasks`` only, of this ``kind``, asked for earlier than the request ``before``, an id. For one task
        and kind, ``at_most`` so many cost no more than these, however many there are.
        """

    def asked_of(self) -> set[tuple[str, str]]:
        """Each (kind, task) of which there are requests. It costs their number, and not that of the requests."""

    def count_asked(self, task: str) -> int:
        """How many runs are asked for of one task."""

    def asked(self, request_id: str) -> Request | None:
        """One of those, by its id."""

    def set_paused(self, task: str, at: int | None, schedule: str = "") -> None:
        """Pause a schedule of a task since ``at``; ``None`` resumes it. Pausing what is paused leaves the first."""

    def paused(self) -> dict[tuple[str, str], int]:
        """By (task, schedule): since when it is paused."""

    def put_schedule(self, dynamic: Dynamic) -> None:
        """Make the schedule (``task``, ``key``), or replace it; mark and state stay."""

    def drop_schedule(self, task: str, key: str) -> bool:
        """Delete it; whether there was one. Mark and state stay, but not the mark's plan.

        So should it ever be made again, even as it was, its :class:`Seen` moves the mark forward, and what it would
        have run in between is not taken for missed.
        """

    def schedules(self, task: str | None = None) -> list[Dynamic]:
        """The dynamic schedules of one task or of all, by task and key."""

    def revision(self) -> int:
        """Another number after each change by one of the methods above, made by whichever process.

        It costs one row to read. It grows in one store; compare it for equality, for a new store begins anew.
        """

    # Reading

    def marks(self) -> dict[tuple[str, str], Mark]:
        """By (task, schedule): every one that ever had a mark. Survives pruning."""

    def unfinished(self) -> list[RunRecord]:
        """Rows without an outcome, oldest first."""

    def opening(self) -> Opening:
        """What the methods of these names answer, of one moment and in one go: whoever takes over waits for it."""

    def get(self, run_id: str) -> RunRecord | None:
        """One row."""

    def log(self, run_id: str) -> str:
        """The run's log as a JSON list; ``[]`` when there is none."""

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        """The newest rows first, of all schedules of one task or of all tasks."""

    def successes(self, task: str) -> set[str]:
        """The keys of which a run claimed with ``once`` has succeeded; survives pruning."""

    def state(self, task: str, schedule: str = "") -> str:
        """The state as JSON; ``{}`` before the first."""

    # Keeping it small and quick

    def prune(self, keep_runs: int, before: int) -> int:
        """Delete finished rows that ended before ``before`` or are beyond the newest ``keep_runs`` of their task.

        Works in small steps (at most 1,000 rows a call) and answers how many it deleted. A run's log goes with it;
        marks, states, successes, requests and schedules stay.
        """

    def rest(self) -> None:
        """Nothing is due for a moment: do now, quickly, what would hold up a later write."""
