"""Will other workers take this one's place? Asked of the kernel once a worker has been told to leave.

A reload starts the new workers first and tells the old ones to leave a moment later, when the new ones have only begun
to import the app. A master that ends closes its listening sockets before anything else, and nobody comes any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from onduty.process import children, this_process

Socket = tuple[int, int]
"""Device and inode: what a socket's descriptors have in common in every process that holds it."""


def expected_from(master: int, listeners: Iterable[int]) -> Callable[[], bool]:
    """For ``Lifecycle.successors``: whether ``master`` goes on and has a worker younger than this process.

    A child that does not hold the sockets is no worker: a helper, or an orphan that a first process has adopted.

    ``listeners``: descriptors of the sockets that it and its workers accept from. They are looked at now, since a
    worker closes its own early.
    """
    me, shared = this_process(), {_socket(os.fstat(one)) for one in listeners}

    def expected() -> bool:
        try:
            younger = [child.pid for child in children(master) if child.started > me.started]
        except OSError:
            return False  # without a free descriptor nobody is seen, or waited for
        return any(shared & _sockets_of(pid) for pid in younger) and bool(shared & _sockets_of(master))

    return expected


def _socket(found: os.stat_result) -> Socket:
    return found.st_dev, found.st_ino


def _sockets_of(pid: int) -> set[Socket]:
    found: set[Socket] = set()
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found  # gone, or another user's: then nobody is waited for
    for descriptor in descriptors:
        try:
            found.add(_socket(os.stat(f"/proc/{pid}/fd/{descriptor}")))
        except OSError:
            continue  # closed since
    return found
