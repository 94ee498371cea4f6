"""A listening socket under its name in the folder: made as soon as there is room, and made again when its name is gone.

Some failures pass: no descriptor is free, the disk is full, somebody deletes the folder. They are no reason to take a
worker away from its clients, nor from the others for good. Whoever has a door looks after it every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from onduty.errors import DirectoryRefused, OnDutyError, StoreUnavailable
from onduty.folder import prepare
from onduty.socketio import unix

LOOK_AGAIN = 3.0
_PASSES = (*unix.NO_DESCRIPTOR, errno.ENOSPC, errno.EDQUOT, errno.ENOENT)


def passes(error: BaseException) -> bool:
    """Whether what failed may well work in a while, with nobody having changed a setting."""
    if isinstance(error, StoreUnavailable):
        return True
    cause = error.__cause__ if isinstance(error, DirectoryRefused) else error
    return isinstance(cause, OSError) and cause.errno in _PASSES


def make_folder(folder: Path) -> None:
    """The app's own folder and in it ``folder``, with the checks of :func:`onduty.folder.prepare`."""
    prepare(folder.parent)
    prepare(folder)


class Door:
    """``timeout`` as of :meth:`socket.socket.settimeout`. ``hindered`` hears, in a sentence, why nobody can come.

    Used by one thread; only :meth:`unlist` and :meth:`hang_up` may be called from others.
    """

    def __init__(self, folder: Path, name: str, timeout: float, hindered: Callable[[str], None]) -> None:
        self.listener: socket.socket | None = None
        self._folder = folder
        self._name = name
        self._timeout = timeout
        self._hindered = hindered
        self._over = False
        self._looked = -LOOK_AGAIN
        self._told = False

    def open(self) -> None:
        """Make it, for the first time. What passes is told, and left to :meth:`mend`.

        Raises:
            OnDutyError, OSError: it will not work here until somebody changes something.
        """
        self._looked = time.monotonic()
        try:
            if not self._folder.is_dir():
                make_folder(self._folder)
            self._make()
        except (OSError, OnDutyError) as error:
            if not passes(error):
                raise
            self.tell(error)

    def is_missing(self) -> bool:
        """Whether it is to be made again. Looks every few seconds, however often it is asked."""
        now = time.monotonic()
        if self._over or now - self._looked < LOOK_AGAIN:
            return False
        self._looked = now
        return self.listener is None or not os.path.lexists(self._folder / self._name)

    def mend(self) -> None:
        """Make it again, under the same name. Raises nothing: what does not work is told, and tried another time."""
        self.drop()  # nobody finds it any more
        try:
            make_folder(self._folder)
            self._make()
        except (OSError, OnDutyError) as error:
            self.tell(error)

    def tell(self, error: BaseException) -> None:
        """Say what is in the way, once until it is out of the way; a folder that is just being deleted is not."""
        if not self._told and getattr(error.__cause__ or error, "errno", None) != errno.ENOENT:
            self._told = True
            self._hindered(
                f"Socket.IO clients of this worker are cut off from the other workers, until there is a socket in "
                f"{self._folder} again, which is tried every {LOOK_AGAIN:g} s: {error}"
            )

    def is_lost(self) -> bool:
        """Whether somebody has closed it behind our back, with all our other descriptors, no doubt."""
        return self.listener is not None and not unix.is_ours(self.listener)

    def unlist(self) -> None:
        """From now on nobody comes any more. May be called again."""
        self._over = True
        with contextlib.suppress(OSError):
            os.unlink(self._folder / self._name)

    def hang_up(self) -> None:
        """Wake whoever waits for somebody to come; after :meth:`unlist`."""
        listener = self.listener
        if listener is not None:
            unix.hang_up(listener)

    def drop(self) -> None:
        """Let go of it. The name stays, and is no longer of use to anybody."""
        listener, self.listener = self.listener, None
        if listener is not None:
            unix.drop(listener)

    def _make(self) -> None:
        self.listener = unix.listen(self._folder, self._name)
        self.listener.settimeout(self._timeout)
        self._told = False
        if self._over:  # since we began
            self.unlist()
            self.drop()
