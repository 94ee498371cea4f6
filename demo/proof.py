"""The demo without a browser: kill the worker on duty five times, say each second who ran what, and judge.

What is printed comes from the diary that the tasks write themselves; the journal is only asked at the end, to be
held against it. A Socket.IO client is connected to every worker before each kill, and has to hear the next heartbeat.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

from demo.diary import Diary, takeovers
from demo.listeners import Audience, first_beats
from demo.server import WORKERS, DemoFailed, Server
from demo.verdict import deaf, judge

KILLS = 5
TASKS = ("collector", "tally", "hourglass")
TAKEOVER_DEADLINE = 5.0
"""Seconds to wait for a successor before the proof gives up: more than the verdict allows, so that it is judged."""


def prove(folder: Path) -> int:
    """Return the exit status: 0 if nothing was wrong, else 1."""
    log = folder / "gunicorn.log"
    with log.open("wb") as output:
        try:
            with Server(folder, output) as server:
                server.ready()
                print(
                    f"{server.command}\n{KILLS} × SIGKILL to the worker on duty; each line: who ran what in a second\n"
                )
                print(f"{'second':10}" + "".join(f"{task:26}" for task in TASKS), flush=True)
                rows, heard = _watch(server, Diary(folder))
        except (DemoFailed, OSError) as error:
            print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
            raise DemoFailed(str(error)) from error
    return _conclude(Diary(folder), rows, heard)


def _watch(server: Server, diary: Diary) -> tuple[list[dict[str, Any]], list[list[int | None]]]:
    """Kill and print; the journal's rows once every slot that is judged has had its time, and what clients heard."""
    heard = []
    printer = _Printer(diary)
    audience = Audience(server.port)
    try:
        printer.until(time.time() + 2)
        for number in range(1, KILLS + 1):
            server.ready()  # with as many workers as before
            listeners = audience.gather(server.get("/api")["workers"])
            printer.until(time.time() + random.uniform(1.5, 2.5))  # anywhere between two slots
            server.kill_leader()
            _successor(diary, number)
            passed = takeovers(diary.read("terms"))[-1]
            beats = first_beats(listeners, passed["heir"]) if passed["heir"] else [None] * len(listeners)
            heard.append([at and at - passed["at"] for at in beats])
            print(f"    kill {number}: {passed['killed']} killed, {_told(passed, heard[-1])}", flush=True)
        printer.until(time.time() + 3)
    finally:
        audience.close()
    rows: list[dict[str, Any]] = server.get("/api/runs")
    return rows, heard


def _told(passed: dict[str, Any], heard: list[int | None]) -> str:
    if passed["us"] is None:
        return "nobody took over"
    times = [one for one in heard if one is not None]
    late = f", after {max(times) / 1e3:.0f} ms at the latest" if times else ""
    return (
        f"{passed['heir']} on duty after {passed['us'] / 1e3:.1f} ms; "
        f"heartbeat heard by {len(times)} of {len(heard)} clients{late}"
    )


def _successor(diary: Diary, number: int) -> None:
    deadline = time.monotonic() + TAKEOVER_DEADLINE
    while time.monotonic() < deadline:
        passed = takeovers(diary.read("terms"))
        if len(passed) == number and passed[-1]["us"] is not None:
            return
        time.sleep(0.02)


class _Printer:
    """One line for every second that is over, in order."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self._next = int(time.time())

    def until(self, instant: float) -> None:
        """Print what becomes past until ``instant`` (seconds since the epoch), and return then."""
        while (rest := instant - time.time()) > 0:
            time.sleep(min(rest, 0.1))
            # A run may tell a little late; a tenth of a second after the full one it has.
            while time.time() > self._next + 1.1:
                print(self._line(self._next), flush=True)
                self._next += 1

    def _line(self, second: int) -> str:
        told = [one for one in self._diary.read("runs") if one["at"] // 1_000_000 == second]
        cells = []
        for task in TASKS:
            pids = list(dict.fromkeys(one["pid"] for one in told if one["task"] == task))
            cells.append(f"{', then '.join(map(str, pids)) or '-':26}")
        return f"{time.strftime('%H:%M:%S', time.localtime(second)):10}" + "".join(cells).rstrip()


def _conclude(diary: Diary, rows: list[dict[str, Any]], heard: list[list[int | None]]) -> int:
    told = [one for one in diary.read("runs") if one["kind"] == "run"]
    passed = takeovers(diary.read("terms"))
    known = {(row["task"], row["slot"]) for row in rows}
    newest = max((slot for task, slot in known if task == "tally" and slot is not None), default=0)
    # What ran after the journal was asked is not in its answer.
    told = [one for one in told if one["slot"] is None or one["slot"] <= newest]
    grids = {"tally": (1, newest), "hourglass": (60, newest // 60 * 60)}
    wrong = [*judge(told, rows, passed, KILLS, grids), *deaf(heard, WORKERS)]

    times = sorted(one["us"] / 1e3 for one in passed if one["us"] is not None)
    print("\ntake-over, signal to next worker on duty: " + ", ".join(f"{one:.1f}" for one in times) + " ms")
    outcomes = [row["outcome"] for row in rows]
    counted = ", ".join(f"{outcomes.count(one)} {one}" for one in dict.fromkeys(outcomes))
    print(f"journal: {len(rows)} rows ({counted}); the tasks themselves told of {len(told)} runs and turns")
    for one in wrong:
        print(f"WRONG: {one}")
    if wrong:
        print("VERDICT: failed")
        return 1
    print(
        f"VERDICT: passed. {KILLS} kills, every task on one worker at a time, every slot once, none lost without a row,"
        " each take-over heard of by a client on every worker"
    )
    return 0
