"""The one journal that all processes share: what was done to it, and what it would be without the last of it.

Every change is kept as a call, so an older copy is the same journal with fewer calls: a backup that is restored, or the
commits that a power cut took. No call but the public ones of the port is used, so any journal can be played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from onduty.errors import OnDutyError, TermLost
from onduty.journal import Journal
from onduty.process import ProcessId
from onduty.testing.simulator.ledger import Ledger
from onduty.testing.simulator.world import World


class Done(NamedTuple):
    """One change, by whom and when."""

    at: int
    me: ProcessId
    method: str
    args: tuple[Any, ...]


class Store:
    """``identity``: another number for each file that has taken the place of the last. ``damage``: what is wrong with
    it.

    ``replaced_at``: when that was last; rows of an older copy may say *running* of what has ended since.
    ``losses``: how often slots were forgotten that no reservation knows of either.
    """

    def __init__(self, world: World, make_journal: Callable[[], Journal]) -> None:
        self._world = world
        self._make_journal = make_journal
        self._done: list[Done] = []
        self.identity = 0
        self.damage: str | None = None
        self.losses = 0
        self.replaced_at = -1
        self.journal = make_journal()
        self.ledger = Ledger(world, self.journal)

    def change(self, me: ProcessId, method: str, args: tuple[Any, ...]) -> Any:
        """Do it, in the name of that process, and check what the journal answers."""
        self._done.append(Done(self._world.now, me, method, args))
        return self._perform(me, method, args)

    def go_back(self, to: int, *, keeps_slots: bool) -> None:
        """As it was at the instant ``to``: the file is another one from now on."""
        self.losses += not keeps_slots
        kept = [done for done in self._done if done.at <= to]
        self._replace()
        for done in kept:
            try:
                self._perform(done.me, done.method, done.args)
            except OnDutyError:
                pass  # so it was the first time
        self._done = kept

    def begin_anew(self) -> None:
        """An empty file under the name."""
        self.losses += 1
        self._replace()

    def _replace(self) -> None:
        self.identity += 1
        self.replaced_at = self._world.now
        self.damage = None
        self._done = []
        self.journal = self._make_journal()
        self.ledger = Ledger(self._world, self.journal)

    def _perform(self, me: ProcessId, method: str, args: tuple[Any, ...]) -> Any:
        self.journal.open(me)
        try:
            answer = getattr(self.journal, method)(*args)
        except TermLost:
            if method == "write":
                self.ledger.saw_refusal(*args)
            raise
        look = getattr(self.ledger, f"saw_{method}", None)
        if look is not None:
            look(me, answer, *args)
        return answer
