"""Does this process own a listening socket? Asked without harming one.

A first request alone is no proof of serving, since a test client goes through the same door; with a listening socket in
the same process it was, in every server tried.
"""

from __future__ import annotations

import os
import stat


def owns_a_listener() -> bool:
    """Whether one of our descriptors is a stream socket that accepts connections."""
    return any(_listens(descriptor) for descriptor in _descriptors())


def _descriptors() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return [int(name) for name in os.listdir(folder)]
        except OSError:
            continue
    return []


def _listens(descriptor: int) -> bool:
    # Not ``socket``: gevent's makes the descriptor non-blocking, for everybody who shares it.
    import _socket

    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        # With SOCK_NONBLOCK in the type the constructor leaves the descriptor's blocking mode alone; without, a
        # process-wide default time-out would change it.
        probe = _socket.socket(-1, _socket.SOCK_STREAM | getattr(_socket, "SOCK_NONBLOCK", 0), -1, descriptor)
    except OSError:
        return False  # closed since it was listed, or no socket we know
    try:
        return bool(probe.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))
    except OSError:
        return False
    finally:
        probe.detach()
