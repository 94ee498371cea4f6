"""Election by ``flock`` on one file: at most one leader among the processes that share a folder.

The kernel holds the lock for the open file and releases it when the process dies, however it dies: no time-out, no
clock. Rules, each of which was a hole once:

* The file is opened after the fork, by the process that uses it, and never unlinked.
* The lock is asked for with ``LOCK_NB`` only; a blocked waiter can't be cancelled, and dying waiters win.
* After winning, the open file must still be the one under that name. A file deleted by a cleaner makes two locks, so a
  standby first makes sure that the one it knew is free before it turns to a new one.
* One fixed record, overwritten in place, says who leads and which term was the last: the floor for the next.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onduty.election import Tenure
from onduty.errors import StoreUnavailable
from onduty.process import ProcessId

Offload = Callable[[Callable[[int], None], int], None]
"""Makes a call that waits for the disk where it holds nobody up."""

_SIZE = 1024
_WHO_LOCKED = r"(?m)^lock:.*\bFLOCK\s+\S+\s+\S+\s+(-?\d+)"
_TOO_MANY = "find out what this process leaves open, or allow it more (ulimit -n)"
_REMEDIES = {
    errno.ENOENT: "its folder was removed while the workers ran; they make another one",
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
}
_OTHER_REMEDY = "give it to the user that runs the workers, or remove it while none of them runs"
_OPEN = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class FileElection:
    """One process's candidacy for the lock ``path``.

    ``guard`` is told each descriptor we open, so that forked children let go of it. ``release`` is told each one we are
    about to close, and answers whether the number still is ours. ``offload`` waits for the disk while we lead.
    """

    def __init__(
        self,
        path: Path,
        me: ProcessId,
        guard: Callable[[int], None],
        release: Callable[[int], bool],
        offload: Offload,
    ) -> None:
        self._path = path
        self._me = me
        self._guard = guard
        self._release = release
        self._offload = offload
        self._fd: int | None = None
        self._identity = (0, 0)
        self._held = False
        self._term = 0
        self._since = 0
        self._reserved_until = 0
        self._gap = False
        self._row = 0
        self._made_the_file = False

    def campaign(self) -> bool:
        try:
            # Twice at most: once on the file we knew, and, if that one is free but no longer under the name, once anew.
            for _ in range(2):
                if self._fd is None:
                    self._open()
                if not self._lock():
                    return False
                if self._is_current():
                    if not self._held:
                        self._term = 0  # of an earlier tenure of ours; the record may be of a later one by now
                    self._held = True
                    return True
                self._close()
        except OSError as error:
            if error.errno == errno.EBADF:
                raise  # closed behind our back: nothing to try again
            self._close()
            remedy = _REMEDIES.get(error.errno or 0, _OTHER_REMEDY)
            raise StoreUnavailable(f"the lock {self._path} can't be asked for ({error.strerror}): {remedy}") from error
        return False

    def began(self, term: int, since: int, until: int = 0, gap: bool = False, row: int = 0) -> None:
        self._term, self._since = term, since
        self._reserve(until, gap, row, at_once)  # a take-over does not wait for another thread

    def reserve(self, until: int, gap: bool, row: int) -> None:
        self._reserve(until, gap, row, self._offload)

    def still_mine(self) -> bool:
        if not self._held or self._fd is None:
            return False
        try:
            # On our own open file this succeeds if and only if no other open file has the lock.
            return self._is_current() and self._lock()
        except OSError:
            return False

    def resign(self, until: int | None = None, row: int | None = None) -> None:
        self._row = self._row if row is None else row
        if until is not None:
            self._reserved_until = min(self._reserved_until, until)
        if self._held and self._term and self.still_mine():
            try:
                self._write(clean=True, offload=at_once)
            except StoreUnavailable:
                pass  # it only costs the next leader a look at whether we live
        self._close()

    def last(self) -> Tenure | None:
        """The record; ``None`` when there is none or it is torn. Who holds the lock needs no further descriptor.

        Raises ``StoreUnavailable``: it could not be read. Who took that for "there is none" would run again what
        nobody has a row of.
        """
        try:
            if self._held and self._fd is not None:
                return _parse(os.pread(self._fd, _SIZE, 0))
            with self._path.open("rb") as file:
                return _parse(file.read(_SIZE))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"the lock {self._path} can't be read: {error.strerror}") from error

    def is_held_by(self, process: ProcessId) -> bool:
        """By ``/proc/*/fdinfo``, as :meth:`heirs`; of the file that we wait for, whatever has its name by now."""
        try:
            wanted = os.stat(self._path) if self._fd is None else os.fstat(self._fd)
        except OSError:
            return False
        return _who_locked(process.pid, wanted) is not None

    def heirs(self) -> tuple[int, ...] | None:
        """By ``/proc/*/fdinfo``, which tells whose open file carries the lock, and who asked for it (proc(5))."""
        try:
            wanted = os.stat(self._path)
        except OSError:
            return ()
        holders = {pid: _who_locked(pid, wanted) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
        if any(pid == who for pid, who in holders.items()):
            return None
        return tuple(sorted(pid for pid, who in holders.items() if who is not None))

    @property
    def is_new(self) -> bool:
        """A file deleted under its holder makes room for a second one; the holder notices within a second."""
        return self._made_the_file

    @property
    def is_intact(self) -> bool:
        """``False``: our descriptor was closed behind our back, and most likely every other with it."""
        if self._fd is None:
            return True
        try:
            mine = os.fstat(self._fd)
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) == self._identity

    def _open(self) -> None:
        self._made_the_file = False
        try:
            self._fd = os.open(self._path, _OPEN)
        except FileNotFoundError:
            self._made_the_file = True
            self._fd = os.open(self._path, _OPEN | os.O_CREAT, 0o600)
        mine = os.fstat(self._fd)
        self._identity = (mine.st_dev, mine.st_ino)
        self._guard(self._fd)

    def _close(self) -> None:
        fd, self._fd, self._held = self._fd, None, False
        self._term = 0  # should it win again and not come to begin, its old term is not the record's business any more
        if fd is not None and self._release(fd):
            os.close(fd)

    def _lock(self) -> bool:
        assert self._fd is not None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_current(self) -> bool:
        assert self._fd is not None
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._fd)
        return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)

    def _reserve(self, until: int, gap: bool, row: int, offload: Offload) -> None:
        self._reserved_until, self._gap, self._row = until, gap, row
        self._write(clean=False, offload=offload)

    def _write(self, *, clean: bool, offload: Offload) -> None:
        if self._fd is None:
            raise StoreUnavailable(f"the lock {self._path} is not held: its record is not ours to write")
        record = Tenure(self._me, self._term, self._since, clean, self._reserved_until, self._gap, self._row)
        fields = {**record._asdict(), "process": self._me.as_dict()}
        text = json.dumps(fields, separators=(",", ":")).encode()
        try:
            os.pwrite(self._fd, text.ljust(_SIZE - 1) + b"\n", 0)
            if not clean:
                # The term must not go backwards after a power cut; the flag may. Only this is offloaded: should we let
                # go meanwhile, it finds another file under this number and does it no harm.
                offload(_wait_for_disk, self._fd)
        except OSError as error:
            raise StoreUnavailable(f"the lock {self._path} can't be written: {error}") from error


def at_once(call: Callable[[int], None], fd: int) -> None:
    call(fd)


def _wait_for_disk(fd: int) -> None:
    os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)


def _parse(text: bytes) -> Tenure | None:
    try:
        data: dict[str, Any] = json.loads(text)
        return Tenure(
            ProcessId.from_dict(data["process"]),
            int(data["term"]),
            int(data["since"]),
            bool(data["clean"]),
            int(data["reserved_until"]),
            bool(data.get("gap", False)),
            int(data.get("row", 0)),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _who_locked(pid: int, wanted: os.stat_result) -> int | None:
    """Who has asked for the lock that an open file of ``pid`` carries, if one does."""
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            found = os.stat(f"/proc/{pid}/fd/{descriptor}")
            same = (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
            told = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text() if same else ""
            if lock := re.search(_WHO_LOCKED, told):
                return int(lock[1])
    except OSError:
        pass  # gone meanwhile, or not ours to see
    return None
