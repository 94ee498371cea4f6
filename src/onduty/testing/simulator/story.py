"""One story from its seed: how it is played, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from onduty.backends import open_scratch
from onduty.clock import SECOND
from onduty.journal import Journal
from onduty.testing.simulator import ending
from onduty.testing.simulator.faults import Faults
from onduty.testing.simulator.stage import Stage
from onduty.testing.simulator.user import User
from onduty.testing.simulator.world import Violated, World

LAST_LINES = 60


class Story(NamedTuple):
    """``violation``: the promise that was broken, in a sentence, or ``None``. ``runs``: how many were started.

    As text it is the log of what happened, in true seconds; of a long one the end.
    """

    seed: int
    violation: str | None
    runs: int
    lines: list[tuple[int, str]]

    def __str__(self) -> str:
        head = f"seed {self.seed}: {self.violation or 'all promises were kept'}"
        left_out = len(self.lines) - LAST_LINES
        if left_out > 0:
            head += f"\n({left_out} events before)"
        shown = (f"{at / SECOND:10.4f}  {text}" for at, text in self.lines[-LAST_LINES:])
        return "\n".join((head, *shown))


def simulate(seed: int, make_journal: Callable[[], Journal] = open_scratch) -> Story:
    """Play the story of that seed; the same one each time.

    ``make_journal``: an empty journal, in memory unless told otherwise.
    """
    world = World(seed)
    try:
        _play(world, stage := Stage(world, make_journal))
        runs = stage.runs.started
    except Violated:
        runs = 0
    return Story(seed, world.violation, runs, world.lines)


def _play(world: World, stage: Stage) -> None:
    chance = world.random
    stormy = chance.uniform(10, 45)
    user, faults = User(stage), Faults(stage, stormy)
    for _ in range(chance.randrange(12)):
        user.later(chance.uniform(0.5, stormy), user.act)
    world.play(round(stormy * SECOND))
    faults.end()
    user.come_to_an_end()
    unseen = 62 if len(stage.machine.places) > 1 else 0
    world.play(world.now + (25 + unseen) * SECOND)
    ending.check(stage)
