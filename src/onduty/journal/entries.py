"""What a leader writes into the journal, one kind of entry each: the promises are told there, in the port.

*Schedule* in an entry is the key of a dynamic schedule of its task; ``""`` means the task's own. Each has its own
mark and its own state.
"""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
from typing import NamedTuple

from onduty.journal import Outcome


class Claim(NamedTuple):
    """The right to run, once. Refused when the slot is not later than the schedule's mark, or already has its row.

    Accepted, it moves the mark to ``slot`` and makes a row that is *queued* until :class:`Begin`, or *running*
    at once when ``begin`` is true. ``slot`` is ``None`` for services and triggered runs: no mark, no uniqueness but
    ``run_id``'s; the request of that id, if there is one, is deleted with it, so that a request becomes a run at most
    once.
    ``run_id`` is made by the caller, so that a claim whose answer was lost can be repeated: if the row
    exists under this very ``run_id`` and term, the claim is accepted again.

    With a ``key`` it is refused while another run of this (task, key) is queued or running; with ``once`` also when
    one has ever succeeded; without a key, ``once`` says nothing. Refused, it moves no mark and leaves its request.
    """

    run_id: str
    task: str
    slot: int | None
    at: int
    begin: bool = True
    kwargs: str = "{}"
    schedule: str = ""
    key: str | None = None
    once: bool = False


class Begin(NamedTuple):
    """A queued row starts, or a failed one starts again: ``attempt`` must be exactly one more than the row's.

    A row claimed with ``begin=False`` has attempt 0. Takes the row over into the writer's term and process, and no
    longer lets it wait for ``retry_at``. Refused when the row has an outcome or another attempt number. Said again
    after a lost answer, it is accepted again.
    """

    run_id: str
    attempt: int
    at: int


class Again(NamedTuple):
    """Attempt ``attempt`` has failed at ``at`` with ``error``, and the row waits until ``retry_at`` for the next one.

    It stays without an outcome and counts as *queued*: no process runs it, so the next leader may begin it as well.
    Refused when the row has an outcome, another attempt number, or is not of the writer's process. Said again after a
    lost answer, it is accepted again.
    """

    run_id: str
    attempt: int
    retry_at: int
    at: int
    error: str | None


class Finish(NamedTuple):
    """A run has ended. Refused when its row has an outcome already or is not of the writer's process.

    A queued row is of no process: the newest term may end it, whoever claimed it (a run cancelled in the queue).
    The only entry that is accepted under an older term too: a run that outlived its leader still tells how it ended.
    ``result`` is JSON. The success of a row claimed with ``once`` is remembered for ever, pruned or not.
    """

    run_id: str
    outcome: Outcome
    at: int
    error: str | None = None
    result: str | None = None


class Passed(NamedTuple):
    """Slots that passed without a run, as one row for all; moves the mark to ``last``.

    ``outcome`` is ``SKIPPED``, ``MISSED`` or ``LOST``; ``why`` ("paused", "the clock was set back") is kept as the
    row's ``error``. Refused when ``last`` is not later than the mark.
    """

    run_id: str
    task: str
    first: int
    last: int
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody misses
    outcome: Outcome
    at: int
    schedule: str = ""
    why: str | None = None


class Seen(NamedTuple):
    """A schedule is known from now on: sets its mark to ``at`` if it has none. Accepted then; no row is made.

    ``plan``, a text that names the schedule ("every 5s"), is kept with the mark whenever it is given. If another one
    was kept, the schedule has changed: the mark moves forward to ``at`` (it never goes back), so that slots
    of the new schedule before ``at`` are not taken for missed ones; that is accepted too. A mark whose plan is
    not known yet only learns it.
    """

    task: str
    at: int
    schedule: str = ""
    plan: str | None = None


class Renamed(NamedTuple):
    """The task ``old`` is called ``new`` from now on: all that is kept of it moves along.

    Marks, states, history, successes, requests, pauses and dynamic schedules. Refused when ``new`` has a life of its
    own already (a mark, a state or a run, or it took this step before, with nothing to take along): that is never
    overwritten, so the entry may be written at the start of every term. A pause or dynamic schedule given under the
    new name stands against one of the old.
    """

    old: str
    new: str


class Era(NamedTuple):
    """The clock was set back: the mark becomes ``at``, in a new era of its own, in which slots are claimed anew.

    A row of an earlier era does not stand in the way of the same slot. Where the mark was is its ``furthest`` now. With
    that very instant as ``at`` the clock was set right again: what lies before it is decided. Else refused when the
    mark is not later than ``at``.
    """

    task: str
    at: int
    schedule: str = ""


class Lost(NamedTuple):
    """The process of this row has died. Sets the outcome ``LOST``; refused when the row has an outcome.

    With ``again`` it stays without one and is *queued* from now on, as after :class:`Again`: the next leader, too, may
    begin it. That is refused for a row of the writer's own term: said again after a lost answer, it has begun. Unlike
    :class:`Finish` it is written by the present leader about another process, so it is fenced.
    """

    run_id: str
    at: int
    again: bool = False


class Note(NamedTuple):
    """How far a run has come (0 to 1, and in words), and its log so far: a JSON list of lines that replaces the last.

    ``log=None`` leaves the log as it is. Refused when the row has an outcome: write the last note before the end.
    """

    run_id: str
    progress: float
    text: str
    log: str | None = None


class Answered(NamedTuple):
    """A request that needs no run, such as a cancellation, is done with: its row is deleted. Refused if it was."""

    request_id: str


Entry = Claim | Begin | Again | Finish | Passed | Seen | Renamed | Era | Lost | Note | Answered
