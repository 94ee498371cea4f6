"""The journal in one SQLite file, shared by all workers of a machine.

What it decides is decided inside one ``BEGIN IMMEDIATE`` transaction, so that of any number of processes that claim a
slot one is accepted. After a power cut the newest commits may be gone (``durability="full"`` keeps them, for an fsync
each); a killed process loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onduty.clock import SECOND
from onduty.errors import TermLost
from onduty.journal import REQUEST_SECONDS, Dynamic, Kind, Mark, Newest, Opening, Request, RunRecord
from onduty.journal import sqlite_reading as reading
from onduty.journal import sqlite_requests as asking
from onduty.journal.sqlite_file import Durability, SqliteFile
from onduty.journal.sqlite_opening import nonsense
from onduty.journal.sqlite_session import Mixed, Nonsense, Session
from onduty.process import ProcessId

if TYPE_CHECKING:
    from onduty.journal.entries import Entry
    from onduty.journal.sqlite_entries import Writer
    from onduty.journal.sqlite_file import Offload

Answer = TypeVar("Answer")

_NO_TERM = 2**62
"""No journal comes so far; SQLite's numbers end at twice of it."""


class SqliteJournal:
    """See ``onduty.journal.Journal`` for the promises, and ``SqliteFile`` for the arguments."""

    def __init__(
        self,
        path: str | Path,
        *,
        offload: Offload | None = None,
        durability: Durability = "normal",
        busy_seconds: float = 10.0,
    ) -> None:
        self._file = SqliteFile(path, offload=offload, durability=durability, busy_seconds=busy_seconds)
        self._me = ""
        self._writer: Writer | None = None
        self._begun: tuple[int, tuple[int, int]] | None = None
        """The last term begun here, and the file it was begun in."""
        self._opening: tuple[Session, tuple[int, int], Opening] | None = None
        """What that term begins with, read while it was begun, for whoever asks first; and of which version that is."""

    def open(self, me: ProcessId) -> None:
        self._me = json.dumps(me.as_dict(), sort_keys=True)
        self._writer = None
        self._file.open()

    def close(self) -> None:
        self._file.close()

    def before_fork(self) -> None:
        self._file.before_fork()

    def after_fork(self) -> None:
        self._file.after_fork()

    def forget_in_child(self) -> None:
        self._file.forget_in_child()

    def set_aside(self, why: str) -> Path:
        return self._file.set_aside(why)

    # Terms, and what the leader writes in their name

    def term(self) -> int:
        return self._file.read(reading.newest_term)

    def newest(self) -> Newest:
        return self._file.read(reading.newest)

    def begin_term(self, floor: int, now: int) -> int:
        def work(session: Session) -> tuple[int, tuple[Session, tuple[int, int], Opening]]:
            session.places.clear()  # another leader may have renamed a task since
            newest = max(floor, reading.newest_term(session))
            if newest >= _NO_TERM:
                raise nonsense(self._file.path, Nonsense(f"term {newest}"))
            number = newest + 1 if newest else max(now // SECOND, 1)
            session.cursor.execute(
                "insert into terms select ?, ?, ?, coalesce(max(id), 0) + 1 from runs", (number, self._me, now)
            )
            try:
                # Whoever takes over waits for no other question.
                return number, (session, session.version(), _opening(session))
            except Nonsense as error:
                raise nonsense(self._file.path, error) from error

        number, self._opening = self._file.write(work)
        self._begun = number, self._opening[0].inode
        return number

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        writer = self._leaders_hand()

        def work(session: Session, write: Callable[..., list[bool]] = writer.write) -> list[bool] | None:
            if self._is_newest(session, term):
                return write(session, term, entries)
            writer.write_late(session, term, entries)
            return None

        try:
            accepted = self._file.write(work)
        except Mixed:
            accepted = self._file.write(lambda session: work(session, writer.write_each))
        if accepted is None:
            raise TermLost(f"term {term} is over: a newer one has begun, and what was to be written was refused")
        return accepted

    def set_state(self, term: int, task: str, state: str, schedule: str = "") -> None:
        writer = self._leaders_hand()

        def work(session: Session) -> None:
            if not self._is_newest(session, term):
                raise TermLost(f"term {term} is over: a newer one has begun, and the state of {task} was not changed")
            writer.set_state(session, task, schedule, state)

        self._file.write(work)

    def _is_newest(self, session: Session, term: int) -> bool:
        """A copy of the file that was put in its place knows the term, but not all that was written in it since."""
        return reading.newest_term(session) == term and (
            not self._begun or self._begun[0] != term or self._begun[1] == session.inode
        )

    def _write_soon(self, work: Callable[[Session], Answer]) -> Answer:
        return self._file.write_within(REQUEST_SECONDS, work)

    def _leaders_hand(self) -> Writer:
        writer = self._writer  # another thread may open it anew
        if writer is None:
            from onduty.journal.sqlite_entries import Writer  # here: most workers never lead

            writer = self._writer = Writer(self._me)
        return writer

    # What any process asks for

    def request(self, wanted: Request) -> str:
        return self._write_soon(lambda session: asking.request(session, wanted))

    def requests(
        self,
        tasks: Collection[str] | None = None,
        at_most: int | None = None,
        kind: Kind | None = None,
        before: str | None = None,
    ) -> list[Request]:
        return self._file.read(lambda session: asking.requests(session, tasks, at_most, kind, before))

    def asked_of(self) -> set[tuple[str, str]]:
        return self._file.read(asking.asked_of)

    def count_asked(self, task: str) -> int:
        return self._file.read(lambda session: asking.count_asked(session, task))

    def asked(self, request_id: str) -> Request | None:
        return self._file.read(lambda session: asking.asked(session, request_id))

    def set_paused(self, task: str, at: int | None, schedule: str = "") -> None:
        def work(session: Session) -> None:
            if at is None:
                asking.resume(session, task, schedule)
            else:
                asking.pause(session, task, at, schedule)

        self._write_soon(work)

    def paused(self) -> dict[tuple[str, str], int]:
        return self._file.read(asking.paused)

    def put_schedule(self, dynamic: Dynamic) -> None:
        self._write_soon(lambda session: asking.put_schedule(session, dynamic))

    def drop_schedule(self, task: str, key: str) -> bool:
        return self._write_soon(lambda session: asking.drop_schedule(session, task, key))

    def schedules(self, task: str | None = None) -> list[Dynamic]:
        return self._file.read(lambda session: asking.schedules(session, task))

    def revision(self) -> int:
        return self._file.read(asking.revision)

    # Reading

    def marks(self) -> dict[tuple[str, str], Mark]:
        return self._file.read(reading.marks)

    def unfinished(self) -> list[RunRecord]:
        return self._records(reading.UNFINISHED)

    def opening(self) -> Opening:
        def work(session: Session) -> Opening:
            with reading.one_moment(session):
                return _opening(session)

        known, self._opening = self._opening, None
        if known is not None and self._file.is_as_it_was(known[0], known[1]):
            return known[2]
        return self._file.read(work)

    def get(self, run_id: str) -> RunRecord | None:
        found = self._records(reading.ONE, run_id)
        return found[0] if found else None

    def log(self, run_id: str) -> str:
        return self._file.read(lambda session: reading.log(session, run_id))

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        if task is None:
            return self._records(reading.RECENT, limit)
        return self._records(reading.RECENT_OF_TASK, task, limit)

    def successes(self, task: str) -> set[str]:
        return self._file.read(lambda session: reading.successes(session, task))

    def state(self, task: str, schedule: str = "") -> str:
        return self._file.read(lambda session: reading.state(session, task, schedule))

    def _records(self, query: str, *values: str | int) -> list[RunRecord]:
        return self._file.read(lambda session: reading.records(session, query, *values))

    # Keeping it small and quick

    def prune(self, keep_runs: int, before: int) -> int:
        from onduty.journal.sqlite_pruning import prune  # as above

        return self._file.write(lambda session: prune(session, keep_runs, before))

    def rest(self) -> None:
        self._file.checkpoint()


def _opening(session: Session) -> Opening:
    levels = (asking.revision(session), asking.paused(session), asking.schedules(session, None))
    unfinished = reading.records(session, reading.UNFINISHED)
    return Opening(reading.marks(session), *levels, asking.asked_of(session), unfinished)
