"""Real processes for tests, of which nothing is left over.

:func:`start` runs a command in a session of its own, with its output in a file. Leaving its ``with`` block ends
every process of that session by pid: servers, workers, orphans of a killed master, and whatever they forked.
The leader of the session is reaped last, so that its pid can't name a stranger in the meantime. A process that
makes its own session (a daemon) escapes; nothing here starts one.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import final

from support.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
_dice = random.SystemRandom()  # a seeded one would give parallel test runs the same ports


def free_port() -> int:
    """A TCP port on loopback that nobody listens on.

    Below the range the kernel gives to outgoing connections, so that no client of a busy test run takes it between
    this look and the server's ``bind``.
    """
    while True:
        port = _dice.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def ask(port: int, path: str = "/", timeout: float = 10.0) -> tuple[int, str]:
    """One GET on loopback over a connection of its own: status and body. ``OSError`` when nobody answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except HTTPException as error:
        raise ConnectionError(f"no whole answer: {error!r}") from error
    finally:
        connection.close()


def answers(port: int, path: str = "/") -> bool:
    """Whether a server answers there now; for ``eventually``."""
    try:
        ask(port, path, timeout=2.0)
    except OSError:
        return False
    return True


@final
class Running:
    """A started command and all that lives in its session. Made by :func:`start`; use it as a context manager."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        # Never polled before close(): polling reaps, and a reaped pid may be given to a stranger.
        self._child = child
        self._closed = False
        self.log = log
        self.pid = child.pid

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is not None:
            # pytest shows this beside the failure, where the reason usually stands.
            print(f"--- the last of {self.log}:\n{self.output()[-6000:]}", file=sys.stderr)

    def output(self) -> str:
        """What the session has written so far, standard output and error in one."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the started process alone, as a supervisor would."""
        os.kill(self.pid, number)

    @property
    def has_ended(self) -> bool:
        """Whether the started process is gone; others of its session may live on."""
        return self._exit() is not None

    def wait(self, timeout: float = 20.0) -> int:
        """Return the exit status (negative: the signal that killed it) when the started process has ended."""
        eventually(lambda: self.has_ended, timeout, what=f"the end of process {self.pid}")
        status = self._exit()
        assert status is not None
        return status

    def members(self) -> list[int]:
        """Pids of the living processes of the session, the started one included; zombies do not count."""
        return [] if self._closed else [pid for pid, _, session in _living() if session == self.pid]

    def close(self) -> None:
        """Kill what is left of the session and return when nothing is. Safe to call again.

        At once and without mercy: a test that cares how a server ends asks it to end, and waits, before this.
        """
        if not self._closed:
            eventually(self._killed, 20.0, what=f"the end of session {self.pid}")
            self._child.wait()
            self._closed = True

    def _killed(self) -> bool:
        members = self.members()
        for pid in members:  # again and again: between the look and the kill it may have forked
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not members

    def _exit(self) -> int | None:
        if self._closed:
            return self._child.returncode
        seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status


def start(
    command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Running:
    """Run ``command`` in a session of its own, writing to the file ``log``.

    ``env`` is added to this environment, from which what a surrounding server or test run left behind is taken out;
    the checkout and its ``src`` can be imported. ``cwd`` defaults to the folder of ``log``.
    """
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    paths = [str(REPOSITORY / "src"), str(REPOSITORY / "tests"), surroundings.get("PYTHONPATH", "")]
    surroundings["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A test run in the background of a script ignores SIGINT, and what it starts would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**surroundings, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd or log.parent,
            start_new_session=True,
        )
    return Running(child, log)


def is_living(pid: int) -> bool:
    """Whether a process of that number runs; a zombie does not."""
    return any(pid == other for other, _, _ in _living([str(pid)]))


def stop(pid: int) -> None:
    """SIGSTOP, and wait until it has come to every thread.

    Each goes on until the kernel has told it: with two busy CPUs, 48 of 1,627 processes still began a transaction after
    ``kill`` had returned.
    """
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    eventually(lambda: all(_state(one) == "T" for one in threads.iterdir()), what=f"all threads of {pid} have stopped")


def _state(thread: Path) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return ""  # it has just ended


def children_of(pid: int) -> list[int]:
    """The living children of a process, such as a server's workers; zombies do not count."""
    return sorted(child for child, parent, _ in _living() if parent == pid)


_FOREIGN = ("ONDUTY_", "FLASK_", "GUNICORN_", "WERKZEUG_", "PYTEST_", "SERVER_SOFTWARE", "PYTHONWARNINGS")


def _living(names: Iterable[str] | None = None) -> Iterator[tuple[int, int, int]]:
    """Pid, parent and session of the processes that are neither zombies nor dead (proc(5), ``stat``)."""
    for name in os.listdir("/proc") if names is None else names:
        if not name.isdigit():
            continue
        try:
            stat = Path("/proc", name, "stat").read_text(errors="replace")  # a name may be cut within a letter
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent, _group, session = stat[stat.rindex(")") + 2 :].split()[:4]
        if state not in "ZX":
            yield int(name), int(parent), int(session)
