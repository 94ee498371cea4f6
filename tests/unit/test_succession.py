"""Which children of a master are workers that are coming, and which are not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from onduty import process
from onduty.servers._succession import expected_from
from support.shortage import no_free_descriptor
from support.waiting import eventually

pytestmark = pytest.mark.skipif(not process._HAS_PROC, reason="asks /proc")

WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]
OLD_WORKER = """
import os, socket, sys, time
from onduty.servers._succession import expected_from
listener = socket.socket(fileno=int(sys.argv[1]))
expected = expected_from(os.getppid(), [listener.fileno()])
print("here", flush=True)
for line in sys.stdin:
    print(expected(), flush=True)
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def old(listener: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """A worker of ours: this process is its master."""
    number = listener.fileno()
    command = [sys.executable, "-c", OLD_WORKER, str(number)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[number]
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "here\n"
        # Ages are told in hundredths of a second.
        mine = process.children(os.getpid())
        eventually(lambda: time.monotonic() * 100 > max(one.started for one in mine) + 2, what="it is older")
        yield worker
        worker.kill()


def expects(worker: subprocess.Popen[str]) -> bool:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("?\n")
    worker.stdin.flush()
    return worker.stdout.readline() == "True\n"


def test_a_younger_child_with_the_sockets_is_a_successor(old: subprocess.Popen[str], listener: socket.socket) -> None:
    """Until it has died."""
    assert not expects(old)
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as young:
        assert expects(old)
        young.kill()
        young.wait()
        assert not expects(old)


def test_a_helper_without_the_sockets_is_none(old: subprocess.Popen[str]) -> None:
    """Waiting for it would cost a server of one worker as long as patience lasts."""
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE) as helper:
        assert not expects(old)
        helper.kill()


def test_a_master_that_has_closed_its_sockets_sends_nobody(old: subprocess.Popen[str], listener: socket.socket) -> None:
    """It is ending, and its younger workers with it."""
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as young:
        listener.close()
        assert not expects(old)
        young.kill()


def test_who_cannot_be_seen_is_not_waited_for() -> None:
    assert not expected_from(2**22 + 1, [])()


def test_without_a_free_descriptor_nobody_is_waited_for(listener: socket.socket) -> None:
    """It is asked on duty: a fault would end the term, and give its runs no time to end."""
    number = listener.fileno()
    expected = expected_from(os.getpid(), [number])
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE, pass_fds=[number]) as young:
        assert expected()
        with no_free_descriptor():
            assert not expected()
        young.kill()
