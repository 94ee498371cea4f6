"""A worker's counter in a process of its own, that does with those who come what a test says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onduty.socketio.peers import COUNTER

OWNER = "owner-11"

_BEGINS = """
import os, signal, sys, time
from pathlib import Path
from onduty.socketio import unix
listener = unix.listen(Path(sys.argv[1]), sys.argv[2])

def compute(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass

def answer(what):
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(what)
    time.sleep(60)

print(flush=True)
"""


@contextmanager
def owner_that(does: str, folder: Path) -> Iterator[None]:
    """It listens in ``folder`` as ``OWNER``, and then runs ``does``."""
    command = [sys.executable, "-c", _BEGINS + does, str(folder), COUNTER + OWNER]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"\n"
            yield
        finally:
            owner.kill()


SLEEPS = "time.sleep(60)"
STOPS = "os.kill(os.getpid(), signal.SIGSTOP)"


def computes(seconds: float, then: bytes) -> str:
    return f"compute({seconds}); answer({then!r})"


def sleeps(seconds: float, then: bytes) -> str:
    return f"time.sleep({seconds}); answer({then!r})"
