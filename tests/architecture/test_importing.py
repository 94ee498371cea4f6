"""Every module can be imported, alone and quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from architecture.imports import sources

IMPORT_EACH_IN_A_CHILD = """
import importlib, os, sys, traceback
import asyncio, concurrent.futures, sqlite3, logging.handlers, multiprocessing, difflib  # what is not ours, once
import cronsim, flask, pytest, socketio, simple_websocket
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, "can't be imported first", flush=True)
            traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)
"""

SHARE_OF_FLASK = """
import time
began = time.process_time()
import flask
flask_here = time.process_time()
import onduty
print((time.process_time() - flask_here) / (flask_here - began))
"""


def from_byte_code(folder: Path) -> dict[str, str]:
    """As an installed package is loaded, whatever this test's own environment says of writing it."""
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def test_every_module_can_be_imported_first(tmp_path: Path) -> None:
    """Whichever module a program names first, it loads: no ring of imports that only the usual order hides."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH_IN_A_CHILD, *sorted(sources())],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env=from_byte_code(tmp_path),
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_importing_onduty_costs_a_worker_little_beside_flask(tmp_path: Path) -> None:
    """At most 0.4 of what Flask itself takes, in the same process; the milliseconds are in the benchmarks."""
    environ = from_byte_code(tmp_path)
    shares = []
    for _ in range(7):
        done = subprocess.run(
            [sys.executable, "-c", SHARE_OF_FLASK], capture_output=True, text=True, timeout=60, check=True, env=environ
        )
        shares.append(float(done.stdout))
        if shares[-1] <= 0.4:
            break

    assert min(shares) <= 0.4
