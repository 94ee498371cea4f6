"""The heartbeat example, as people start it: one loop, whichever the worker class, and it reaches every client."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from support.processes import REPOSITORY, answers, free_port, start
from support.sio_site import Clients
from support.waiting import eventually, throughout

WITHOUT_GEVENT_WEBSOCKET = REPOSITORY / "tests" / "support" / "without_gevent_websocket"
EXAMPLE = Path(__file__).parents[2] / "examples" / "heartbeat"
STARTED = re.compile(r"\[(\d+)\].*the background task has started")


@pytest.mark.parametrize(
    ("worker_class", "async_mode", "flags"),
    [
        ("gevent", "gevent", ["--preload"]),
        ("sync", "threading", []),
        ("gthread", "threading", ["--threads", "8"]),
    ],
)
def test_one_loop_starts_says_so_once_and_reaches_every_client(
    tmp_path: Path, worker_class: str, async_mode: str, flags: list[str]
) -> None:
    """And once more in the other worker, when the first one is killed; the clients of both get every heartbeat."""
    port = free_port()
    environ = {"ONDUTY_DIR": str(tmp_path / "onduty"), "ASYNC_MODE": async_mode, "EVERY": "0.1"}
    environ["PYTHONPATH"] = os.pathsep.join(map(str, (WITHOUT_GEVENT_WEBSOCKET, REPOSITORY / "src")))
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        "2",
        "--worker-class",
        worker_class,
    ]
    command += [*flags, "--no-control-socket", "test:gunicorn_app"]

    with start(command, cwd=EXAMPLE, env=environ, log=tmp_path / "log") as server:
        eventually(lambda: answers(port), 20)
        (first,) = eventually(lambda: STARTED.findall(server.output()), 20)
        eventually(lambda: server.output().count("worker ready") == 2, 20)
        throughout(lambda: STARTED.findall(server.output()) == [first], 1)

        os.kill(int(first), signal.SIGKILL)

        eventually(lambda: len(STARTED.findall(server.output())) == 2, 20)
        if worker_class != "sync":  # whose workers answer one poll at a time
            every_client_gets_heartbeats(port, tmp_path)
            the_example_client_prints_them(port, tmp_path)
        assert STARTED.findall(server.output())[1] != first
        # gunicorn misses a SIGTERM that meets a worker in the middle of its start.
        eventually(lambda: server.output().count("worker ready") == 3, 20)
        server.signal(signal.SIGTERM)
        server.wait()


def every_client_gets_heartbeats(port: int, folder: Path) -> None:
    many = Clients(f"http://127.0.0.1:{port}", folder / "node")
    try:
        many.open(8)
        many.do("forget")
        many.all(lambda one: one["events"].get("background_task_response", {}).get("count", 0) >= 5)
    finally:
        many.end()


def the_example_client_prints_them(port: int, folder: Path) -> None:
    command = [sys.executable, "client.py", f"http://127.0.0.1:{port}"]
    with start(command, cwd=EXAMPLE, log=folder / "client") as client:
        eventually(lambda: client.output().count("Background Task Result") >= 3, 20, what="it prints heartbeats")
