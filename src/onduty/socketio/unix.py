"""Unix sockets in the app's own folder: made whole or not at all, for this user only, never inherited by a child.

A socket appears under its name only when it listens, so that whoever is refused by one may remove it: its process is
dead. Everything opened here is let go of in every forked child.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from onduty._runtime import forks
from onduty.errors import ConfigError

_BACKLOG = 4096
"""As many as Linux lets wait at most (5.4 and later: net.core.somaxconn)."""
_SUN_PATH = 100
"""A socket's path is limited to about 108 bytes (unix(7)), 104 on other systems."""
_STALE = 60.0
_CREDENTIALS = struct.Struct("3i")
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
UNKNOWN = 0
"""As a pid: that of a process which can't be seen from here (another container, or not Linux)."""


class Gone(ConnectionError):
    """The process that listened under this name has ended."""


class Wedged(ConnectionError):
    """The process is there, and does not take what is brought to it."""


class NoDescriptor(OSError):
    """None is free here, or no memory for one, for now."""


def listen(folder: Path, name: str) -> socket.socket:
    """A listening socket named ``name``, which nobody has seen before it listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    adopt(listener)
    draft = f".{name}"
    try:
        with _short(folder, name) as place:
            listener.bind(f"{place}/{draft}")
        os.chmod(folder / draft, 0o600)
        listener.listen(_BACKLOG)
        os.rename(folder / draft, folder / name)
    except OSError:
        drop(listener)
        with contextlib.suppress(OSError):
            os.unlink(folder / draft)  # or the next attempt would find the name taken
        raise
    return listener


def names(folder: Path) -> list[str]:
    """The names in ``folder``; none while it is missing, or can't be looked into."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def connect(folder: Path, name: str, timeout: float | None) -> socket.socket:
    """A connection to ``name``; ``timeout`` seconds hold for it from now on, ``0`` makes it non-blocking.

    Raises:
        Gone: nobody listens there any more; what was left of it is removed.
        Wedged: somebody listens, with so many connections not yet taken that the kernel refuses another one.
        NoDescriptor: there is none for it here.
    """
    try:
        return _connect(folder, name, timeout)
    except (ConnectionRefusedError, FileNotFoundError) as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / name)
        raise Gone(name) from error
    except BlockingIOError as error:
        raise Wedged(name) from error
    except OSError as error:
        if error.errno in NO_DESCRIPTOR:
            raise NoDescriptor(error.errno, error.strerror) from error
        raise


def _connect(folder: Path, name: str, timeout: float | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    adopt(connection)
    try:
        # A Unix socket is connected at once or not at all; gevent would spin for the time-out at a full backlog.
        connection.setblocking(False)
        with _short(folder, name) as place:
            connection.connect(f"{place}/{name}")
        refuse_strangers(connection)
        connection.settimeout(timeout)
    except OSError:
        drop(connection)
        raise
    return connection


def refuse_strangers(connection: socket.socket) -> None:
    """The other side must be of our user. The folder is closed to others already; it may have been opened by hand.

    Raises:
        PermissionError: it is somebody else's.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return  # not Linux: the folder's mode is what there is
    _, user, _ = _credentials(connection)
    if user != os.geteuid():
        raise PermissionError(f"a process of user {user} is on the other side, and this one runs as {os.geteuid()}")


def owner(connection: socket.socket) -> int:
    """The pid of the process that listened where ``connection`` was made to."""
    return _credentials(connection)[0] if hasattr(socket, "SO_PEERCRED") else UNKNOWN


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Pid, user and group of the other side (unix(7), ``SO_PEERCRED``)."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, group = _CREDENTIALS.unpack(found)
    return pid, user, group


def unread(connection: socket.socket) -> int:
    """Bytes the other side has not taken yet; 0 where the system does not say (unix(7), ``SIOCOUTQ``)."""
    if not sys.platform.startswith("linux"):
        return 0
    import termios

    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)


def sweep(folder: Path) -> None:
    """Remove drafts of processes that died between making a socket and naming it."""
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            if entry.name.startswith(".") and time.time() - entry.stat().st_mtime > _STALE:
                os.unlink(entry.path)


def adopt(connection: socket.socket) -> None:
    """From now on ``connection`` is let go of in every forked child."""
    forks.keep_from_children(connection.fileno())


def is_ours(connection: socket.socket) -> bool:
    """Whether it is still what it was; somebody may have closed all descriptors, and its number be another file."""
    return connection.fileno() >= 0 and forks.is_ours(connection.fileno())


def drop(connection: socket.socket) -> None:
    """Close it, unless somebody else has and its number may be another file by now. May be called again."""
    if connection.fileno() < 0:
        return
    if forks.release(connection.fileno()):
        connection.close()
    else:
        connection.detach()


def disown(connection: socket.socket) -> None:
    """Somebody else will close it, soon."""
    if connection.fileno() >= 0:
        forks.release(connection.fileno())


def hang_up(connection: socket.socket) -> None:
    """As :func:`drop`, and whoever waits on it in another thread wakes up."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    drop(connection)


@contextlib.contextmanager
def _short(folder: Path, name: str) -> Iterator[str]:
    """A path to ``folder`` that is short enough for a socket, while the block lasts."""
    if len(os.fsencode(folder)) + len(name) + 2 <= _SUN_PATH:
        yield str(folder)
        return
    if not sys.platform.startswith("linux"):
        raise ConfigError(f"the path {folder} is too long for a socket in it: set ONDUTY_DIR to a shorter one")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
