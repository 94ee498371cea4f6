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

    ``listeners``: descriptors of the sockets that it and its workers accept from. They are looked at now, since a
    worker closes its own early.
    """
    me, shared = this_process(), {_socket(os.fstat(one)) for one in listeners}

    def expected() -> bool:
        return any(child.started > me.started for child in children(master)) and bool(shared & _sockets_of(master))

    return expected


def _socket(found: os.stat_result) -> Socket:
    return found.st_dev, found.st_ino


def _sockets_of(pid: int) -> set[Socket]:
    found = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            found.add(_socket(os.stat(f"/proc/{pid}/fd/{descriptor}")))
    except OSError:
        return set()  # gone, or another user's: then nobody is waited for
    return found
