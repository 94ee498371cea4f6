"""Disks that fail: one that is soon full, and files that nobody can write."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mounted at ``folder``, which is made; ``size`` as mount takes it, such as ``"3m"``."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "onduty-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode and "CI" not in os.environ:
        pytest.skip("only root may mount a small disk")
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def immutable(*files: Path) -> Iterator[None]:
    """Nobody can write them meanwhile, not even who has them open."""
    done = subprocess.run(["chattr", "+i", *files], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this file system, or this user, makes no file immutable")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)
