"""The processes that are measured: started in a session of their own, heard by datagrams, ended by pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Absent(Exception):
    """A program that is needed for the other side is not on this machine."""


_bytecode = tempfile.TemporaryDirectory(prefix="onduty-bytecode-")


def surroundings() -> dict[str, str]:
    """The environment, with bytecode kept, as that of an installed package is, whatever this shell says of it."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**environ, "PYTHONPYCACHEPREFIX": _bytecode.name}


class Bell:
    """Where the measured processes ring: a datagram each, stamped by the sender with the machine's monotonic clock."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / f"bell-{time.monotonic_ns()}")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(self.path)
        self.heard: list[dict[str, Any]] = []

    def listen(self, seconds: float = 0.0) -> None:
        """Take what has come, and what comes within ``seconds``."""
        until = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(until - time.monotonic(), 0.0001))
            try:
                self.heard.append(json.loads(self._socket.recv(4096)))
            except TimeoutError:
                return

    def wait(self, wanted: Callable[[dict[str, Any]], bool], since: int = 0, seconds: float = 30.0) -> dict[str, Any]:
        """The first message from number ``since`` on that is ``wanted``."""
        until = time.monotonic() + seconds
        while True:
            for one in self.heard[since:]:
                if wanted(one):
                    return one
            since = len(self.heard)
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not heard within {seconds} s; the last messages: {self.heard[-5:]}")
            self._socket.settimeout(left)
            try:
                self.heard.append(json.loads(self._socket.recv(4096)))
            except TimeoutError:
                continue

    def close(self) -> None:
        self._socket.close()


class Gunicorn:
    """One gunicorn of ``app`` in a process group of its own.

    ``side``: which of its sides the app is to be, as its module says. ``more`` is told the app as ``BENCH_…``;
    ``preload`` is told gunicorn too, and so are ``options``.
    """

    def __init__(
        self,
        side: str,
        folder: Path,
        *,
        workers: int,
        kind: str = "gthread",
        app: str = "benchmarks.app:app",
        options: Sequence[str] = (),
        **more: str,
    ) -> None:
        self.workers = workers
        self.port = free_port()
        self.bell = Bell(folder)
        environ = {
            **surroundings(),
            "BENCH_SIDE": side,
            "BENCH_KIND": kind,
            "BENCH_BELL": self.bell.path,
            "BENCH_DIR": str(folder / f"{side}-{self.port}"),
            **{f"BENCH_{name.upper()}": value for name, value in more.items()},
        }
        command = [sys.executable, "-m", "gunicorn", "-w", str(workers), "-k", kind, "--bind", f"127.0.0.1:{self.port}"]
        command += ["--timeout", "600", "--log-level", "error", "--backlog", "2048"]
        if kind == "gthread":
            command += ["--threads", "4"]
        if more.get("preload"):
            command.append("--preload")
        if "--no-control-socket" in _options():
            command.append("--no-control-socket")
        self.log = folder / f"{side}-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *options, app], cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self) -> None:
        """Every worker serves. The first server of a run compiles all it imports, in each of its workers."""
        since = 0
        for _ in range(self.workers):
            try:
                ready = self.bell.wait(lambda one: one["what"] == "ready", since, 90)
            except TimeoutError:
                raise RuntimeError(self.log.read_text(errors="replace")[-2000:]) from None
            since = self.bell.heard.index(ready) + 1

    def pids(self) -> list[int]:
        """The workers that live."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def freeze(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        """Our own process group, made with this server: none but its processes are in it."""
        self.thaw()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.bell.close()


@contextmanager
def gunicorn(side: str, folder: Path, *, workers: int, **more: Any) -> Iterator[Gunicorn]:
    """A server whose workers are all ready, ended at the end."""
    server = Gunicorn(side, folder, workers=workers, **more)
    try:
        server.wait_ready()
        yield server
    finally:
        server.end()


def side(module: str, *args: str) -> subprocess.Popen[str]:
    """``python -m benchmarks.<module> args``: one side of a comparison, in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *args]
    return subprocess.Popen(command, cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> Any:
    """The JSON that a :func:`side` printed in its last line."""
    out, _ = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return json.loads(out.splitlines()[-1])


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_known_options: list[str] = []


def _options() -> str:
    if not _known_options:
        shown = subprocess.run([sys.executable, "-m", "gunicorn", "--help"], capture_output=True, text=True, check=True)
        _known_options.append(shown.stdout)
    return _known_options[0]
