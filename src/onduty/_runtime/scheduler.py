"""The loop of one term: what is due is claimed, what is claimed runs, what ran is written down.

One thread turns it; everything else comes in through queues (what has finished, what has something to note) or from
the journal (what others ask for, told by a ring). Each turn the desk decides one batch, which is written in one
transaction, so nothing starts that is not in the journal, and a hundred finished runs cost one commit.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from onduty import events as ev
from onduty._runtime.books import Books
from onduty._runtime.closing import Closing
from onduty._runtime.controls import Controls
from onduty._runtime.desk import Desk, Step
from onduty._runtime.execution import Execution
from onduty._runtime.lanes import Lane
from onduty._runtime.planner import Planner
from onduty._runtime.pool import SLOW
from onduty._runtime.questions import Questions
from onduty._runtime.recovery import Recovery
from onduty._runtime.runner import TIMED_OUT, Runner
from onduty._runtime.takeover import LOOK_AGAIN, Takeover
from onduty._runtime.term import Term
from onduty._runtime.threads import spawn, stay_behind
from onduty._runtime.told import Told
from onduty._runtime.upkeep import Upkeep
from onduty.clock import Clock, Wakeup
from onduty.errors import JournalDamaged, StoreUnavailable, TermLost
from onduty.events import Events
from onduty.journal import Dynamic, Journal, Outcome
from onduty.journal.entries import Again, Finish
from onduty.process import ProcessId, is_alive

LONGEST_WAIT = 1.0
LOOK_FOR_REQUESTS = 1.0
"""Seconds between two looks for what others ask for, if nobody rings."""

NOTE_EVERY = 1.0
"""Seconds between two writings of what runs in progress have to say."""

A_BREATH = 0.0005
"""Seconds for the runs, at most, between two turns of which one follows the other at once.

