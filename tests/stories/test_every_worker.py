"""Work that runs in each worker: no election, no journal, yet a failed loop is begun again and an end has its grace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """if True:
    import os, sys, time
    from onduty import Context, OnDuty

    duty = OnDuty(lambda environ, start_response: [], name="story", dir=sys.argv[1], grace=5)
    turns = []

    @duty.every(seconds=0.05, on="every_worker")
    def beat():
        turns.append(time.monotonic())

    @duty.service(on="every_worker")
    def cache(ctx: Context) -> None:
        assert str(f".{os.getpid():x}-") in ctx.run_id, "another worker's has the same name"
        print("service begins", flush=True)
        while ctx.sleep(0.05):
            pass
        time.sleep(0.3)
        print("service has ended", flush=True)

    def until(count):
        deadline = time.monotonic() + 30
        while len(turns) < count:
            assert time.monotonic() < deadline, "no more turns"
            time.sleep(0.01)

    duty.start()
    until(3)
    run = beat.trigger()
    print(run.wait(20), run.status, duty.get_run(run.id).outcome, run.id in [one.run_id for one in beat.runs()])
    {trouble}
    until(len(turns) + 3)
    duty.stop()
    print("stopped", run.wait(20), flush=True)
"""
TROUBLE = """
    def broken():
        raise RuntimeError("on purpose")

    duty._own[0]._own.scheduler._planner.decide_due = broken
"""


def lines(folder: Path, trouble: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{trouble}", trouble.strip()), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
        cwd=folder,
    )
    return done.stdout.splitlines()


def test_stopping_waits_for_the_grace(tmp_path: Path) -> None:
    """``stop`` returns when the work in this worker has ended, and not before."""
    said = lines(tmp_path)

    assert said == ["service begins", "succeeded succeeded succeeded True", "service has ended", "stopped None"]


def test_a_loop_that_failed_is_begun_again(tmp_path: Path) -> None:
    """A fault of the engine costs a second, not the worker's share of the work for good."""
    said = lines(tmp_path, TROUBLE)

    assert said.count("service begins") == 2
    assert said[-2:] == ["service has ended", "stopped None"]


WITHOUT_THREADS = """if True:
    import sys, threading, time
    from onduty import OnDuty

    duty = OnDuty(lambda environ, start_response: [], name="story", dir=sys.argv[1], grace=30)

    @duty.every(seconds=0.05, on="every_worker")
    def beat():
        pass

    start = threading.Thread.start

    def refuse(thread):
        if "scheduler" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    threading.Thread.start = refuse
    duty.start()
    began = time.monotonic()
    duty.stop()
    print("serves and stops", time.monotonic() - began < 20)
"""


def test_a_worker_that_gets_no_thread_for_its_own_work_serves_all_the_same(tmp_path: Path) -> None:
    """It says what it does not do, and its end waits for nothing."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THREADS, str(tmp_path)], capture_output=True, text=True, check=True, timeout=90
    )

    assert done.stdout.split("\n")[0] == "serves and stops True"
    assert "does no work of its own until it is restarted: can't start new thread" in done.stderr
    assert "Traceback" not in done.stderr


CANCELLED = """if True:
    import sys, threading, time
    from onduty import OnDuty

    duty = OnDuty(lambda environ, start: [], name="cancels", dir=sys.argv[1])
    began, go = [], threading.Event()

    @duty.cron("0 0 29 2 *", on="every_worker")
    def work():
        began.append(1)
        go.wait(20)

    duty.start()
    runs = [work.trigger()]
    while not began:
        time.sleep(0.01)
    for _ in range(20):
        run = work.trigger()
        run.cancel()
        runs.append(run)
    print({run.wait(20).value for run in runs[1:]})
    runs += [work.trigger() for _ in range(5)]
    work.cancel()
    print({run.wait(20).value for run in runs[21:]})
    go.set()
    print(runs[0].wait(20).value, began)
    duty.stop()
"""


def test_what_waits_is_cancelled_too(tmp_path: Path) -> None:
    """One by one, or all of a task: nothing else begins."""
    command = [sys.executable, "-c", CANCELLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)

    assert done.stdout.splitlines() == ["{'stopped'}", "{'stopped'}", "succeeded [1]"]
