"""A process of the story: it lives until it is killed, may be stopped for a while, and dies at a crash point."""

from __future__ import annotations

from collections.abc import Callable

from onduty.clock import SECOND
from onduty.testing.simulator.machine import Machine
from onduty.testing.simulator.world import Killed, World


class Process:
    """``fuse``: how many crash points it still passes; ``None``: all. ``freeze``: the same, and for how many seconds it
    is then stopped. ``stopped_until``: it is held by a signal, as of SIGSTOP.
    """

    def __init__(self, world: World, machine: Machine, place: str, name: str) -> None:
        self.world = world
        self.machine = machine
        self.name = name
        self.me = machine.begin_process(place)
        self.is_alive = True
        self.fuse: int | None = None
        self.freeze: tuple[int, float] | None = None
        self.stopped_until = 0

    def lives(self) -> bool:
        return self.is_alive

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """In this process, if it lives and is not stopped then; one that is stopped does it when it wakes."""
        self.world.after(seconds, lambda: self._act(act))

    def crash_point(self, where: str) -> None:
        """A moment between two things that are not one. Raises ``Killed``."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.tell(f"dies {where}")
                self.die()
        if self.freeze is not None:
            left, seconds = self.freeze
            self.freeze = (left - 1, seconds) if left else None
            if not left:
                self.stop(seconds, where)
                self.wait(0)
        if not self.is_alive:
            raise Killed

    def stop(self, seconds: float, where: str = "") -> None:
        """As by SIGSTOP, until it is continued."""
        self.tell(f"is stopped for {seconds:.1f} s {where}")
        self.stopped_until = self.world.now + round(seconds * SECOND)

    def wait(self, seconds: float) -> None:
        """Within a call: the others play on. A process that is stopped meanwhile wakes up later."""
        world = self.world
        world.elapse(seconds, self.lives)
        while self.is_alive and self.stopped_until > world.now:
            before = world.now
            world.elapse((self.stopped_until - world.now) / SECOND, self.lives)
            if world.now == before:  # somebody further out goes on first: so it wakes a little early
                break
        if not self.is_alive:
            raise Killed

    def die(self) -> None:
        """As by SIGKILL, now."""
        if self.is_alive:
            self.is_alive = False
            self.machine.end_process(self.me)
            self.died()

    def died(self) -> None:
        """What the others notice of it."""

    def tell(self, text: str) -> None:
        self.world.tell(f"{self.name}: {text}")

    def _act(self, act: Callable[[], None]) -> None:
        if not self.is_alive:
            return
        if self.stopped_until > self.world.now:
            # In small steps, for it may be continued before.
            self.world.after(min((self.stopped_until - self.world.now) / SECOND, 1.0), lambda: self._act(act))
            return
        try:
            act()
        except Killed:
            pass
