"""``python -m benchmarks [--quick] [name ...]``: run, print, and keep the texts."""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from benchmarks.processes import Absent
from benchmarks.report import load

NAMES = {
    "throughput": "runs per second with 10,000 tasks, beside APScheduler 3",
    "ticks": "how late a 100 ms task is, beside APScheduler 3 and a bare Event.wait",
    "takeover": "kill -9 of the leader, beside a bare blocked flock",
    "handover": "HUP and SIGTERM: how long nobody leads",
    "requests": "requests per second and p99, beside plain Flask; with a busy task, beside a separate process",
    "start": "time and memory to import and start, beside plain Flask",
    "idle": "what a leader and a standby cost that have nothing to do",
    "durable": "durable runs per second, beside Huey, DBOS, APScheduler 3 and a bare loop of transactions",
    "history": "CPU per run, from 10 to 10,000 tasks and to 1,000,000 rows of history",
    "trigger": "from trigger() on a standby to the run, beside a bare Unix-socket round trip",
    "missed": "a slot that came due while nobody led: how long after the take-over it runs",
    "polls": "Socket.IO: what a forwarded poll costs, beside nginx with ip_hash",
    "echo": "Socket.IO: round trips of a handed-over WebSocket, beside stock Flask-SocketIO with one worker",
    "emits": "Socket.IO: bursts and steady emits to 200 clients of 4 workers, beside RedisManager",
    "crowd": "Socket.IO: WebSockets served at once by four gthread workers of 4 threads, beside stock Flask-SocketIO",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="which to run; all if none is named")
    parser.add_argument("--quick", action="store_true", help="rough figures in about two minutes")
    parser.add_argument("--list", action="store_true", help="show the names and end")
    args = parser.parse_args()
    if args.list:
        for name, what in NAMES.items():
            print(f"{name:12} {what}")
        return 0
    if unknown := [name for name in args.names if name not in NAMES]:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    missed = []
    for name in args.names or NAMES:
        began, start = load(), time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            report = importlib.import_module(f"benchmarks.{name}").run(args.quick)
        except Absent as error:
            print(f"{name}: not measured, {error}\n", flush=True)
            missed.append(name)
            continue
        report.keep(name, began, args.quick)
        print(f"{report.text()}\n({time.monotonic() - start:.0f} s)\n", flush=True)
        if not report.met:
            missed.append(name)
    print(f"Missed a bar, or not measured: {', '.join(missed)}." if missed else "Every bar was met.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
