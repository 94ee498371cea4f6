"""The loop of one term: what is due is claimed, what is claimed runs, what ran is written down.

One thread turns it; everything else (finished runs, triggers, cancellations) comes in through queues. Each turn the
desk
decides one batch, which is written in one transaction, so nothing starts that is not in the journal, and a hundred
finished runs cost one commit.

When the journal can't be written, the batch waits and is written again, unchanged, before anything new is decided:
tasks are held, services go on, and what came due meanwhile is late, not lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from onduty import events as ev
from onduty._runtime.desk import Desk, Step
from onduty._runtime.execution import Execution
from onduty._runtime.lanes import Lane
from onduty._runtime.recovery import Recovery
from onduty._runtime.runner import TIMED_OUT, Runner
from onduty._runtime.term import Term
from onduty._runtime.threads import spawn, stay_behind
from onduty.clock import Clock, Wakeup
from onduty.errors import StoreUnavailable, TermLost
from onduty.events import Events
from onduty.journal import Entry, Finish, Lost
from onduty.tasks import Declared

LONGEST_WAIT = 1.0
LOOK_AGAIN = 0.2
"""Seconds between two looks at runs that linger in another process."""

LONG_ENOUGH_TO_REST = 0.05
"""Seconds without anything due in which the journal may catch up on its own work."""

TIDY_EVERY = 60.0
"""Seconds between two prunings of the journal."""


class Scheduler:
    """Turns from :meth:`start` until :meth:`close` and the grace given there.

    ``beat`` grows with every turn and is what a standby watches. ``term_lost`` and ``fault`` ask the elector to end the
    term. ``is_over``, told to ``when_over``: the loop has ended; what still runs then is in :attr:`lingering`.
    """

    def __init__(self, term: Term, lanes: Sequence[Lane], clock: Clock, events: Events, runner: Runner) -> None:
        self._term = term
        self._lanes = {lane.declared.name: lane for lane in lanes}
        self._clock = clock
        self._events = events
        self._runner = runner
        self._wake = Wakeup()
        self._inbox: deque[Execution] = deque()
        self._requests: deque[Execution] = deque()
        self._cancels: deque[str] = deque()
        self._desk = Desk(term, self._lanes, clock, events, self._came_back)
        self._recovery = Recovery(term, self._lanes, clock.now())
        self._unwritten: list[Step] = []
        self._held = False
        self._closing: str | None = None
        self._give_up_mono = 0.0
        self.beat = 0
        self.term_lost = False
        self.fault: str | None = None
        self.is_over = False
        self.when_over: Callable[[], None] = lambda: None

    # Called from other threads

    def start(self) -> None:
        spawn("scheduler", self._run)

    def close(self, why: str, grace: float) -> None:
        """No new runs; those in progress are told to end and have ``grace`` seconds.

        Returns at once; the first call counts.
        """
        if self._closing is None:
            self._give_up_mono = self._clock.mono() + grace
            self._closing = why
            self._wake.set()

    def submit(self, declared: Declared, kwargs: str) -> str:
        """Run it once more; answers the run's id. It is claimed in the next turn."""
        run = self._desk.requested(declared.name, kwargs)
        self._requests.append(run)
        self._wake.set()
        return run.run_id

    def cancel(self, run_id: str) -> None:
        """Tell the run in progress to end, or take it out of the queue."""
        self._cancels.append(run_id)
        self._wake.set()

    @property
    def lingering(self) -> list[Execution]:
        return [run for lane in list(self._lanes.values()) for run in list(lane.running.values())]

    def settle(self) -> None:
        """After the loop has ended: write down what lingering runs have come to. Raises ``StoreUnavailable``."""
        while self._inbox:
            self._desk.finished(self._inbox.popleft())
        self._desk.close()
        self._write_finished(self._take_steps())

    def snapshot(self) -> dict[str, Any]:
        mono = self._clock.mono()
        shown = {name: lane.snapshot(mono) for name, lane in self._lanes.items()}
        for name, lane in shown.items():
            lane["next_slot"] = self._desk.agenda.next_slot(name)
        return shown

    @property
    def has_unwritten(self) -> bool:
        """Whether outcomes still have to be written down by :meth:`settle`."""
        return bool(self._unwritten or self._inbox)

    @property
    def is_held(self) -> bool:
        """Whether tasks wait because the journal can't be written."""
        return self._held

    def _came_back(self, run: Execution) -> None:
        self._inbox.append(run)
        if not self._wake.is_set():
            self._wake.set()

    # The loop

    def _run(self) -> None:
        try:
            self._open()
            while not self._is_done():
                self.beat += 1
                self._wake.clear()
                self._turn()
                if not self._is_done():
                    if self._until_next() >= LONG_ENOUGH_TO_REST:
                        self._rest()
                    self._clock.wait(self._wake, self._until_next())
                    stay_behind(self._term.me.pid)
        except TermLost:
            self.term_lost = True
        except Exception as error:  # noqa: BLE001  # whatever it is, the term must end and say why
            self.fault = f"the scheduler failed: {type(error).__name__}: {error}"
            self._events.emit(ev.EngineFault(self._clock.now(), self._term.app, self.fault))
        finally:
            # What has finished is still to be told, by `settle`; what was decided and never written will not start.
            steps = self._take_steps()
            self._abandon(steps)
            self._unwritten = [step for step in steps if isinstance(step[0], Finish)]
            self._halt_all(self._closing or self.fault or "the term was lost")
            self._runner.stop()
            self.is_over = True
            self.when_over()

    def _open(self) -> None:
        """What a term begins with, tried until the journal answers."""
        while self._closing is None:
            self.beat += 1
            self._wake.clear()
            try:
                self._reconnect()
                marks = self._term.journal.marks()
                found = self._recovery.look(self._clock.now(), first=True)
            except StoreUnavailable as error:
                self._hold(error)
                self._clock.wait(self._wake, LONGEST_WAIT)
                stay_behind(self._term.me.pid)
                continue
            self._desk.open_agenda(marks)
            self._note_lost(found.lost)
            for record in found.queued:
                self._desk.requeue(record)
            for lane in self._lanes.values():
                self._desk.freed(lane)
            if self._recovery.is_watching:
                self._desk.alarm(LOOK_AGAIN, self._look_again)
            self._desk.alarm(TIDY_EVERY, self._tidy)
            return

    def _look_again(self) -> None:
        try:
            found = self._recovery.look(self._clock.now(), first=False)
            self._note_lost(found.lost)
            for lane in found.freed:
                self._desk.freed(lane)
        except StoreUnavailable as error:
            self._hold(error)
        if self._held or self._recovery.is_watching:
            self._desk.alarm(LOOK_AGAIN, self._look_again)

    def _tidy(self) -> None:
        try:
            pruned = self._term.journal.prune(self._term.keep_runs, self._clock.now() - self._term.keep_for)
        except StoreUnavailable as error:
            self._hold(error)
            pruned = 0
        # In small steps: a long one would hold up the runs that are due.
        self._desk.alarm(TIDY_EVERY / 60 if pruned else TIDY_EVERY, self._tidy)

    def _rest(self) -> None:
        try:
            self._term.journal.rest()
        except StoreUnavailable as error:
            self._hold(error)

    def _turn(self) -> None:
        if not self._unwritten:
            if self._closing is not None:
                self._desk.close()
            while self._inbox:
                run = self._inbox.popleft()
                self._runner.finished(run)
                self._desk.finished(run)
            if self._closing is not None:
                self._halt_all(self._closing)
            else:
                self._desk.ring_alarms()
                while self._cancels:
                    self._desk.cancel(self._cancels.popleft())
                while self._requests:
                    self._desk.request(self._requests.popleft())
                self._desk.decide_due()
        steps = self._take_steps()
        if steps:
            self._commit(steps)

    def _commit(self, steps: list[Step]) -> None:
        """Write the batch; then, and only then, act on it. Until then it is *unwritten*, whatever happens."""
        self._unwritten = steps
        if not self._term.holds():
            # In doubt we do not lead.
            raise TermLost(f"term {self._term.number} is over: its lock is no longer ours")
        try:
            self._reconnect()
            accepted = self._term.journal.write(self._term.number, [step[0] for step in steps])
        except StoreUnavailable as error:
            self._hold(error)
            return
        self._unwritten = []
        self._go_on()
        for ok, (_, then, run) in zip(accepted, steps, strict=True):
            if run is not None:
                if not ok:
                    self._desk.refused(run)
                elif then == "start":
                    self._start(run)

    def _abandon(self, steps: list[Step]) -> None:
        """Not started, it must not count as running either."""
        for _, then, run in steps:
            if run is not None and then != "note":
                self._desk.refused(run)

    def _start(self, run: Execution) -> None:
        timeout = run.declared.options.timeout
        if timeout is not None:
            self._desk.alarm(timeout, lambda: self._time_out(run, timeout))
        if self._closing is not None:
            run.halt(self._closing)
        self._runner.start(run)
        self._tell(ev.RunStarted, run)

    def _time_out(self, run: Execution, timeout: float) -> None:
        if self._lanes[run.task_name].running.get(run.run_id) is run and run.outcome is None:
            run.halt(TIMED_OUT)
            self._tell(ev.RunOverdue, run, timeout)

    def _until_next(self) -> float:
        longest = LONGEST_WAIT
        if self._closing is not None:
            longest = min(longest, max(self._give_up_mono - self._clock.mono(), 0.0))
        if self._unwritten:
            return longest
        if self._runner.grow():
            longest = min(longest, 0.1)
        return self._desk.until_next(longest) if self._closing is None else longest

    def _is_done(self) -> bool:
        if self._closing is None:
            return False
        idle = not self._inbox and not self._unwritten and not self.lingering
        return idle or self._clock.mono() >= self._give_up_mono

    def _halt_all(self, why: str) -> None:
        for run in self.lingering:
            run.halt(why)

    # The journal

    def _take_steps(self) -> list[Step]:
        steps = self._unwritten + self._desk.steps if self._unwritten else self._desk.steps
        self._unwritten, self._desk.steps = [], []
        return steps

    def _write_finished(self, steps: list[Step]) -> None:
        entries: list[Entry] = [entry for entry, _, _ in steps if isinstance(entry, Finish)]
        if not entries:
            return
        try:
            # A file that was deleted or replaced knows none of these runs; to be told so is an answer too.
            self._term.journal.open(self._term.me)
            self._term.journal.write(self._term.number, entries)
        except TermLost:
            pass  # the journal writes the outcomes of an older term all the same
        except StoreUnavailable:
            self._unwritten = [(entry, "note", None) for entry in entries]
            raise

    def _note_lost(self, records: Sequence[Any]) -> None:
        now = self._clock.now()
        for record in records:
            self._desk.steps.append((Lost(record.run_id, now), "note", None))
            facts = (record.task, record.run_id, record.slot, record.attempt, record.term)
            self._events.emit(ev.RunLost(now, self._term.app, *facts))

    def _reconnect(self) -> None:
        """After a failure: a file that was deleted or replaced is opened anew, and that one does not know our term."""
        if self._held:
            self._term.journal.open(self._term.me)

    def _hold(self, error: StoreUnavailable) -> None:
        if not self._held:
            self._held = True
            self._events.emit(ev.JournalFailed(self._clock.now(), self._term.app, str(error)))

    def _go_on(self) -> None:
        if self._held:
            self._held = False
            self._events.emit(ev.JournalRecovered(self._clock.now(), self._term.app))

    def _tell(self, kind: type[ev.RunEvent], run: Execution, *more: Any) -> None:
        if self._events.wants(kind):
            facts = (run.task_name, run.run_id, run.slot, run.attempt)
            self._events.emit(kind(self._clock.now(), self._term.app, *facts, *more))
