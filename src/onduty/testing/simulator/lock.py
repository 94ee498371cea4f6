"""A model of the election by ``flock``: who holds it, what its file says, and how it gets lost.

The kernel takes it from a dead process, but a moment after the end-of-file on its sockets, and not before the last
child that inherited the descriptor has gone (heirs). It gets lost under a living process when its descriptor is closed,
or its file deleted; then that process learns of it only by asking :meth:`Candidacy.still_mine`.
"""

from __future__ import annotations

from collections.abc import Callable

from onduty.election import Tenure
from onduty.errors import StoreUnavailable
from onduty.process import ProcessId
from onduty.testing.simulator.world import World


class Lock:
    """``record``: what the file says. ``is_readonly``: the record can't be written.

    ``tell``: whoever stands by and is to hear that the holder has gone.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.holder: Candidacy | None = None
        self.record: Tenure | None = None
        self.is_readonly = False
        self.free_at = 0
        self.tell: list[Callable[[], None]] = []

    def lose(self, *, deleted: bool) -> None:
        """It is free, and whoever held it does not know. ``deleted``: with its file went the record."""
        self.holder = None
        if deleted:
            self.record = None
        self._ring()

    def orphaned(self, seconds: float) -> None:
        """Its holder has died: the others hear at once, the kernel lets go of it in that time."""
        self.holder = None
        self.free_at = self.world.now + round(seconds * 1_000_000)
        self._ring()

    def released(self) -> None:
        self.holder = None
        self._ring()

    def _ring(self) -> None:
        bells, self.tell = self.tell, []
        for bell in bells:
            bell()


class Candidacy:
    """Satisfies ``onduty.election.Election`` for one process, step by step as ``FileElection`` does."""

    def __init__(self, lock: Lock, me: ProcessId) -> None:
        self._lock = lock
        self.me = me
        self._term = 0
        self._since = 0
        self._reserved_until = 0
        self._gap = False
        self._row = 0

    def campaign(self) -> bool:
        lock = self._lock
        if lock.holder is None and lock.world.now >= lock.free_at:
            lock.holder = self
            self._term = 0
        return lock.holder is self

    def last(self) -> Tenure | None:
        return self._lock.record

    def began(self, term: int, since: int, until: int = 0, gap: bool = False, row: int = 0) -> None:
        self._term, self._since = term, since
        self.reserve(until, gap, row)

    def reserve(self, until: int, gap: bool, row: int) -> None:
        self._reserved_until, self._gap, self._row = until, gap, row
        self._write(clean=False)

    def still_mine(self) -> bool:
        return self._lock.holder is self

    def resign(self, until: int | None = None, row: int | None = None) -> None:
        self._row = self._row if row is None else row
        if until is not None:
            self._reserved_until = min(self._reserved_until, until)
        if self._lock.holder is not self:
            return
        if self._term:
            try:
                self._write(clean=True)
            except StoreUnavailable:
                pass
        self._lock.released()

    @property
    def is_new(self) -> bool:
        return False

    @property
    def is_intact(self) -> bool:
        return True

    def is_held_by(self, process: ProcessId) -> bool:
        return self._lock.holder is not None and self._lock.holder.me == process

    def heirs(self) -> tuple[int, ...] | None:
        return ()

    def _write(self, *, clean: bool) -> None:
        if self._lock.is_readonly:
            raise StoreUnavailable("the lock's record can't be written")
        record = Tenure(self.me, self._term, self._since, clean, self._reserved_until, self._gap, self._row)
        if self._lock.holder is self:  # else it went into a file that nobody reads any more
            self._lock.record = record
