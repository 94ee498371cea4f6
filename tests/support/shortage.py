"""A process that has no descriptor left, as one that leaks its sockets."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_free_descriptor() -> Iterator[list[int]]:
    """All that there were, for the block to give back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hoard: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, before[1]))
        try:
            while True:
                hoard.append(os.dup(0))
        except OSError:
            pass
        yield hoard
    finally:
        for descriptor in hoard:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
