"""Whatever the app does to its own process, its worker goes on duty again. Each case is a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, resource, sys, time
{before}
from onduty import OnDuty

duty = OnDuty(lambda environ, start_response: [], name="shop", dir=sys.argv[1])
turns = []

@duty.every(seconds=0.1)
def tick():
    turns.append(1)

def goes_on():
    deadline, more = time.monotonic() + 30, len(turns) + 2
    while len(turns) < more:
        assert time.monotonic() < deadline, "no more turns"
        time.sleep(0.01)

{trouble}
goes_on()
duty.stop()
print("stopped")
"""

EXIT_IN_A_KEY = """
@duty.once(key=lambda: sys.exit(4))
def migrate(): ...

duty.start()
"""
HALF_A_CHARACTER_AS_KEY = """
@duty.once(key=lambda: "\\ud800")
def migrate(): ...

duty.start()
"""
NO_DESCRIPTORS = """
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(6):
    os.close(held.pop())
duty.start()
time.sleep(0.5)
for one in held:
    os.close(one)
"""
GREENLETS_KILLED = """
import gc
duty.start()
goes_on()
for _ in range(2):
    gevent.killall([one for one in gc.get_objects() if isinstance(one, gevent.Greenlet)], block=True)
    goes_on()
"""
PATCHED = "import gevent; from gevent import monkey; monkey.patch_all()"


@pytest.mark.parametrize(
    ("before", "trouble", "said"),
    [
        ("", EXIT_IN_A_KEY, "migrate is not run: its once key raised SystemExit: 4"),
        ("", HALF_A_CHARACTER_AS_KEY, "migrate is not run: its once key raised DeclarationError"),
        ("", NO_DESCRIPTORS, "Too many open files"),
        (PATCHED, GREENLETS_KILLED, "GreenletExit"),
    ],
    ids=["exit in a key", "half a character as key", "no descriptors", "greenlets killed"],
)
def test_a_worker_stays_a_candidate(tmp_path: Path, before: str, trouble: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, trouble=trouble), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "stopped\n", done.stderr
    assert said in done.stderr
