"""What all processes of a story share, and who they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onduty.journal import Journal
from onduty.testing.simulator.cast import choose
from onduty.testing.simulator.lock import Lock
from onduty.testing.simulator.machine import Machine
from onduty.testing.simulator.runs import Runs
from onduty.testing.simulator.store import Store
from onduty.testing.simulator.weather import BLOWS, Weather
from onduty.testing.simulator.world import World

if TYPE_CHECKING:
    from onduty.testing.simulator.worker import Worker


class Stage:
    """``workers``: in the order in which they began. ``grace``: seconds for which a leader lets its runs finish."""

    def __init__(self, world: World, make_journal: Callable[[], Journal]) -> None:
        chance = world.random
        self.world = world
        self.machine = Machine(world, 2 if chance.random() < 0.15 else 1)
        self.store = Store(world, make_journal)
        always = tuple(blow for blow in BLOWS if chance.random() < 0.15)
        self.weather = Weather(world, always)
        self.lock = Lock(world)
        self.runs = Runs(world, self.machine, self.store)
        self.tasks = choose(world)
        self.grace = chance.choice((0.0, 1.0, 4.0))
        self.keep_runs = chance.choice((2, 10, 1000))
        self.newest_term = 0
        self.workers: list[Worker] = []

    @property
    def leaders(self) -> list[Worker]:
        """Those that believe that they lead, and are told so by the lock."""
        return [one for one in self.workers if one.scheduler is not None and one.election.still_mine()]

    def term_began(self, by: Worker, term: int) -> None:
        """Those that stand by hear of it over the hub."""
        leaders = self.leaders
        if by in leaders and term <= self.newest_term:
            self.world.violate(f"Terms only grow, yet {term} came after {self.newest_term}.")
        self.newest_term = max(self.newest_term, term)
        if len(leaders) > 1:
            self.world.violate(f"One worker leads, yet {', '.join(one.name for one in leaders)} do.")
        for worker in self.workers:
            if worker.stopped_until <= self.world.now:
                worker.newest_term = max(worker.newest_term, term)

    def ring(self) -> None:
        """Tell the leader that somebody has asked for something."""
        for worker in self.leaders:
            worker.ring()
