"""A program run by several fresh processes that begin at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def at_once(program: str, path: Path, processes: int, *, within: float = 60) -> list[str]:
    """What each of so many processes says in the end; all begin when all are there.

    The program gets the path and its number. It prints ``ready``, waits for a line, and does its work.
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=within) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    errors = [error for _, error in answers if error]
    assert not errors, "\n".join(errors)
    return [answer for answer, _ in answers]