Each turn lets go of the interpreter for some microseconds, in a system call. That restarts the 5 ms after which a
waiting thread may demand it, and is too short for it to wake up: thousands of runs were seen to wait for 0.1 s.
"""

NEVER_BEGUN = "its term ended before it began"


class Scheduler:
    """Turns from :meth:`start` until :meth:`close` and the grace given there.

    ``beat`` grows with every turn. ``term_lost`` and ``fault`` ask the elector to end the term. ``told`` takes what
    this process asks of its own work. ``when_begun``: called after the first turn. ``is_over``, told to ``when_over``:
    the loop has ended; what still runs then is in :attr:`lingering`.
    """

    def __init__(
        self,
        term: Term,
        lanes: Sequence[Lane],
        clock: Clock,
        events: Events,
        runner: Runner,
        lane_for: Callable[[Dynamic], Lane | None] = lambda dynamic: None,
        is_alive: Callable[[ProcessId], bool | None] = is_alive,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._term = term
        self._lanes = {lane.name: lane for lane in lanes}
        self._clock = clock
        self._events = events
        self._runner = runner
        self._wake = Wakeup()
        self._inbox: deque[Execution] = deque()
        self._noted: deque[Execution] = deque()
        self._desk = Desk(term, self._lanes, clock, events, self, spread)
        self._planner = Planner(term, self._lanes, clock, self._desk)
        self._books = Books(term, clock, events)
        self._controls = Controls(term, self._lanes, self._desk, self._planner, clock, events, lane_for)
        recovery = Recovery(term, self._lanes, clock.mono(), is_alive)
        self._takeover = Takeover(term, self._lanes, self._desk, self._planner, self._controls, recovery, clock, events)
        self.told = Told(self._desk, self._wake.set)
        self._questions = Questions(self._books, clock)
        self._upkeep = Upkeep(term, self._desk.alarms, self._planner.agenda, self._books, clock, self._questions.ask)
        self._closing = Closing(term.app, clock, events)
        self._is_open = False
        self._is_rung = False
        self._look_mono = 0.0
        self._note_mono = 0.0
        self.beat = 0
        self.term_lost = False
        self.damage: JournalDamaged | None = None
        self.fault: str | None = None
        self.is_over = False
        self.when_begun: Callable[[], None] = lambda: None
        self.when_over: Callable[[], None] = lambda: None

    # Called from other threads

    def start(self) -> None:
        spawn("scheduler", self._run)

    def close(self, why: str, grace: float) -> None:
        """No new runs; those in progress are told to end and have ``grace`` seconds.

        Returns at once; the first call counts.
        """
        if self._closing.begin(why, grace):
            self._wake.set()

    def ring(self) -> None:
        """Somebody has written a request, or changed a level: look now."""
        self._is_rung = True
        self._wake.set()

    @property
    def lingering(self) -> list[Execution]:
        return [run for lane in list(self._lanes.values()) for run in list(lane.running.values())]

    def settle(self) -> None:
        """After the loop has ended: write down what lingering runs have come to. Raises ``StoreUnavailable``."""
        while self._inbox:
            self._desk.finished(self._inbox.popleft())
        self._books.unwritten += self._desk.take_steps()
        self._books.write_finished()

    @property
    def pulse(self) -> int:
        """What a standby watches: another number after each turn, and each second while the journal is to answer."""
        return self.beat + int(self._questions.seconds_waited)

    def snapshot(self) -> dict[str, Any]:
        mono = self._clock.mono()
        shown: dict[str, Any] = {}
        for lane in list(self._lanes.values()):
            look = lane.snapshot(mono)
            look["next_slot"] = self._planner.agenda.next_slot(lane.name)
            if lane.key:
                shown[lane.task].setdefault("schedules", {})[lane.key] = look
            else:
                look["waiting"] += self._controls.asked.left(lane.task)
                shown[lane.task] = look
        return shown

    @property
    def journal(self) -> Journal:
        """Where its term is written."""
        return self._term.journal

    @property
    def has_unwritten(self) -> bool:
        """Whether outcomes still have to be written down by :meth:`settle`."""
        return bool(self._books.unwritten or self._books.on_account or self._inbox)

    @property
    def is_held(self) -> bool:
        """Whether tasks wait because the journal can't be written."""
        return self._books.is_held

    def came_back(self, run: Execution) -> None:
        self._inbox.append(run)
        if not self._wake.is_set():
            self._wake.set()

    def noted(self, run: Execution) -> None:
        self._noted.append(run)  # no hurry: see NOTE_EVERY

    # The loop

    def _run(self) -> None:
        try:
            while (seconds := self.step()) is not None:
                if seconds:
                    self._clock.wait(self._wake, seconds)
                else:
                    self._wake.wait(A_BREATH)  # of real time: it is for threads, not for what is due
                stay_behind(self._term.me.pid)
        finally:
            self.end()

    def step(self) -> float | None:
        """One turn; then seconds until the next, unless somebody rings, or ``None``: it was the last, now :meth:`end`.

        Whatever goes wrong ends the term, and is told by ``term_lost``, ``damage`` and ``fault``.
        """
        try:
            if not self._is_done():
                self.beat += 1
                self._wake.clear()
                self.turn()
                if self.beat == 1:
                    self.when_begun()
                if not self._is_done():
                    self._upkeep.rest(self.until_next())
                    return self.until_next()
        except TermLost:
            self.term_lost = True
        except JournalDamaged as error:
            self.damage = error
            self.fault = str(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the term must end and say why
            self.fault = f"the scheduler failed: {type(error).__name__}: {error}"
            self._events.emit(ev.EngineFault(self._clock.now(), self._term.app, self.fault))
        return None

    def turn(self) -> None:
        """Decide one batch and write it down; then, and only then, act on it. Raises ``TermLost``, ``JournalDamaged``.

        A turn that finds the journal unavailable leaves everything to a later one.
        """
        opens = not self._is_open
        if opens:
            self._is_open = self._closing.why is None and self._open()
        if self._is_open and not self._books.unwritten:
            self._decide(opens=opens)
        steps = self._desk.take_steps()
        if self._books.unwritten:
            steps = self._books.unwritten + steps
        if steps or self._books.wants_to_write:
            self._commit(steps)
        if self._is_open:
            self._upkeep.dispel_doubts()

    def end(self) -> None:
        """The term is over, whatever ended it: what has finished is still to be told, by :meth:`settle`."""
        self._desk.close()
        steps = self._books.unwritten + self._books.aside + self._desk.take_steps()
        self._books.aside = []
        for _, then, run in list(steps):
            if run is not None and then != "note":
                self._desk.refused(run)  # not started, it must not count as running either
                if self._books.in_doubt and then == "start":
                    # Its row may say that it runs here, and the next leader would wait for it.
                    steps.append((Finish(run.run_id, Outcome.STOPPED, self._clock.now(), NEVER_BEGUN), "note", None))
        self._desk.take_steps()
        self._books.unwritten = [step for step in steps if isinstance(step[0], (Finish, Again))]
        self._halt_all(self._closing.why or self.fault or "the term was lost")
        self._runner.stop()
        self.is_over = True
        self.when_over()

    def _open(self) -> bool:
        """What a term begins with; ``False``: the journal does not answer, ask again."""
        try:
            self._questions.answer(self._books.reconnect)
            if self._questions.answer(self._takeover.begin):
                self.ring()
        except JournalDamaged:
            raise
        except StoreUnavailable as error:
            self._books.fails(error)
            return False
        if self._takeover.is_watching:
            self._desk.alarms.set(LOOK_AGAIN, self._look_again)
        self._upkeep.begin()
        return True

    def _decide(self, *, opens: bool = False) -> None:
        desk = self._desk
        if self._closing.why is not None:
            desk.close()
        elif not opens:
            self._look()  # before all else: what is cancelled does not begin
        self._take_back()
        self._write_notes()
        if self._closing.why is not None:
            self._halt_all(self._closing.why)
            self._closing.say_who_holds_up(self.lingering)
            return
        desk.alarms.ring()
        self.told.do()
        if self._controls.asked.has_room and not self._books.is_on_account:
            self._questions.ask(self._take)
        self._planner.decide_due()

    def _take_back(self) -> None:
        lanes: dict[str, None] = {}  # in the order in which something ended there
        while self._inbox:
            run = self._inbox.popleft()
            self._runner.finished(run)
            self._desk.finished(run)
            lanes[run.lane] = None
        for name in lanes:
            if self._lanes[name].waiting:
                self._desk.freed(self._lanes[name])

    def _write_notes(self) -> None:
        if not self._noted or (self._clock.mono() < self._note_mono and self._closing.why is None):
            return
        self._note_mono = self._clock.mono() + NOTE_EVERY
        for _ in range(len(self._noted)):
            run = self._noted.popleft()
            if run.outcome is None:  # otherwise its end has said it
                self._desk.note(run)

    def _look(self) -> None:
        now = self._clock.mono()
        if self._books.is_on_account:
            return  # what is asked for can't become a row now
        if not self._is_rung and now < self._look_mono:
            return
        self._is_rung = False
        self._look_mono = now + LOOK_FOR_REQUESTS

        def look() -> None:
            if self._controls.look():
                self.ring()

        lanes = len(self._lanes)
        self._questions.ask(look)
        if len(self._lanes) != lanes and self._takeover.is_watching:
            # What lingers of a schedule that was dropped, and is there again, counts there from now on.
            self._questions.ask(self._takeover.watch)

    def _take(self) -> None:
        asked = self._controls.asked
        found = asked.read()
        self._take_back()  # while the journal was read, others had the interpreter: what has ended makes room for more
        if asked.take(found):
            self.ring()

    def _look_again(self) -> None:
        self._questions.ask(self._takeover.watch)
        if self._books.is_held or self._takeover.is_watching:
            self._desk.alarms.set(LOOK_AGAIN, self._look_again)

    def _commit(self, steps: list[Step]) -> None:
        written = self._questions.answer(lambda: self._books.write(steps)) or ()
        started = []
        try:
            for (_, then, run), ok in written:
                if run is not None:
                    if not ok:
                        self._refuse(run)
                    elif then == "start":
                        self._start(run)
                        started.append(run)
        finally:
            self._runner.grow()  # and only then those that listen, who may take their time
            for run in started:
                self._tell(ev.RunStarted, run)

    def _refuse(self, run: Execution) -> None:
        self._desk.refused(run)
        if run.triggered and not run.once:
            self._questions.ask(lambda: self._controls.asked.refused(run))

    def _start(self, run: Execution) -> None:
        timeout = run.declared.chosen.timeout
        if timeout is not None:
            self._desk.alarms.set(timeout, lambda: self._time_out(run, timeout))
        if self._closing.why is not None:
            run.halt(self._closing.why)
        self._runner.start(run)

    def _time_out(self, run: Execution, timeout: float) -> None:
        lane = self._lanes.get(run.lane)  # with a dynamic schedule its lane goes
        if lane is not None and lane.running.get(run.run_id) is run and run.outcome is None:
            run.halt(TIMED_OUT)
            self._tell(ev.RunOverdue, run, timeout)

    def until_next(self, longest: float = LONGEST_WAIT) -> float:
        """Seconds, at most ``longest``, until there is something to decide that nobody rings for."""
        if self._closing.why is not None:
            longest = min(longest, self._closing.seconds_left)
        if self._books.unwritten or not self._is_open:
            return min(longest, LONGEST_WAIT)
        if self._runner.grow():
            longest = min(longest, SLOW)
        if self._noted:
            longest = min(longest, max(self._note_mono - self._clock.mono(), 0.0))
        if self._closing.why is None:
            if self._is_rung and not self._books.is_on_account:
                return 0.0  # there was more to take than one turn takes
            longest = self._desk.alarms.until_next(self._planner.until_next(longest))
        return max(longest, 0.0)

    def _is_done(self) -> bool:
        if self._closing.why is None:
            return False
        idle = not self._inbox and not self._books.unwritten and not self.lingering
        return idle or self._closing.seconds_left == 0

    def _halt_all(self, why: str) -> None:
        for run in self.lingering:
            run.halt(why)

    def _tell(self, kind: type[ev.RunEvent], run: Execution, *more: Any) -> None:
        if self._events.wants(kind):
            facts = (run.task_name, run.run_id, run.slot, run.attempt)
            self._events.emit(kind(self._clock.now(), self._term.app, *facts, *more))
