"""Which process is this, and is that one still the same and alive?

A pid alone names nothing for long: it is reused, and it means another process in another container. So a
process is named by boot, pid namespace, pid and start time together. Outside Linux, where ``/proc`` is
missing, the name is host and pid, and questions that need more are answered "not known" (``None``).
"""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple


class ProcessId(NamedTuple):
    """One process, for good: two processes that ever existed on one machine differ in this.

    ``started`` is in clock ticks since boot (proc(5), field 22 of ``stat``); 0 where there is no ``/proc``.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: int

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ProcessId":
        return cls(str(data["host"]), str(data["boot"]), str(data["namespace"]), int(data["pid"]), int(data["started"]))


def this_process() -> ProcessId:
    """The process that asks; right after a fork it is the child."""
    return _named(os.getpid())


@lru_cache(maxsize=1)
def _named(pid: int) -> ProcessId:
    """Asked for again with each request: reading ``/proc`` was a fifth of what one costs."""
    stat = _stat(pid)
    return ProcessId(*_place(), pid=pid, started=stat.started if stat else 0)


def is_alive(process: ProcessId) -> bool | None:
    """Whether that very process still runs. ``None``: it can't be seen from here (other host or container).

    A zombie is dead: it runs no code and holds no lock, its parent has merely not asked for it yet.

    Raises:
        OSError: Something has that number, and can't be looked at for now; there is no free descriptor, as a rule.
    """
    host, boot, namespace = _place()
    if process.host != host:
        return None
    if process.boot != boot:
        return False
    if process.namespace != namespace:
        return None
    try:
        stat = _stat(process.pid)
    except OSError:
        if not _answers(process.pid):
            return False
        raise
    if stat is None:
        return False if _HAS_PROC else _answers(process.pid)
    return stat.started == process.started and stat.state not in "ZX"


def children(pid: int) -> list[ProcessId]:
    """The living children of a process seen from here; empty where the kernel does not list them (proc(5))."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = listed.read_text().split()
        except OSError:
            continue  # gone meanwhile
        for child in map(int, pids):
            stat = _stat(child)
            if stat is not None and stat.state not in "ZX":
                found.append(ProcessId(*_place(), pid=child, started=stat.started))
    return found


def is_stopped(process: ProcessId) -> bool:
    """Whether that process is held by SIGSTOP or a tracer. Certain when true."""
    stat = _stat(process.pid)
    return bool(is_alive(process) and stat and stat.state in "Tt")


class Doing(NamedTuple):
    """``stopped``: by SIGSTOP or a tracer. ``runs``: its first thread is on a processor, or waits for one.

    ``cpu_seconds``: processor time it has used in all its threads.
    """

    stopped: bool
    runs: bool
    cpu_seconds: float


def doing(pid: int) -> Doing | None:
    """What the process with that number does now; ``None`` when it can't be seen from here.

    Raises:
        OSError: It can't be looked at for now; there is no free descriptor, as a rule.
    """
    stat = _stat(pid)
    return Doing(stat.state in "Tt", stat.state == "R", stat.cpu_seconds) if stat else None


def cpu_seconds(process: ProcessId) -> float | None:
    """Processor time that process has used in all its threads; ``None`` when it can't be seen."""
    stat = _stat(process.pid)
    return stat.cpu_seconds if stat and is_alive(process) else None


def kill(process: ProcessId) -> bool:
    """SIGKILL that very process and no other; ``False`` when it is gone or can't be named with certainty.

    The pid is pinned by a pidfd before the name is compared, so a pid reused in between is not hit.
    """
    import signal  # turns constants into enums when loaded, and few ever kill

    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return False
    try:
        pidfd = os.pidfd_open(process.pid)
    except (OSError, OverflowError):  # gone, or a number that never was a process
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return True
    except OSError:  # gone meanwhile, or not to be looked at
        return False
    finally:
        os.close(pidfd)


class _Stat(NamedTuple):
    state: str
    cpu_seconds: float
    started: int


_HAS_PROC = Path("/proc/self/stat").exists()


def _stat(pid: int) -> _Stat | None:
    try:
        # Whoever names a process may cut a character in two; the name is not what we look for.
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError):
        return None
    # The command name stands in parentheses and may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    ticks = int(fields[11]) + int(fields[12])
    return _Stat(state=fields[0], cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"), started=int(fields[19]))


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@lru_cache(maxsize=1)
def _place() -> tuple[str, str, str]:
    """Host, boot and pid namespace. A fork shares all three, so caching over it is right."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = ""
    return socket.gethostname(), boot, namespace
