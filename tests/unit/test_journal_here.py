"""The journal of a process that forks: what one of its threads is doing with it at that moment harms nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FORKS_WHILE_A_THREAD_ASKS = """
import json, logging, os, select, sys, threading
from onduty import OnDuty

logging.getLogger("onduty").setLevel("ERROR")
duty = OnDuty(lambda environ, start: [], name="shop", dir=sys.argv[1])

@duty.task
def order():
    pass

order.trigger()
asked, errors, over = threading.Event(), [], threading.Event()

def ask():
    while not over.is_set():
        try:
            order.runs(1)
            order.trigger()
        except Exception as error:
            errors.append(repr(error))
        asked.set()
        over.wait(0.001)

def journals():
    return [one for one in os.listdir("/proc/self/fd") if "journal" in os.path.realpath(f"/proc/self/fd/{one}")]

def is_locked():
    return any("lock:" in open(f"/proc/self/fdinfo/{one}").read() for one in journals())

def in_child(answer):
    order.trigger()
    os.write(answer, json.dumps(is_locked()).encode())

threads = [threading.Thread(target=ask) for _ in range(2)]
for thread in threads:
    thread.start()
told = []
for _ in range(40):
    asked.clear()
    asked.wait(10)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            in_child(write)
        except BaseException as error:
            os.write(write, json.dumps(repr(error)).encode())
        os._exit(0)
    os.close(write)
    told.append(json.loads(os.read(read, 1000)) if select.select([read], [], [], 30)[0] else "nothing")
    os.close(read)
    os.waitpid(child, 0)
over.set()
for thread in threads:
    thread.join()
print(json.dumps({"told": told, "errors": errors, "open": len(journals())}))
"""


def test_a_child_has_locks_of_its_own_whatever_the_parent_s_threads_do(tmp_path: Path) -> None:
    """A connection that the parent made anew while it forked would leave the child without any, for good."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS_WHILE_A_THREAD_ASKS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    facts = json.loads(done.stdout)
    assert facts["told"] == [True] * 40, done.stderr
    assert facts["errors"] == []
    assert facts["open"] <= 3, "the file and its two logs"
