"""Every module can be imported, alone and quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from architecture.imports import sources

IMPORT_EACH_IN_A_CHILD = """
import importlib, os, sys, traceback
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

MILLISECONDS_TO_IMPORT = """
import sys, time
import flask
before = time.process_time()
import onduty
print((time.process_time() - before) * 1000)
"""


def test_every_module_can_be_imported_first() -> None:
    """Whichever module a program names first, it loads: no ring of imports that only the usual order hides."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH_IN_A_CHILD, *sorted(sources())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_importing_onduty_beside_flask_takes_at_most_25_ms_of_processor_time(tmp_path: Path) -> None:
    """What each worker pays at start, over Flask alone. The best of several: other work on the machine only adds."""
    # From byte code, as an installed package is loaded, whatever this test's own environment says of writing it.
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    taken = []
    for _ in range(7):
        done = subprocess.run(
            [sys.executable, "-c", MILLISECONDS_TO_IMPORT],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=environ,
        )
        taken.append(float(done.stdout))
        if taken[-1] <= 25:
            break

    assert min(taken) <= 25
