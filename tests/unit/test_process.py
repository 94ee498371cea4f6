"""One process is told from every other that ever had its number, and killed only if it is that one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from onduty import process
from onduty.process import ProcessId, cpu_seconds, is_alive, is_stopped, kill, this_process
from support.shortage import no_free_descriptor
from support.waiting import eventually

pytestmark = pytest.mark.skipif(not process._HAS_PROC, reason="names a process by /proc")

Start = Callable[..., tuple["subprocess.Popen[bytes]", ProcessId]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that lives until its standard input is closed, and name it; all are gone at the end."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(program: str = "", then: str = "sys.stdin.read()") -> tuple[subprocess.Popen[bytes], ProcessId]:
        code = f"import sys\n{program}\nprint('here', flush=True)\n{then}"
        command = [sys.executable, "-c", code]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        stat = process._stat(child.pid)
        assert stat is not None
        return child, this_process()._replace(pid=child.pid, started=stat.started)

    yield begin
    for child in children:
        child.kill()
        child.communicate()


def test_a_process_knows_its_own_name() -> None:
    """Twice the same, alive, and not stopped."""
    me = this_process()

    assert me == this_process()
    assert me.pid == os.getpid()
    assert me.started > 0
    assert is_alive(me) is True
    assert is_stopped(me) is False


def test_a_name_survives_being_written_down() -> None:
    """As JSON, in the lock file or in a row, and read by another process."""
    me = this_process()

    assert ProcessId.from_dict(json.loads(json.dumps(me.as_dict()))) == me


def test_a_forked_child_has_its_own_name() -> None:
    """Right after the fork it is the child that answers: same host, boot and namespace, another number."""
    program = (
        "import json, os, sys\n"
        "from onduty.process import this_process\n"
        "before = this_process()\n"
        "read, write = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.write(write, json.dumps(this_process().as_dict()).encode()); os._exit(0)\n"
        "os.close(write); os.waitpid(child, 0)\n"
        "print(json.dumps([before.as_dict(), json.loads(os.read(read, 10_000)), child]))\n"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    parent, child, pid = json.loads(answer.stdout)
    assert child["pid"] == pid != parent["pid"]
    assert child["started"] >= parent["started"]
    assert {**child, "pid": 0, "started": 0} == {**parent, "pid": 0, "started": 0}


def test_a_running_process_is_alive_and_a_reaped_one_is_dead(start: Start) -> None:
    """Before and after."""
    child, name = start()
    assert is_alive(name) is True

    child.communicate()

    assert is_alive(name) is False


def test_without_a_free_descriptor_only_the_dead_are_known(start: Start) -> None:
    """Whoever took "not known" for an answer would call the living dead, and begin again what they do."""
    child, name = start()
    ended, of_the_ended = start()
    ended.communicate()
    assert is_alive(name) is True

    with no_free_descriptor() as hoard:
        assert is_alive(of_the_ended) is False
        for look in (is_alive, is_stopped, cpu_seconds):
            with pytest.raises(OSError, match="Too many open files"):
                look(name)
        assert kill(name) is False
        os.close(hoard.pop())
        assert kill(name) is False, "one for its name, and none to look at it"

    assert child.poll() is None
    assert kill(name) is True


def test_a_zombie_is_dead(start: Start) -> None:
    """It runs no code and holds no lock; that its parent has not asked for it yet is nobody's concern here."""
    child, name = start()

    os.kill(child.pid, signal.SIGKILL)

    eventually(lambda: is_alive(name) is False, what="the zombie is seen as dead")
    assert process._stat(child.pid) is not None  # it is still in the table: a zombie, not a reaped process
    assert kill(name) is False


def test_the_living_children_of_a_process_are_named(start: Start) -> None:
    """The zombie among them is not; a process that is not there has none."""
    _, name = start()
    ended, of_the_ended = start()
    os.kill(ended.pid, signal.SIGKILL)
    eventually(lambda: is_alive(of_the_ended) is False, what="a zombie")

    found = process.children(os.getpid())

    assert name in found
    assert ended.pid not in [one.pid for one in found]
    assert process.children(2**22 + 1) == []


