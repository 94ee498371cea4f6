"""The journal as one process comes to it: through the weather, by crash points, and to the file it has opened."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from onduty.errors import JournalBusy, JournalDamaged, StoreFull, StoreUnavailable, TermLost
from onduty.journal import Dynamic, Kind, Mark, Newest, Opening, Request, RunRecord
from onduty.journal.entries import Entry, Finish
from onduty.process import ProcessId
from onduty.testing.simulator.process import Process
from onduty.testing.simulator.store import Store
from onduty.testing.simulator.weather import Weather


class Door:
    """Satisfies ``onduty.journal.Journal``. ``is_full``: the last write found no room."""

    def __init__(self, process: Process, store: Store, weather: Weather) -> None:
        self._process = process
        self._store = store
        self._weather = weather
        self._identity: int | None = None
        self._begun: tuple[int, int | None] = (0, None)
        self.is_full = False

    @property
    def is_stale(self) -> bool:
        """Whether the file was replaced a moment ago: what was written into the last one may still be acted on."""
        return self._identity != self._store.identity

    def open(self, me: ProcessId) -> None:
        if self._store.damage is not None:
            raise JournalDamaged(self._store.damage)
        self._identity = self._store.identity

    def close(self) -> None:
        self._identity = None

    def before_fork(self) -> None:
        raise NotImplementedError("a simulated process does not fork")

    def after_fork(self) -> None:
        raise NotImplementedError("a simulated process does not fork")

    def forget_in_child(self) -> None:
        self._identity = None

    def set_aside(self, why: str) -> Path:
        self._process.crash_point("before it sets the journal aside")
        self._store.begin_anew()
        self._process.tell("sets the journal aside")
        return Path("aside")

    def _read(self, method: str, *args: Any) -> Any:
        self._look()
        if self._weather.strike() in {"refused", "busy"}:
            raise StoreUnavailable("the file can't be read")
        return getattr(self._store.journal, method)(*args)

    def _write(self, method: str, *args: Any) -> Any:
        process = self._process
        self._look()
        blow = self._weather.strike()
        if blow in {"refused", "full"}:
            self.is_full = self.is_full or blow == "full"
            raise StoreFull("no room") if blow == "full" else StoreUnavailable("the file can't be written")
        if blow == "busy":
            raise JournalBusy("somebody else is writing")
        process.crash_point(f"before its {method} is done")
        if blow == "late":
            process.wait(process.world.random.uniform(0.05, 4))
        self._look()  # it may have been stopped, and another file may lie there by now
        try:
            answer = self._store.change(process.me, method, args)
        finally:
            process.crash_point(f"after its {method} was done")
        if blow == "late after":
            process.wait(process.world.random.uniform(0.05, 4))
        if blow == "unanswered":
            process.tell(f"gets no answer to its {method}, which was done")
            raise StoreUnavailable("the answer never came")
        if method == "write":
            self.is_full = False
        return answer

    def _look(self) -> None:
        if self._store.damage is not None:
            raise JournalDamaged(self._store.damage)
        if self.is_stale:
            raise StoreUnavailable("the file was deleted or replaced: open() begins with the new one")

    def _is_of_another_file(self, term: int) -> bool:
        """As the journal on SQLite finds out: a copy may know the term, but not all that was written in it."""
        return self._begun[0] == term and self._begun[1] != self._identity

    # The port

    def term(self) -> int:
        return int(self._read("term"))

    def begin_term(self, floor: int, now: int) -> int:
        term = int(self._write("begin_term", floor, now))
        self._begun = (term, self._identity)
        return term

    def write(self, term: int, entries: Sequence[Entry]) -> list[bool]:
        if self._is_of_another_file(term):
            self._write("write", term, [entry for entry in entries if isinstance(entry, Finish)])
            raise TermLost("it was begun in the file that this one has replaced")
        accepted: list[bool] = self._write("write", term, entries)
        return accepted

    def set_state(self, term: int, task: str, state: str, schedule: str = "") -> None:
        if self._is_of_another_file(term):
            raise TermLost("it was begun in the file that this one has replaced")
        self._write("set_state", term, task, state, schedule)

    def request(self, wanted: Request) -> str:
        return str(self._write("request", wanted))

    def newest(self) -> Newest:
        found: Newest = self._read("newest")
        return found

    def requests(
        self,
        tasks: Collection[str] | None = None,
        at_most: int | None = None,
        kind: Kind | None = None,
        before: str | None = None,
    ) -> list[Request]:
        found: list[Request] = self._read("requests", tasks, at_most, kind, before)
        return found

    def asked_of(self) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = self._read("asked_of")
        return found

    def count_asked(self, task: str) -> int:
        return int(self._read("count_asked", task))

    def asked(self, request_id: str) -> Request | None:
        found: Request | None = self._read("asked", request_id)
        return found

    def set_paused(self, task: str, at: int | None, schedule: str = "") -> None:
        self._write("set_paused", task, at, schedule)

    def paused(self) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = self._read("paused")
        return found

    def put_schedule(self, dynamic: Dynamic) -> None:
        self._write("put_schedule", dynamic)

    def drop_schedule(self, task: str, key: str) -> bool:
        return bool(self._write("drop_schedule", task, key))

    def schedules(self, task: str | None = None) -> list[Dynamic]:
        found: list[Dynamic] = self._read("schedules", task)
        return found

    def revision(self) -> int:
        return int(self._read("revision"))

    def marks(self) -> dict[tuple[str, str], Mark]:
        found: dict[tuple[str, str], Mark] = self._read("marks")
        return found

    def unfinished(self) -> list[RunRecord]:
        found: list[RunRecord] = self._read("unfinished")
        return found

    def opening(self) -> Opening:
        found: Opening = self._read("opening")
        return found

    def get(self, run_id: str) -> RunRecord | None:
        found: RunRecord | None = self._read("get", run_id)
        return found

    def log(self, run_id: str) -> str:
        return str(self._read("log", run_id))

    def recent(self, task: str | None = None, limit: int = 20) -> list[RunRecord]:
        found: list[RunRecord] = self._read("recent", task, limit)
        return found

    def successes(self, task: str) -> set[str]:
        found: set[str] = self._read("successes", task)
        return found

    def state(self, task: str, schedule: str = "") -> str:
        return str(self._read("state", task, schedule))

    def prune(self, keep_runs: int, before: int) -> int:
        return int(self._write("prune", keep_runs, before))

    def rest(self) -> None:
        pass
