"""What the journal has accepted, kept beside it entry by entry, and the promises that it alone can break.

* A write of an older term is refused, all but the outcomes.
* A row ends once, and does not begin after that.
* Requests become runs in the order in which they were written.
* A key is in progress once, and a once key succeeds once.

What is promised of slots is in ``lines``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from onduty.journal import Journal, Outcome, Request
from onduty.journal.entries import Again, Answered, Begin, Claim, Entry, Era, Finish, Lost, Passed, Seen
from onduty.process import ProcessId
from onduty.testing.simulator.lines import Lines
from onduty.testing.simulator.world import World


class Row:
    """One run as the journal has it; ``since``: when, in true time, it came to be as it is. ``era``: of its slot."""

    __slots__ = ("attempt", "claim", "era", "outcome", "process", "retries", "since")

    def __init__(self, claim: Claim, process: ProcessId, era: int, since: int) -> None:
        self.claim = claim
        self.process = process
        self.era = era
        self.attempt = int(claim.begin)
        self.retries = False
        self.outcome: Outcome | None = None
        self.since = since


class Ledger:
    """``rows`` of runs by id. ``waiting``: requests that nobody has answered. ``asked``: their places in the order."""

    def __init__(self, world: World, journal: Journal) -> None:
        self._world = world
        self._journal = journal
        self._keyed: dict[tuple[str, str], str] = {}
        self._succeeded: set[tuple[str, str]] = set()
        self._ranges: set[str] = set()
        self._cancels: list[Request] = []  # that are answered with what is written just now, before or after it
        self.term = 0
        self.lines = Lines(world)
        self.rows: dict[str, Row] = {}
        self.waiting: dict[str, Request] = {}
        self.asked: dict[str, int] = {}

    # What the store tells after each change

    def saw_begin_term(self, me: ProcessId, term: int, floor: int, now: int) -> None:
        self.term = term

    def saw_write(self, me: ProcessId, accepted: list[bool], term: int, entries: Sequence[Entry]) -> None:
        self._fence(term)
        answered = {entry.request_id for entry in entries if type(entry) is Answered}
        self._cancels = [one for one in self.waiting.values() if one.kind == "cancel" and one.id in answered]
        for ok, entry in zip(accepted, entries, strict=True):
            if type(entry) is Seen:
                self.lines.seen(entry, accepted=ok)
            elif ok and type(entry) in self._LOOKS:
                self._LOOKS[type(entry)](self, me, entry)

    def saw_set_state(self, me: ProcessId, answer: None, term: int, task: str, state: str, schedule: str) -> None:
        self._fence(term)

    def saw_request(self, me: ProcessId, answer: str, wanted: Request) -> None:
        if answer == wanted.id and answer not in self.rows and answer not in self.asked:
            self.waiting[answer] = wanted
            self.asked[answer] = len(self.asked)

    def saw_refusal(self, term: int, entries: Sequence[Entry]) -> None:
        """Of an older term: outcomes may have been written all the same."""
        for entry in entries:
            if type(entry) is not Finish or entry.run_id not in self.rows:
                continue
            record = self._journal.get(entry.run_id)
            if record is not None and record.outcome is not None and self.rows[entry.run_id].outcome is None:
                self._end(entry.run_id, record.outcome)

    def _fence(self, term: int) -> None:
        if term != self.term:
            self._world.violate(f"A write of term {term} was accepted, yet the journal's term is {self.term}.")

    # One look at each kind of entry

    def _claim(self, me: ProcessId, claim: Claim) -> None:
        if claim.run_id in self.rows:  # asked again, for the answer had been lost
            self.lines.repeated(claim, claim.slot)
            return
        era = self.lines.of(claim.task, claim.schedule).era
        self.rows[claim.run_id] = Row(claim, me, era, self._world.now)
        if claim.key is not None:
            self._keep_key(claim, (claim.task, claim.key))
        if claim.slot is None:
            self._answer_request(claim)
        else:
            self.lines.claimed(claim, claim.slot)

    def _keep_key(self, claim: Claim, place: tuple[str, str]) -> None:
        if place in self._keyed:
            self._world.violate(f"A key is in progress once, yet {claim.run_id} came beside {self._keyed[place]}.")
        if claim.once and place in self._succeeded:
            self._world.violate(f"A once key succeeds once, yet {claim.task} is run again for {claim.key}.")
        self._keyed[place] = claim.run_id

    def _answer_request(self, claim: Claim) -> None:
        if self.waiting.pop(claim.run_id, None) is None:
            return
        of_task = [one for one in (*self.waiting.values(), *self._cancels) if one.task == claim.task]
        if any(one.kind == "cancel" and one.target in (None, claim.run_id) for one in of_task):
            return  # it has a row, and never begins
        first = next((one for one in of_task if one.kind == "trigger"), None)
        if first is not None and self.asked[first.id] < self.asked[claim.run_id] and first.key is None:
            self._world.violate(f"Requests are taken in order, yet {claim.run_id} became a run before {first.id}.")

    def _passed(self, me: ProcessId, passed: Passed) -> None:
        if passed.run_id in self._ranges:
            self.lines.repeated(passed, passed.last)
            return
        self._ranges.add(passed.run_id)
        self.lines.passed(passed)

    def _begin(self, me: ProcessId, begin: Begin) -> None:
        row = self.rows[begin.run_id]
        if row.outcome is not None:
            self._world.violate(f"What has ended does not begin, yet {begin.run_id} did.")
        row.attempt, row.process, row.retries, row.since = begin.attempt, me, False, self._world.now

    def _again(self, me: ProcessId, again: Again) -> None:
        row = self.rows[again.run_id]
        row.retries, row.since = True, self._world.now

    def _finish(self, me: ProcessId, finish: Finish) -> None:
        self._end(finish.run_id, finish.outcome)

    def _lost(self, me: ProcessId, lost: Lost) -> None:
        if lost.again:
            row = self.rows[lost.run_id]
            row.retries, row.since = True, self._world.now
        else:
            self._end(lost.run_id, Outcome.LOST)

    def _era(self, me: ProcessId, era: Era) -> None:
        self.lines.era(era)

    def _answered(self, me: ProcessId, answered: Answered) -> None:
        self.waiting.pop(answered.request_id, None)

    def _end(self, run_id: str, outcome: Outcome) -> None:
        row = self.rows[run_id]
        if row.outcome is outcome and not row.attempt:
            return  # it was pruned before the answer came: that it never began is written once more
        if row.outcome is not None:
            self._world.violate(f"A run ends once, yet {run_id} is {outcome.value} after it was {row.outcome.value}.")
        row.outcome, row.since = outcome, self._world.now
        claim = row.claim
        if claim.key is None:
            return
        place = (claim.task, claim.key)
        self._keyed.pop(place, None)
        if claim.once and outcome is Outcome.SUCCEEDED:
            if place in self._succeeded:
                self._world.violate(f"A once key succeeds once, yet {claim.task} did twice for {claim.key}.")
            self._succeeded.add(place)

    _LOOKS: ClassVar[dict[type, Any]] = {
        Claim: _claim,
        Begin: _begin,
        Again: _again,
        Finish: _finish,
        Lost: _lost,
        Passed: _passed,
        Era: _era,
        Answered: _answered,
    }
