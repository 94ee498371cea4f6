"""What the disk under the journal does to those who use it: spells of one kind each, and now and then a single blow."""

from __future__ import annotations

from typing import Literal, NamedTuple

from onduty.testing.simulator.world import World

Blow = Literal["refused", "busy", "full", "unanswered", "late", "late after"]
BLOWS: tuple[Blow, ...] = ("refused", "busy", "full", "unanswered", "late", "late after")
"""*unanswered*: done, and reported as not done. *late*, *late after*: seconds pass before, or after, it is done."""


class Spell(NamedTuple):
    """``share``: of how many calls it strikes."""

    blow: Blow
    share: float
    until: int


class Weather:
    """One spell at a time; ``always`` strike now and then, spell or not."""

    def __init__(self, world: World, always: tuple[Blow, ...]) -> None:
        self._world = world
        self._always = always
        self._spell: Spell | None = None

    def turn(self, blow: Blow, share: float, seconds: float) -> None:
        self._world.tell(f"the disk: for {seconds:.1f} s, {share:.0%} of all calls are {blow}")
        self._spell = Spell(blow, share, self._world.now + round(seconds * 1_000_000))

    def clear(self) -> None:
        self._spell, self._always = None, ()

    def strike(self) -> Blow | None:
        """What becomes of the next call; ``None``: it is done."""
        spell, world = self._spell, self._world
        if spell is not None and world.now < spell.until:
            return spell.blow if world.chance(spell.share) else None
        if self._always and world.chance(0.02):
            return world.random.choice(self._always)
        return None
