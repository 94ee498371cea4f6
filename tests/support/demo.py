"""A running demo and how to talk to it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from support.processes import REPOSITORY, Running, ask, start
from support.waiting import eventually


class Demo:
    """Its process, asked and ordered over HTTP."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.port = int(eventually(lambda: re.findall(r"Open +http://127\.0\.0\.1:(\d+)/", process.output()), 40)[0])

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(ask(self.port, "/api")[1])
        return found

    def post(self, path: str, connection: HTTPConnection | None = None, **headers: str) -> tuple[int, str]:
        connection = connection or HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def followed(self, kills: int) -> dict[str, Any]:
        """Wait until so many kills have been followed by a take-over, and return the last."""

        def last() -> dict[str, Any] | None:
            try:
                passed = self.facts()["takeovers"]
            except OSError:  # the worker that was asked is the one that was killed
                return None
            return passed[-1] if len(passed) == kills and passed[-1]["us"] is not None else None

        return eventually(last, 20, what=f"the take-over after kill {kills}")


@contextmanager
def demo(folder: Path) -> Iterator[Demo]:
    """``python -m demo``, with its files in ``folder``, until the block ends."""
    command = [sys.executable, "-m", "demo"]
    with start(command, cwd=REPOSITORY, log=folder / "log", env={"TMPDIR": str(folder)}) as process:
        yield Demo(process)
