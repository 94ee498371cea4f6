"""The port to the durable record of slots, runs, state and terms.

A journal is the second defence for "once": whoever leads, a run starts only after :class:`Claim` was
accepted, and it is accepted once per (task, slot) for ever, and only for a slot later than the task's mark. Every
write carries the term of its writer, and the journal refuses a term that is not its newest.

Not promised: that the *effect* of a run happens once. A machine can die between the effect and the row.
"""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from onduty.process import ProcessId

__all__ = ["Begin", "Claim", "Entry", "Finish", "Journal", "Lost", "Outcome", "Passed", "RunRecord", "Seen"]


class Outcome(str, Enum):
    """How a run, or a slot that never became one, ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"  # another run of the task was in progress
    MISSED = "missed"  # nobody was on duty, or the leader was late
    STOPPED = "stopped"  # it ended because its worker was leaving
    LOST = "lost"  # its process died while it ran


class Claim(NamedTuple):
    """The right to run, once. Refused when the slot is not later than the task's mark, or already has its row.

    Accepted, it moves the mark to ``slot`` and makes a row that is *queued* until :class:`Begin`, or *running*
    at once when ``begin`` is true. ``slot`` is ``None`` for services and triggered runs: no mark, no uniqueness but
    ``run_id``'s.
    ``run_id`` is made by the caller, so that a claim whose answer was lost can be repeated: if the row
    exists under this very ``run_id`` and term, the claim is accepted again.
    """

    run_id: str
    task: str
    slot: int | None
    at: int
    begin: bool = True
    kwargs: str = "{}"


class Begin(NamedTuple):
    """A queued row starts, or a failed one starts again: ``attempt`` must be exactly one more than the row's.

    A row claimed with ``begin=False`` has attempt 0. Takes the row over into the writer's term and process. Refused
    when the row has an outcome or another attempt number.
    """

    run_id: str
    attempt: int
    at: int


class Finish(NamedTuple):
    """A run has ended. Refused when its row has an outcome already or is not of the writer's process.

    The only entry that is accepted under an older term too: a run that outlived its leader still tells how it ended.
    ``result`` is JSON.
    """

    run_id: str
    outcome: Outcome
    at: int
    error: str | None = None
    result: str | None = None


class Passed(NamedTuple):
    """Slots that passed without a run (``SKIPPED`` or ``MISSED``), as one row for all; moves the mark to ``last``.

    Refused when ``last`` is not later than the mark.
    """

    run_id: str
    task: str
    first: int
    last: int
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses
    outcome: Outcome
    at: int


class Seen(NamedTuple):
    """A task is known from now on: sets its mark to ``at`` if it has none. Accepted if it had none; no row is made."""

    task: str
    at: int


class Lost(NamedTuple):
    """The process of this row has died. Sets the outcome ``LOST``; refused when the row has an outcome.

    Unlike :class:`Finish` it is written by the present leader about another process, so it is fenced.
    """

    run_id: str
    at: int


Entry = Claim | Begin | Finish | Passed | Seen | Lost


class RunRecord(NamedTuple):
    """One row: a run, or a range of slots that never became one.

    ``slot`` is the (last) slot, ``first_slot`` and ``slots`` differ from it and 1 only for a range.
    ``attempt`` 0 means queued. ``outcome`` ``None`` means queued or running.
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


class Journal(Protocol):
    """Where a term is allocated and every claim is decided.

    All methods may be called from any thread after :meth:`open`, and raise ``StoreUnavailable`` when the question
    could not be asked or answered; nothing is half-written then.
    """

    def open(self, me: ProcessId) -> None:
        """Connect, in the process that will use it; calling again is harmless. Makes the store if it is missing."""

    def close(self) -> None:
        """Disconnect; calling again, or before :meth:`open`, is harmless."""

    def forget_in_child(self) -> None:
        """Called in a forked child: drop the connection without closing it; nothing there belongs to us."""

    def term(self) -> int:
        """The newest term; 0 before the first."""

    def begin_term(self, floor: int, now: int) -> int:
        """Allocate the next term: one more than the larger of ``floor`` and the newest known.

        With neither (both 0) it begins at ``now`` in whole seconds, not at 1, so that a resource
        fenced by an older term does not refuse us for ever after the folder was deleted.
        """

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        """Write all entries in one transaction, in order; say of each whether it was accepted.

        Raises:
            TermLost: ``term`` is not the newest. Only ``Finish`` entries were written.
        """

    def marks(self) -> dict[str, int]:
        """The last slot of every task ever seen; survives pruning."""

    def unfinished(self) -> list[RunRecord]:
        """Rows without an outcome, oldest first."""

    def get(self, run_id: str) -> RunRecord | None:
        """One row."""

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        """The newest rows first, of one task or of all."""

    def prune(self, keep_runs: int, before: int) -> int:
        """Delete finished rows that ended before ``before`` or are beyond the newest ``keep_runs`` of their task.

        Works in small steps (at most 1,000 rows a call) and answers how many it deleted; marks stay.
        """

    def rest(self) -> None:
        """Nothing is due for a moment: do now, quickly, what would hold up a later write."""

    def state(self, task: str) -> str:
        """The task's state as JSON; ``{}`` before the first."""

    def set_state(self, term: int, task: str, state: str) -> None:
        """Replace the task's state (JSON); durable when it returns. Raises ``TermLost``."""
