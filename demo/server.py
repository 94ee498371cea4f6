"""The demo's gunicorn: started anew each time, asked over HTTP, stopped with all its workers.

It has a process group of its own, so that Ctrl-C reaches the demo alone, which ends it in order; but not a session of
its own, so that whoever ends a whole session gets it too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import IO, Any, final

REPOSITORY = Path(__file__).resolve().parents[1]
WORKERS = 4


class DemoFailed(Exception):
    """The demo can't go on; the message says why."""


@final
class Server:
    """gunicorn with four gevent workers and ``--preload``, in ``folder``; ``log``: where it writes, else here."""

    def __init__(self, folder: Path, log: IO[bytes] | None = None) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--worker-class", "gevent", "--preload"]
        command += ["--no-control-socket", "--bind", f"127.0.0.1:{self.port}", "demo.app:app"]
        self.command = " ".join(["gunicorn", *command[3:]])
        self._child = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "ONDUTY_DIR": str(folder), "PYTHONPATH": os.pathsep.join(_paths())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=os.setpgrp,  # noqa: PLW1509  # there is one thread only; process_group= is for Python 3.11
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it politely, and what has not ended after 15 s by force."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._child.pid, signal.SIGKILL)
                self._child.wait()

    def wait(self) -> int:
        """Return its exit status when it has ended by itself."""
        return self._child.wait()

    def ready(self, timeout: float = 30.0) -> None:
        """Return when somebody is on duty and every worker is there."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise DemoFailed(f"gunicorn ended at once, with status {self._child.returncode}; see above")
            try:
                about = self.get("/api")
            except OSError:
                about = {}
            if about.get("leader") and len(about["workers"]) == WORKERS:
                return
            time.sleep(0.1)
        raise DemoFailed(f"nobody was on duty within {timeout:g} s of the start")

    def get(self, path: str) -> Any:
        """The JSON answer to a GET; ``OSError`` when there is none."""
        return self._ask("GET", path, {})

    def kill_leader(self) -> None:
        """Press the page's button."""
        self._ask("POST", "/kill", {"X-Demo": "kill"})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except HTTPException as error:
            raise ConnectionError(f"no whole answer: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ConnectionError(f"{method} {path}: {answer.status} {answer.reason}")
        return json.loads(body)


def _paths() -> list[str]:
    # Contributors have gevent-websocket, for tests, and beside it onduty refuses several workers of Socket.IO.
    hidden = REPOSITORY / "tests" / "support" / "without_gevent_websocket"
    return [str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])]


def free_port(first: int = 8000) -> int:
    """The first port from ``first`` on that nobody listens on, and no other demo is about to."""
    for port in range(first, first + 1000):
        mine = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            try:
                mine.bind(f"\0onduty-demo-{port}")  # a name that goes with this process (unix(7))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mine.close()
                continue
            _reserved.append(mine)
            return port
    raise DemoFailed(f"no free port from {first} to {first + 999}")


_reserved: list[socket.socket] = []
