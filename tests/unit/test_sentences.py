"""What onduty logs, and who hears it. A program of its own: logging is configured once for a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
from onduty import OnDuty
{before}
duty = OnDuty(lambda environ, start_response: [], name="shop", dir=sys.argv[1])
{after}
duty.start()
duty.stop()
"""
CONFIGURED = "logging.basicConfig(level=logging.INFO)"
QUIET = "logging.getLogger('onduty').addHandler(logging.NullHandler())"


@pytest.mark.parametrize(
    ("before", "after", "times"),
    [("", "", 1), (CONFIGURED, "", 1), ("", CONFIGURED, 1), ("", QUIET, 0)],
    ids=["nothing configured", "before", "after", "silenced"],
)
def test_each_line_is_said_once_however_logging_is_configured(
    tmp_path: Path, before: str, after: str, times: int
) -> None:
    program = PROGRAM.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.count("worker ready") == times