def test_a_number_that_was_given_to_another_process_is_not_that_process(start: Start) -> None:
    """The start time tells them apart: the one that is meant is dead, and the other one is not killed for it."""
    child, name = start()
    earlier = name._replace(started=name.started - 1)

    assert is_alive(earlier) is False
    assert is_stopped(earlier) is False
    assert cpu_seconds(earlier) is None
    assert kill(earlier) is False
    assert child.poll() is None
    assert is_alive(name) is True


def test_a_process_of_another_boot_is_dead(start: Start) -> None:
    """No process survives a boot, whatever runs under its number now."""
    child, name = start()
    earlier = name._replace(boot="00000000-0000-0000-0000-000000000000")

    assert is_alive(earlier) is False
    assert kill(earlier) is False
    assert child.poll() is None


@pytest.mark.parametrize(
    "elsewhere", [{"host": "elsewhere.example"}, {"namespace": "pid:[1]"}], ids=["host", "namespace"]
)
def test_a_process_that_cannot_be_seen_from_here_is_not_known(start: Start, elsewhere: dict[str, str]) -> None:
    """On another host or in another container the same number means somebody else: no answer, and no kill."""
    child, name = start()
    far = name._replace(**elsewhere)  # type: ignore[arg-type]

    assert is_alive(far) is None
    assert is_stopped(far) is False
    assert cpu_seconds(far) is None
    assert kill(far) is False
    assert child.poll() is None


def test_the_process_that_is_meant_is_killed(start: Start) -> None:
    """By SIGKILL; and once it is gone the answer is that there was nothing to kill."""
    child, name = start()

    assert kill(name) is True

    assert child.wait(20) == -signal.SIGKILL
    assert kill(name) is False


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_a_number_that_is_no_process_is_dead_and_kills_nobody(pid: int) -> None:
    """Least of all the whole group of the caller, which 0 and -1 mean to kill(2)."""
    nobody = this_process()._replace(pid=pid)

    assert is_alive(nobody) is False
    assert kill(nobody) is False


def test_a_stopped_process_is_told_from_a_waiting_one(start: Start) -> None:
    """Stopped is alive: it holds its lock. Continued, it is not stopped any more."""
    child, name = start()
    assert is_stopped(name) is False

    os.kill(child.pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(name), what="the process is seen as stopped")
    assert is_alive(name) is True

    os.kill(child.pid, signal.SIGCONT)
    eventually(lambda: not is_stopped(name), what="the process goes on")


def test_a_stopped_process_can_be_killed(start: Start) -> None:
    """That is what a standby does to a frozen leader, if it is asked to."""
    child, name = start()
    os.kill(child.pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(name))

    assert kill(name) is True

    assert child.wait(20) == -signal.SIGKILL


def test_a_busy_process_is_told_by_its_processor_time(start: Start) -> None:
    """It grows while the process computes, in whichever thread."""
    program = "import threading, time\nend = time.process_time() + 0.1"
    busy = "threading.Thread(target=lambda: [None for _ in iter(lambda: time.process_time() < end, False)]).start()"
    _, name = start(program, f"{busy}\nsys.stdin.read()")

    eventually(lambda: (cpu_seconds(name) or 0) >= 0.1, 30, what="a tenth of a second is used")


@pytest.mark.parametrize(
    "command", [b"a) b (c", b"caf\xc3", b") R 1 1 1"], ids=["parentheses", "half a character", "a trap"]
)
def test_whatever_a_process_calls_itself_it_is_recognised(start: Start, command: bytes) -> None:
    """The name stands in the middle of what the kernel tells, and may hold anything."""
    child, name = start(f"open('/proc/self/comm', 'wb').write({command!r})")

    assert name.started > 0
    assert is_alive(name) is True
    assert is_stopped(name) is False
    child.communicate()
    assert is_alive(name) is False
