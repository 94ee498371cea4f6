"""Pure decisions of the elector: may we ask, when do we ask again, must we step down, is the leader frozen?

Nothing here reads a clock, a file or a process; all of it can be tested in a table.
"""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
from typing import NamedTuple

from onduty.clock import SECOND
from onduty.election import Tenure
from onduty.journal import Newest

SLOW_POLL = 0.2
"""Seconds between two looks of a standby that heard nothing."""

HURRY = 1.0
"""Seconds after an end-of-file in which a standby hurries: the lock is freed a moment later, and on a busy machine a
moment may be long (seen: 110 ms)."""

HURRY_STEPS = (0.0005, 0.005)
"""Seconds between two of its tries, at first and at last; in between, a quarter of what it has waited. Each try takes
a core from the one that has won."""

NEXT_IN_LINE = 2
LEADER_LOOK = 0.05
FIRST_TURN = 0.05
"""Seconds at most for which a new leader's hub is not served before the scheduler's first turn: what is due has waited
already. Beginning both at once made it wait 5.1 ms more under gevent, one after the other 3.9 (measured, medians)."""

RESERVE = 60 * SECOND
"""Microseconds for which a leader reserves the slots ahead; moved on every half of it."""
RENEW_EVERY = 1.0
ASK_EVERY = 1.0
MOST_PATIENCE = 10.0
"""Seconds at most for which a leader that was told to leave goes on until a successor accepts."""

FROZEN_AFTER = 10.0
KILL_BLOCKED_AFTER = 30.0

OFFER_AFTER = 0.1
"""Seconds after which it offers its duty: a reload tells all old workers within a few milliseconds, and one that does
not know yet would accept in vain."""

COOL_DOWN = 1.0
"""Seconds before a worker whose term ended in trouble asks again: another one shall have the first word."""

SECOND_LOOK = 0.01
"""Seconds that a standby turns its loop before it accepts: gevent hears a signal that came first only then (seen: up to
0.3 s late in an idle worker)."""


def next_try(since_vacant: float | None) -> float:
    """Seconds until a standby tries the lock again; ``since_vacant``: seconds since its end-of-file, if any."""
    if since_vacant is None or since_vacant >= HURRY:
        return SLOW_POLL
    first, last = HURRY_STEPS
    return min(max(since_vacant / 4, first), last)


def is_next(place: int) -> bool:
    """Whether a standby, by its place among them, is woken by the leader's end; the others look after ``SLOW_POLL``.

    Each that wakes takes 0.3 ms of a core, and fifteen of them took 3 ms from the one that won (measured).
    """
    return place < NEXT_IN_LINE


def patience(grace: float, grace_limit: float | None) -> float:
    """Seconds to wait for a successor: what is left of the server's own time after ``grace``, less one to end in."""
    left = MOST_PATIENCE if grace_limit is None else grace_limit - grace - 1
    return min(max(left, 0.0), MOST_PATIENCE)


def lost_until(last: Tenure | None, boot: str, newest: Newest, now: int) -> int:
    """Up to which instant slots without a row may have run, so that nobody may run them: microseconds UTC, or 0.

    A journal that a killed process wrote to has all of its rows; one that lived through a power cut may not, though
    whoever wrote it had let go by itself a moment before. One that has not heard of the last tenure, or not of its
    newest row, is not the one that was written in: it is new, or an older copy. How far that one reached is known,
    unless nothing had to be reserved.
    """
    if last is None:
        return 0
    if newest.term < last.term or newest.row < last.row:
        return _may_have_run_until(last.reserved_until or now, now)
    in_doubt = last.gap or last.process.boot != boot
    return _may_have_run_until(last.reserved_until, now) if in_doubt else 0


def _may_have_run_until(reserved_until: int, now: int) -> int:
    """Nobody has run a slot before its time. But who reserved saw a clock that showed ``RESERVE`` less; if ours shows
    still less, it has been set back since, and how far it had come is not known.
    """
    return min(reserved_until, now) if now >= reserved_until - RESERVE else reserved_until


LOCK_LOST = "the lock was lost: its descriptor was closed or its file replaced"


class Signs(NamedTuple):
    """What a leader sees of itself."""

    leaving: str | None = None
    holds_lock: bool = True
    term_lost: bool = False
    fault: str | None = None


def why_step_down(signs: Signs) -> str | None:
    """The reason to end the term now, the gravest first; ``None``: go on."""
    if not signs.holds_lock:
        return LOCK_LOST
    if signs.term_lost:
        return "a newer term has begun"
    if signs.fault:
        return signs.fault
    return signs.leaving


def deserves_grace(signs: Signs) -> bool:
    """Whether runs may take their time to end: only while nobody else can lead meanwhile."""
    return signs.holds_lock and not signs.term_lost


class Sample(NamedTuple):
    """A standby's view of the leader at one instant of the standby's own monotonic clock.

    ``beat``: another number whenever the leader's loop has turned, as last answered. ``cpu``: its processor seconds.
    """

    mono: float
    beat: int
    cpu: float | None
    stopped: bool


class Verdict(NamedTuple):
    """``state``: *unknown* or *turning*, for 0 ``seconds``; or *stopped*, *busy* or *blocked* for so many."""

    state: str
    seconds: float

    @property
    def is_frozen(self) -> bool:
        return self.seconds >= FROZEN_AFTER

    def may_kill(self) -> bool:
        """Only a leader that is certainly stopped, or has been blocked for long; never one that is merely busy."""
        if self.state == "stopped":
            return self.seconds >= FROZEN_AFTER
        return self.state == "blocked" and self.seconds >= KILL_BLOCKED_AFTER


class FrozenWatch:
    """Tells a frozen leader from a turning one, by what it answers and by what the kernel says of it.

    The seconds are counted on the standby's own clock. A standby that overslept itself (the whole machine was
    suspended or starved) knows nothing of that span, so the count begins anew. So it does when the leader is stopped,
    and when it goes on.
    """

    def __init__(self, expected_gap: float = ASK_EVERY) -> None:
        self._gap = expected_gap
        self._last: Sample | None = None
        self._since = 0.0
        self._cpu: float | None = None

    def see(self, now: Sample) -> Verdict:
        last, self._last = self._last, now
        turned = last is not None and now.beat != last.beat
        if last is None or turned or now.mono - last.mono > 3 * self._gap + 1:
            self._since, self._cpu = now.mono, now.cpu
            return Verdict("turning" if turned else "unknown", 0.0)
        if now.stopped != last.stopped:
            self._since, self._cpu = now.mono, now.cpu
        seconds = now.mono - self._since
        if now.stopped:
            return Verdict("stopped", seconds)
        used = now.cpu - self._cpu if now.cpu is not None and self._cpu is not None else 0.0
        return Verdict("busy" if used > 0.05 * seconds else "blocked", seconds)
