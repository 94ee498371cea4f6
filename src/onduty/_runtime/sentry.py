"""A standby's eye on the leader: does it still turn its loop, and if the lock has no living owner, who keeps it?"""

from __future__ import annotations

from typing import Any

from onduty import events as ev
from onduty._runtime import policy
from onduty.clock import Clock
from onduty.election import Election
from onduty.errors import StoreUnavailable
from onduty.events import Events
from onduty.process import ProcessId, cpu_seconds, is_alive, is_stopped, kill

HEIRS_AFTER = 1.0
"""Seconds that a dead leader's lock may stay held before it is called inherited."""


class Sentry:
    """``leader``: the last answer of the hub. ``frozen``: *stopped*, *busy* or *blocked*, else ``None``.

    ``newest_term``: the highest number that any leader has named. ``place``: this
    standby's among all, from 0.
    """

    def __init__(self, app: str, clock: Clock, events: Events, election: Election, kill_frozen: bool) -> None:
        self._app = app
        self._clock = clock
        self._events = events
        self._election = election
        self._kill_frozen = kill_frozen
        self.newest_term = 0
        self.place = 0
        self.forget()

    def forget(self) -> None:
        self.leader: dict[str, Any] | None = None
        self.frozen: str | None = None
        self._watch = policy.FrozenWatch()
        self._beat = -1
        self._silent_since: float | None = None
        self._heirs_of: int | None = None

    def hear(self, answers: list[dict[str, Any]]) -> None:
        """What the hub has answered since the last look."""
        for answer in answers:
            if self.leader is not None and answer.get("term") != self.leader.get("term"):
                self.forget()
            self.place = int(answer.pop("place", 0))
            self.leader = answer
            self.newest_term = max(self.newest_term, answer.get("term") or 0)
            self._beat = int(answer.get("beat", 0))
            self._silent_since = None

    def watch(self, mono: float) -> None:
        """Once per question asked: is the leader frozen? Tells of it once, and kills it if that was asked for.

        Without a free descriptor nothing is seen, so nothing is concluded: this worker stays the candidate that it is.
        """
        try:
            if (leader := self._process()) is not None:
                self._watch_over(leader, mono)
        except (OSError, StoreUnavailable):
            self._watch = policy.FrozenWatch()

    def _watch_over(self, leader: ProcessId, mono: float) -> None:
        if is_alive(leader) is False:  # another standby may have killed it a moment ago
            return
        verdict = self._watch.see(policy.Sample(mono, self._beat, cpu_seconds(leader), is_stopped(leader)))
        if verdict.is_frozen and self._has_left(leader):
            self._watch, self.frozen = policy.FrozenWatch(), None
        elif self._kill_frozen and verdict.may_kill():
            killed = kill(leader)
            self._tell_frozen(leader, verdict, killed)
            self._watch = policy.FrozenWatch()
        elif verdict.is_frozen and self.frozen != verdict.state:
            self.frozen = verdict.state
            self._tell_frozen(leader, verdict, killed=False)
        elif verdict.state == "turning" and self.frozen:
            self.frozen = None
            self._events.emit(ev.LeaderThawed(self._clock.now(), self._app, leader.pid))

    def nobody_answers(self, mono: float) -> None:
        """The lock is held and no hub answers: a leader that is just starting, or stopped in that, or a dead one with
        heirs.
        """
        if self._silent_since is None:
            self._silent_since, self._watch = mono, policy.FrozenWatch()
        if mono - self._silent_since < HEIRS_AFTER:
            return
        record = self._election.last()
        if record is None:
            return
        if is_stopped(record.process):
            self._watch_over(record.process, mono)
        else:  # nothing is certain: it may have no hub
            self._watch = policy.FrozenWatch()
        if is_alive(record.process) is False and self._heirs_of != record.process.pid:
            heirs = self._election.heirs()
            if heirs is None:  # it has won, and has not come so far as to say so
                self._silent_since = mono  # not at each look: all processes of the machine are looked through
                return
            self._heirs_of = record.process.pid
            self._events.emit(ev.LockHeldByOthers(self._clock.now(), self._app, record.process.pid, heirs))

    def _has_left(self, process: ProcessId) -> bool:
        """In order, and was suspended before it closed its hub, or while the next one waits for a busy journal.

        A record that says so may be an older copy, or of one who is stopped right before it lets go.
        """
        record = self._election.last()
        has_another = record is not None and (record.clean or record.process != process)
        return has_another and not self._election.is_held_by(process)

    def _process(self) -> ProcessId | None:
        if self.leader is not None:
            return ProcessId.from_dict(self.leader["process"])
        record = self._election.last()
        return record.process if record else None

    def _tell_frozen(self, leader: ProcessId, verdict: policy.Verdict, killed: bool) -> None:
        self._events.emit(
            ev.LeaderFrozen(
                self._clock.now(), self._app, leader.pid, verdict.state, verdict.seconds, killed, self._kill_frozen
            )
        )
