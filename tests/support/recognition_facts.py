"""Start ``recognition_probe`` under a server and read what it wrote down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from support import facts_file
from support.processes import Running, answers, children_of, free_port, start
from support.waiting import eventually

PROGRAM = Path(__file__).with_name("recognition_probe.py")


class Site:
    """One server of the probe app: where it listens, what it told, who serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.facts_file = folder / "facts.jsonl"
        self.process: Running

    def run(self, *command: str | Path, **env: str) -> Running:
        """Start ``python command...`` in the folder; a context manager, as :func:`support.processes.start`."""
        surroundings = {"PROBE_FACTS": str(self.facts_file), **env}
        self.process = start([sys.executable, *command], log=self.folder / "output", env=surroundings, cwd=self.folder)
        return self.process

    def gunicorn(self, kind: str, *options: str, app: str = "support.recognition_probe:app", **env: str) -> Running:
        """gunicorn with two workers of a kind; its control socket is one per user, so it stays out."""
        address = f"127.0.0.1:{self.port}"
        settings = ["-k", kind, "-w", "2", "-b", address, "--no-control-socket", "--graceful-timeout", "5"]
        return self.run("-m", "gunicorn", *settings, *options, app, **env)

    def program(self, way: str, **env: str) -> Running:
        """``python recognition_probe.py way port``."""
        return self.run(PROGRAM, way, str(self.port), **env)

    def facts(self, event: str = "") -> list[dict[str, Any]]:
        """What was told so far, of one event or all, oldest first."""
        facts = facts_file.read(self.facts_file)
        return [fact for fact in facts if not event or fact["event"] == event]

    def pids(self, event: str) -> list[int]:
        """Who told ``event``, once per telling, sorted."""
        return sorted(fact["pid"] for fact in self.facts(event))

    def why(self, event: str, pid: int) -> str:
        """The first reason that process gave."""
        return next(str(fact["why"]) for fact in self.facts(event) if fact["pid"] == pid)

    def children(self) -> list[int]:
        """The living children of the started process: workers, or the reloader's child."""
        return children_of(self.process.pid)

    def started(self, count: int, timeout: float = 20.0) -> list[int]:
        """Wait until ``count`` processes have started their crew, and return all of them."""

        def enough() -> bool:
            if self.process.has_ended:
                raise RuntimeError("the server ended instead")
            return len(self.pids("start")) >= count

        eventually(enough, timeout, what=f"{count} starts in {self.folder}")
        return self.pids("start")

    def gone(self, *pids: int, events: tuple[str, ...] = ("leave", "stop"), timeout: float = 15.0) -> None:
        """Wait until each of ``pids`` has told each of ``events``."""
        eventually(
            lambda: all(set(pids) <= set(self.pids(event)) for event in events),
            timeout,
            what=f"{events} of {pids} in {self.folder}",
        )

    def answering(self, path: str = "/") -> None:
        """Wait until somebody answers."""
        eventually(lambda: answers(self.port, path), 20.0, what=f"an answer on port {self.port}")
