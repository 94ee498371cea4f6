"""One machine: its clocks, its boots, and which of its processes live.

Its containers are pid namespaces: what lives in another one can't be seen. All of its processes read one clock, which
may be set, and runs a little too fast or too slow.
"""

from __future__ import annotations

import asyncio
from itertools import count

from onduty.clock import SECOND, Wakeup
from onduty.process import ProcessId
from onduty.testing.simulator.world import World

BEGIN = 1_767_225_600 * SECOND  # 2026-01-01T00:00Z


class MachineClock:
    """Satisfies ``onduty.clock.Clock`` for code that never waits in it: here, waiting is the world's."""

    lag = 0.0

    def __init__(self, world: World, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._set_by = BEGIN + world.random.randrange(3600 * SECOND)

    def now(self) -> int:
        return self._set_by + round(self._world.now * self._rate)

    def mono(self) -> float:
        return self._world.now * self._rate / SECOND

    def wait(self, wakeup: Wakeup, timeout: float | None) -> bool:
        raise NotImplementedError("nothing waits in a simulated process")

    async def await_for(self, woken: asyncio.Event, timeout: float) -> None:
        raise NotImplementedError("nothing waits in a simulated process")

    def step(self, seconds: float) -> None:
        self._set_by += round(seconds * SECOND)


class Machine:
    """``places``: the names of its containers."""

    def __init__(self, world: World, places: int) -> None:
        self.clock = MachineClock(world, 1 + world.random.uniform(-5e-4, 5e-4))
        self.places = [f"place-{number}" for number in range(places)]
        self.boots = 1
        self._pids = count(100)
        self._alive: set[ProcessId] = set()

    def begin_process(self, place: str) -> ProcessId:
        pid = next(self._pids)
        process = ProcessId("machine", f"boot-{self.boots}", place, pid, pid)
        self._alive.add(process)
        return process

    def end_process(self, process: ProcessId) -> None:
        self._alive.discard(process)

    def is_alive(self, asked_by: ProcessId, process: ProcessId) -> bool | None:
        """As ``onduty.process.is_alive`` would answer to that process."""
        if process.boot != asked_by.boot:
            return False
        if process.namespace != asked_by.namespace:
            return None
        return process in self._alive

    def truly_lives(self, process: ProcessId) -> bool:
        return process in self._alive
