"""What goes wrong in a story: a few kinds, drawn for it, each at a few moments.

A story with every kind of fault in it is mostly noise; one with two or three goes deep (swarm testing).
"""

from __future__ import annotations

from collections.abc import Callable

from onduty.clock import SECOND
from onduty.testing.simulator.stage import Stage
from onduty.testing.simulator.weather import BLOWS
from onduty.testing.simulator.worker import Worker


class Faults:
    """Also brings up workers: at the beginning, in the place of those that died, and until all is calm."""

    def __init__(self, stage: Stage, until: float) -> None:
        self._stage = stage
        self._chance = stage.world.random
        self._names = 0
        self._wanted = self._chance.randint(2, 4)
        for _ in range(self._wanted):
            self._bring_up()
        kinds = self._chance.sample(self._kinds(), self._chance.randint(1, 3))
        for _ in range(self._chance.randint(3, 9)):
            self._later(self._chance.uniform(1, until), self._chance.choice(kinds))

    def _kinds(self) -> list[Callable[[], None]]:
        always = [
            self._kill, self._kill_at_crash_point, self._leave, self._reload, self._stop, self._stop_at_crash_point,
            self._spell, self._close_lock, self._protect_lock,
        ]  # fmt: skip
        # A file that says which term was the last must be left: the lock's, or the journal.
        if self._chance.random() < 0.3:
            return [*always, self._delete_lock, self._set_clock]
        # What is reserved against a power cut is told in the clock's time: a clock set back then is not provided for.
        of_time = self._chance.choice((self._set_clock, self._cut_power))
        return [*always, of_time, self._restore, self._damage, self._delete]

    def end(self) -> None:
        """From now on nothing goes wrong, and what was held up goes on."""
        stage = self._stage
        stage.world.is_calm = True
        stage.world.tell("-- all is calm from here on --")
        stage.weather.clear()
        stage.lock.is_readonly = False
        for worker in list(stage.workers):
            worker.fuse, worker.freeze, worker.stopped_until = None, None, min(worker.stopped_until, stage.world.now)
            if worker.is_out:
                worker.die()
        self._replace()

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        world = self._stage.world
        world.after(seconds, lambda: None if world.is_calm else happen())

    # Workers

    def _bring_up(self) -> None:
        stage = self._stage
        self._names += 1
        stage.workers.append(Worker(stage, self._chance.choice(stage.machine.places), f"w{self._names}"))

    def _replace(self) -> None:
        stage = self._stage
        stage.workers[:] = [one for one in stage.workers if one.is_alive]
        staying = sum(not one.is_leaving for one in stage.workers)
        for _ in range(self._wanted - staying):
            self._bring_up()

    def _replace_in_a_while(self) -> None:
        self._stage.world.after(self._chance.choice((0.3, 3, 15)) * self._chance.random(), self._replace)

    def _someone(self) -> Worker:
        """The leader, mostly."""
        stage = self._stage
        leaders = stage.leaders
        if leaders and self._chance.random() < 0.75:
            return leaders[0]
        return self._chance.choice(stage.workers)

    def _kill(self) -> None:
        worker = self._someone()
        worker.tell("is killed")
        worker.die()
        self._replace_in_a_while()

    def _kill_at_crash_point(self) -> None:
        self._someone().fuse = self._chance.randrange(8)
        self._replace_in_a_while()

    def _leave(self) -> None:
        self._someone().leave("a new worker takes its place")
        self._replace_in_a_while()

    def _reload(self) -> None:
        for worker in self._stage.workers:
            worker.leave("a reload")
        for _ in range(self._wanted):
            self._bring_up()

    def _stop(self) -> None:
        self._someone().stop(self._chance.choice((0.5, 5, 30)) * self._chance.random())

    def _stop_at_crash_point(self) -> None:
        """And as often as not, the lock is lost meanwhile."""
        worker = self._someone()
        seconds = self._chance.choice((2, 8, 20)) * self._chance.random()
        worker.freeze = (self._chance.randrange(6), seconds)
        if self._chance.random() < 0.6:
            self._later(self._chance.uniform(0, 2), self._close_lock)

    # The lock

    def _close_lock(self) -> None:
        holder = next(iter(self._stage.leaders), None)
        if holder is not None:
            holder.tell("has closed all of its descriptors")
            holder.is_out = True
            self._stage.lock.lose(deleted=False)

    def _delete_lock(self) -> None:
        self._stage.world.tell("the lock's file is deleted")
        self._stage.lock.lose(deleted=True)
        self._stage.runs.forget_unwritten()

    def _protect_lock(self) -> None:
        self._stage.world.tell("the lock's record can't be written for a while")
        self._stage.lock.is_readonly = True
        self._stage.world.after(self._chance.uniform(1, 10), self._unprotect_lock)

    def _unprotect_lock(self) -> None:
        self._stage.lock.is_readonly = False

    # The disk, the clock, the machine

    def _spell(self) -> None:
        self._stage.weather.turn(
            self._chance.choice(BLOWS),
            self._chance.choice((0.3, 1.0)),
            self._chance.choice((0.5, 4, 15)) * self._chance.random(),
        )

    def _set_clock(self) -> None:
        seconds = self._chance.choice((-3700, -3600, -90, -20, -3, -0.5, 0.5, 3, 20, 90, 3600))
        self._stage.world.tell(f"the clock is set by {seconds} s")
        self._stage.machine.clock.step(seconds)

    def _cut_power(self) -> None:
        stage, now = self._stage, self._stage.world.now
        stage.world.tell("a power cut; the last commits are lost")
        for worker in stage.workers:
            worker.die()
        stage.machine.boots += 1
        stage.lock.free_at = now
        stage.store.go_back(max(now - round(self._chance.uniform(0, 5) * SECOND), 0), keeps_slots=True)
        self._replace_in_a_while()

    def _restore(self) -> None:
        stage = self._stage
        back = min(round(self._chance.choice((3, 30)) * self._chance.random() * SECOND), stage.world.now)
        stage.world.tell(f"the journal is replaced by a copy that is {back / SECOND:.1f} s old")
        stage.store.go_back(stage.world.now - back, keeps_slots=False)

    def _damage(self) -> None:
        self._stage.world.tell("the journal's file is damaged")
        self._stage.store.damage = "damaged"

    def _delete(self) -> None:
        self._stage.world.tell("the journal's file is deleted")
        self._stage.store.begin_anew()
