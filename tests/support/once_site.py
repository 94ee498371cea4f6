"""Start ``once_app`` under a server, make it busy, read what its leaders wrote, and judge it."""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onduty.journal import RunRecord
from onduty.journal.sqlite import SqliteJournal
from onduty.process import this_process
from onduty.schedules.interval import Interval
from onduty.testing import Ran, check_facts, check_runs
from support import facts_file
from support.leadership import Fact, Tenure, overlaps, tenures
from support.once_app import EVERY, FACTS
from support.processes import Running, ask, children_of, free_port, start
from support.waiting import eventually


class OnceSite:
    """A folder for lock, journal and facts, and the servers started on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.duty_folder = folder / "duty"
        self.port = free_port()
        self.surroundings = {"PROBE_FOLDER": str(folder), "ONDUTY_DIR": str(self.duty_folder)}
        self._facts: list[Fact] = []

    @property
    def journal(self) -> Path:
        (file,) = self.duty_folder.glob("*/journal.sqlite3")
        return file

    def run(self, *command: str, **env: str) -> Running:
        """``python command...`` with the folder in its environment; a context manager."""
        log = self.folder / "output"
        return start([sys.executable, *command], log=log, env={**self.surroundings, **env}, cwd=self.folder)

    def gunicorn(
        self, kind: str, *options: str, workers: int = 2, app: str = "support.once_app:app", **env: str
    ) -> Running:
        """A server on a port of its own, ``self.port`` until the next one is started."""
        self.port = free_port()
        settings = ["-k", kind, "-w", str(workers), "-b", f"127.0.0.1:{self.port}", "--no-control-socket"]
        if kind == "gthread":
            settings += ["--threads", "8"]
        return self.run("-m", "gunicorn", *settings, *options, app, **env)

    def end(self, server: Running) -> None:
        """As a supervisor does: ask gunicorn, and wait until all of it has gone; but see :meth:`all_serve`."""
        self.all_serve(server)
        server.signal(signal.SIGTERM)
        server.wait(40)

    def all_serve(self, server: Running) -> None:
        """Wait until the master has done all it was told so far, and each living worker has begun to serve.

        gunicorn misses a signal that meets one in the middle of its start: that one goes on, and leads, until the
        master loses patience after 30 s and kills it in the middle of its runs.
        """
        self._nothing_is_left_to_do(server)

        def serving() -> bool:
            ready = {int(pid) for pid in re.findall(r"\[(\d+)\] \[INFO\] .*: worker ready", server.output())}
            return ready >= set(children(server))

        eventually(serving, 20.0, what=f"all workers serve, in {self.folder}")

    @staticmethod
    def _nothing_is_left_to_do(server: Running) -> None:
        """gunicorn queues its signals, and stays with a HUP until the old workers have gone: with ten of them, and
        gevent's workers that look up once a second, the last one's begin to start long after it was sent.

        SIGWINCH does nothing to a master that is no daemon, but is said, in its turn.
        """
        handled = "Handling signal: winch"
        before = server.output().count(handled)
        server.signal(signal.SIGWINCH)
        eventually(lambda: server.output().count(handled) > before, 120.0, what="an end of gunicorn's queue of signals")

    def is_ready(self, count: int) -> None:
        """Wait until so many workers have begun to serve, dead ones included: see :meth:`all_serve`."""
        output = self.folder / "output"
        eventually(lambda: output.read_text().count("worker ready") == count, 20.0, what=f"{count} workers in {output}")

    def facts(self, kind: str = "") -> list[Fact]:
        """What was told so far, of one kind or all, oldest first."""
        self._facts += facts_file.read(self.folder / FACTS, since=len(self._facts))
        return [fact for fact in self._facts if not kind or fact["kind"] == kind]

    def leads(self, *, but: Sequence[int] = (), after: int = 0, timeout: float = 20.0) -> int:
        """Wait for a beat of a leader that is none of ``but``, later than ``after`` (ns); its pid."""

        def leading() -> int | None:
            beats = [fact for fact in self.facts("beat") if fact["pid"] not in but and fact["t"] > after]
            return int(beats[-1]["pid"]) if beats else None

        found = eventually(leading, timeout, what=f"a leader that is none of {list(but)}, in {self.folder}")
        assert found is not None
        return found

    def goes_on(self, kind: str = "beat", **wanted: Any) -> Fact:
        """Wait for one more fact of a kind, told from now on."""
        now = time.monotonic_ns()

        def told() -> Fact | None:
            found = [fact for fact in self.facts(kind) if fact["t"] > now and wanted.items() <= fact.items()]
            return found[0] if found else None

        fact = eventually(told, 20.0, what=f"a new {kind} {wanted or ''} in {self.folder}")
        assert fact is not None
        return fact

    def busy(self, pids: Sequence[int]) -> None:
        """Wait until one of ``pids`` has begun to answer a slow request."""
        eventually(lambda: {fact["pid"] for fact in self.facts("slow")} & set(pids), what=f"a slow request in {pids}")

    def all_goes_on(self, **wanted: Any) -> None:
        """Wait until the service and both tasks have told once more, since now."""
        self.goes_on("beat", **wanted)
        for task in ("tick", "tock"):
            self.goes_on("slot", task=task, **wanted)

    def do(self, deed: str) -> Fact:
        """Have the leader's next run of ``mischief`` do ``deed``; what it told first."""
        draft = self.folder / "draft"
        draft.write_text(deed)
        draft.rename(self.folder / "do")
        return self.goes_on("deed", deed=deed)

    def rows(self, task: str | None = None) -> list[RunRecord]:
        """The journal, newest first."""
        journal = SqliteJournal(self.journal)
        journal.open(this_process())
        try:
            return journal.recent(task, 100_000)
        finally:
            journal.close()

    def check(self, *, overlap: float | None = None, every: float = EVERY) -> list[Tenure]:
        """Once all servers have ended: one leader at any time, every slot once, none forgotten. All tenures.

        ``overlap``: seconds that are forgiven, for a leader whose lock was taken away behind its back.
        """
        facts, rows = self.facts(), self.rows()
        found = tenures(facts)
        together = [pair for pair in overlaps(found) if overlap is None or pair[2] > overlap]
        assert together == [], f"led at the same time: {together}"
        grid_us = round(every * 1_000_000)
        for task, offset in (("tick", 0), ("tock", grid_us // 2)):
            grid, its_rows = Interval(grid_us, offset), [row for row in rows if row.task == task]
            slots = [fact for fact in facts if fact["kind"] == "slot" and fact["task"] == task]
            assert slots, f"{task} never ran"
            ran = [Ran(task, fact["slot"], pid=fact["pid"]) for fact in slots]
            for report in (check_runs(its_rows, grid), check_facts(ran, grid, rows=its_rows)):
                assert report.ok, str(report)
        return found


def children(server: Running) -> list[int]:
    """The living workers of a gunicorn master, or a reloader's child."""
    return children_of(server.pid)


@contextmanager
def load(site: OnceSite, *paths: str) -> Iterator[list[int]]:
    """One client per path asks again and again, and forgives refused connections; the statuses it was answered."""
    over = threading.Event()
    statuses: list[int] = []

    def client(path: str) -> None:
        while not over.is_set():
            try:
                statuses.append(ask(site.port, path)[0])
            except OSError:
                pass  # a killed worker took the connection with it: not what is tested here
            over.wait(0.01)

    clients = [threading.Thread(target=client, args=(path,)) for path in paths]
    for one in clients:
        one.start()
    try:
        yield statuses
    finally:
        over.set()
        for one in clients:
            one.join()
