"""The journal in this process's memory: every promise of the port, for as long as the process lives.

For tests, for tasks that run in every worker, and for those who can do without history: after a take-over the next
leader knows of nothing that went before.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

from onduty.clock import SECOND
from onduty.errors import StoreUnavailable, TermLost
from onduty.journal import Dynamic, Kind, Mark, Newest, Opening, Request, RunRecord
from onduty.journal.entries import Entry, Finish
from onduty.journal.memory_book import MemoryBook
from onduty.process import ProcessId


class MemoryJournal:
    """``keep``: about how many rows are remembered, of all tasks together; marks and unfinished rows always are."""

    def __init__(self, keep: int = 20_000) -> None:
        self._keep = keep
        self._lock: threading.Lock | None = None
        self._book = MemoryBook(keep)

    def open(self, me: ProcessId) -> None:
        self._book.me = me
        if self._lock is None:
            self._lock = threading.Lock()

    def close(self) -> None:
        self._book.me = None

    def before_fork(self) -> None:
        pass  # there is nothing that a child could share

    def after_fork(self) -> None:
        pass

    def forget_in_child(self) -> None:
        self.__init__(self._keep)  # type: ignore[misc]  # a child begins with nothing

    def set_aside(self, why: str) -> Path:
        raise StoreUnavailable(f"a journal in memory is not {why}, and there is no file of it to set aside")

    # Terms, and what the leader writes in their name

    def term(self) -> int:
        return self._book.term

    def newest(self) -> Newest:
        return Newest(self._book.term, self._book.rows.made)

    def begin_term(self, floor: int, now: int) -> int:
        with self._opened():
            newest = max(floor, self._book.term)
            self._book.term = newest + 1 if newest else max(now // SECOND, 1)
            return self._book.term

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        with self._opened():
            if term != self._book.term:
                self._book.write(term, [entry for entry in entries if type(entry) is Finish])
                raise TermLost(f"term {term} is over: a newer one has begun, and what was to be written was refused")
            return self._book.write(term, entries)

    def set_state(self, term: int, task: str, state: str, schedule: str = "") -> None:
        with self._opened():
            if term != self._book.term:
                raise TermLost(f"term {term} is over: a newer one has begun, and the state of {task} was not changed")
            self._book.set_state(task, schedule, state)

    # What any process asks for

    def request(self, wanted: Request) -> str:
        with self._opened():
            return self._book.request(wanted)

    def requests(
        self,
        tasks: Collection[str] | None = None,
        at_most: int | None = None,
        kind: Kind | None = None,
        before: str | None = None,
    ) -> list[Request]:
        with self._opened():
            return list(islice(self._book.requests.asked(tasks, kind, before), at_most))

    def asked_of(self) -> set[tuple[str, str]]:
        with self._opened():
            return self._book.requests.asked_of()

    def count_asked(self, task: str) -> int:
        with self._opened():
            return sum(1 for _ in self._book.requests.asked((task,), "trigger", None))

    def asked(self, request_id: str) -> Request | None:
        with self._opened():
            return self._book.requests.waiting.get(request_id)

    def set_paused(self, task: str, at: int | None, schedule: str = "") -> None:
        with self._opened():
            self._book.requests.set_paused(task, at, schedule)

    def paused(self) -> dict[tuple[str, str], int]:
        with self._opened():
            return dict(self._book.requests.paused)

    def put_schedule(self, dynamic: Dynamic) -> None:
        with self._opened():
            self._book.requests.put_schedule(dynamic)

    def drop_schedule(self, task: str, key: str) -> bool:
        with self._opened():
            return self._book.drop_schedule(task, key)

    def schedules(self, task: str | None = None) -> list[Dynamic]:
        with self._opened():
            return self._book.requests.schedules(task)

    def revision(self) -> int:
        with self._opened():
            return self._book.requests.revision

    # Reading

    def marks(self) -> dict[tuple[str, str], Mark]:
        with self._opened():
            return self._book.marks()

    def unfinished(self) -> list[RunRecord]:
        with self._opened():
            return self._book.rows.all_unended()

    def opening(self) -> Opening:
        with self._opened():
            book = self._book
            asked = book.requests
            levels = (asked.revision, dict(asked.paused), asked.schedules(None))
            return Opening(book.marks(), *levels, asked.asked_of(), book.rows.all_unended())

    def get(self, run_id: str) -> RunRecord | None:
        with self._opened():
            row = self._book.rows.get(run_id)
            return row.record() if row else None

    def log(self, run_id: str) -> str:
        with self._opened():
            return self._book.rows.logs.get(run_id, "[]")

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        with self._opened():
            return list(islice(self._book.rows.newest_first(task), limit))

    def successes(self, task: str) -> set[str]:
        with self._opened():
            return {key for name, key in self._book.successes if name == task}

    def state(self, task: str, schedule: str = "") -> str:
        with self._opened():
            return self._book.states.get((task, schedule), "{}")

    # Keeping it small

    def prune(self, keep_runs: int, before: int) -> int:
        with self._opened():
            return self._book.rows.prune(keep_runs, before)

    def rest(self) -> None:
        pass

    def _opened(self) -> threading.Lock:
        if self._lock is None or self._book.me is None:
            raise StoreUnavailable("the journal is not open in this process: call open() first")
        return self._lock
