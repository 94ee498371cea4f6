"""One SQLite file as one process uses it: a single connection, asked by one caller at a time.

What is written through :meth:`SqliteFile.write` is written whole or not at all, and into the file that the path names
at that moment: a file deleted or replaced while it was open is noticed before the next statement.

SQLite keeps its locks in process memory, by inode, and a fork or a careless ``close`` of the descriptors leaves
it believing in locks that the kernel does not know of: a second connection to that file, in that process, would
write unprotected, and its writes were seen to get lost. So a connection that could not be closed in order
makes its file unusable for the rest of the process, and :meth:`SqliteFile.open` says so.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from onduty.errors import ConfigError, StoreUnavailable
from onduty.journal import sqlite_schema

Answer = TypeVar("Answer")
Durability = Literal["normal", "full"]
_WAL_BYTES = 16 * 1024 * 1024  # what a checkpoint leaves of a log that a long reader let grow


class Offload(Protocol):
    """Calls ``fn(*args)``, one call at a time, where blocking in C holds up nobody; returns or raises what it does."""

    def __call__(self, fn: Callable[..., Answer], /, *args: Any) -> Answer: ...


@dataclass(slots=True)
class Session:
    """A connection and what was learnt through it; that part is emptied whenever a transaction is rolled back."""

    connection: sqlite3.Connection
    cursor: sqlite3.Cursor
    inode: tuple[int, int]
    pid: int
    task_ids: dict[str, int] = field(default_factory=dict)
    own_terms: set[int] = field(default_factory=set)


class SqliteFile:
    """``offload`` is where every touch of the connection happens; by default the calling thread, under a lock.

    ``durability``: after a power cut, ``"normal"`` may have lost the last commits (never their order), ``"full"``
    has lost none and pays an fsync for each. A killed process loses nothing in either.
    ``busy_seconds``: how long to wait for another process's transaction.
    """

    _lock: threading.Lock  # made by open(): before, the server may still be patching threading

    def __init__(
        self, path: str | Path, *, offload: Offload | None, durability: Durability, busy_seconds: float
    ) -> None:
        if durability not in _SYNCHRONOUS:
            raise ConfigError(f"durability={durability!r}: it is 'normal' or 'full'")
        self.path = Path(path).absolute()
        self._own_lock = offload is None
        self._offload: Offload = offload or self._one_at_a_time
        self._synchronous = _SYNCHRONOUS[durability]
        self._busy_seconds = busy_seconds
        self._session: Session | None = None

    def open(self) -> None:
        """Connect, making the file if it is missing; harmless when connected to the file that is there now.

        Raises:
            ConfigError: The file is not a journal, is damaged, or was made by a newer onduty.
            StoreUnavailable: It can't be opened now, or never again by this process.
        """
        if self._own_lock:
            vars(self).setdefault("_lock", threading.Lock())  # in one step: two threads may be first
        self._offload(self._open)

    def close(self) -> None:
        """Disconnect in order; harmless when not connected."""
        if self._session is not None:
            self._offload(self._close)

    def read(self, work: Callable[[Session], Answer]) -> Answer:
        """``work`` asks a single statement, so that it sees a single moment."""
        if self._session is None:
            raise self._not_open()
        answer: Answer = self._offload(self._read, work)
        return answer

    def write(self, work: Callable[[Session], Answer]) -> Answer:
        """``work`` in one transaction, which no other process can interrupt; rolled back when it raises."""
        if self._session is None:
            raise self._not_open()
        answer: Answer = self._offload(self._write, work)
        return answer

    def abandon(self) -> None:
        """Let go without closing, as after the descriptors were lost; this process can't open the file again.

        Closing would check-point into, and lock, whatever file has those descriptor numbers by now.
        """
        session, self._session = self._session, None
        if session is not None:
            _unprotected.add(session.inode)
            _keep_for_ever(session)

    def forget_in_child(self) -> None:
        """The same in a forked child, where another thread of the parent may have held our lock for ever."""
        vars(self).pop("_lock", None)
        self.abandon()

    def _one_at_a_time(self, fn: Callable[..., Answer], /, *args: Any) -> Answer:
        with self._lock:
            return fn(*args)

    def _open(self) -> None:
        session = self._session
        if session is not None and session.pid != os.getpid():
            self.abandon()
        elif session is not None:
            if self._inode() == session.inode:
                return
            self._close()
        self._session = self._connect()

    def _close(self) -> None:
        # A file that was moved away meanwhile is safe: SQLite compares the inode before it deletes a log by its name.
        session, self._session = self._session, None
        if session is not None:
            session.connection.close()

    def _read(self, work: Callable[[Session], Answer]) -> Answer:
        session = self._current()
        try:
            return work(session)
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def _write(self, work: Callable[[Session], Answer]) -> Answer:
        session = self._current()
        execute = session.cursor.execute
        try:
            execute("begin immediate")
            answer = work(session)
            execute("commit")
            return answer
        except sqlite3.DatabaseError as error:
            self._roll_back(session)
            raise self._explained(error) from error
        except BaseException:
            self._roll_back(session)
            raise

    def _roll_back(self, session: Session) -> None:
        session.task_ids.clear()
        session.own_terms.clear()
        try:
            if session.connection.in_transaction:
                session.cursor.execute("rollback")
        except sqlite3.Error:
            # The error that led here is the one to report. The file itself is safe: closing drops what was not
            # committed.
            self._close()

    def _current(self) -> Session:
        session = self._session
        if session is None:
            raise self._not_open()
        if session.pid != os.getpid():
            self.abandon()
            raise self._not_open()
        if self._inode() != session.inode:
            self._close()
            raise StoreUnavailable(
                f"{self.path} was deleted or replaced while it was open; open() begins with the new one"
            )
        return session

    def _inode(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"{self.path} can't be looked at: {error.strerror}") from error
        return found.st_dev, found.st_ino

    def _connect(self) -> Session:
        inode = _regular_file(self.path)
        if inode in _unprotected:
            raise StoreUnavailable(
                f"this process (pid {os.getpid()}) can't use {self.path} any more: it was forked while that was open,"
                " or its descriptors were closed, and SQLite would write there without locks. Use a process"
                " that was started afresh (the 'spawn' method of multiprocessing), or restart this worker."
            )
        # mode=rw: should the file go away right now, SQLite must not make one that others can read.
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(connection)
            if self._inode() != inode:
                raise StoreUnavailable(  # noqa: TRY301  # the connection is closed below, like for all others
                    f"{self.path} was deleted or replaced while it was being opened; try again"
                )
        except sqlite3.DatabaseError as error:
            connection.close()
            raise self._explained(error, opening=True) from error
        except BaseException:
            connection.close()
            raise
        return Session(connection, connection.cursor(), inode, os.getpid())

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make it a journal of the present version in WAL mode, whoever else is doing the same."""
        deadline_mono = time.monotonic() + self._busy_seconds
        while True:
            try:
                self._make_journal(connection)
                break
            except sqlite3.OperationalError as error:
                # The switch to WAL does not wait for others by itself, it fails.
                if not _is_locked(error) or time.monotonic() > deadline_mono:
                    raise
            _wait_for_others(connection)
        connection.execute(f"pragma synchronous = {self._synchronous}")
        connection.execute(f"pragma journal_size_limit = {_WAL_BYTES}")

    def _make_journal(self, connection: sqlite3.Connection) -> None:
        version = sqlite_schema.version(connection)
        if version is None:
            raise ConfigError(
                f"{self.path} is a database of another program: choose another dir, or move the file away"
            )
        if version > sqlite_schema.LATEST:
            raise ConfigError(
                f"{self.path} was written by a newer onduty (its tables are version {version}, this one knows"
                f" {sqlite_schema.LATEST}): install that version, or choose another dir"
            )
        if connection.execute("pragma journal_mode").fetchone()[0] != "wal":
            connection.execute("pragma journal_mode = wal")
        if version < sqlite_schema.LATEST:
            sqlite_schema.migrate(connection, version)
        connection.execute("select max(term) from terms").fetchone()

    def _not_open(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the journal {self.path} is not open in this process (pid {os.getpid()}): call open() first"
        )

    def _explained(self, error: sqlite3.DatabaseError, opening: bool = False) -> Exception:
        """The error to raise for one of SQLite: of the file, or our own mistake, which stays what it is."""
        if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
            return error
        if opening and any(sign in str(error) for sign in _DAMAGED):
            return ConfigError(f"{self.path} is not a journal or is damaged ({error}): {_SET_ASIDE}")
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in str(error)), "see SQLite's message")
        return StoreUnavailable(f"{self.path}: {error}; {remedy}")


_SYNCHRONOUS = {"normal": "normal", "full": "full"}
_DAMAGED = ("not a database", "malformed")
_SET_ASIDE = "stop the app and move the file away, together with its -wal and -shm"
_REMEDIES = (
    ("full", "free some space there"),
    ("lock", "another process holds it: look for a backup or a shell with an open transaction"),
    ("readonly", "let this user write the file and its folder"),
    ("unable to open", "let this user read and write the folder"),
    ("I/O error", "look at the disk and at the kernel's log"),
    *((sign, _SET_ASIDE) for sign in _DAMAGED),
    ("no such", f"another program changed its tables: {_SET_ASIDE}"),
)

_unprotected: set[tuple[int, int]] = set()  # inodes for which SQLite, in this process, believes in locks it has not
_kept: list[Session] = []


def _keep_for_ever(session: Session) -> None:
    import ctypes

    _kept.append(session)
    # A list dies with the interpreter, which then would close the connection: a forked child would wait for ever for
    # a mutex that a thread of its parent held.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _regular_file(path: Path) -> tuple[int, int]:
    """Make the file, empty, if it is missing; see to it that it is a file and nobody else's to read."""
    try:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            pass  # and it is not opened here: closing it again would drop the locks of a connection in this process
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} is not a regular file: choose another dir, or move it away")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(path, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} can't be made or used: {error.strerror}; let this user write its folder, and free some space"
        ) from error
    return found.st_dev, found.st_ino


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return "lock" in str(error)


def _wait_for_others(connection: sqlite3.Connection) -> None:
    """Until whoever writes now has ended. It waits in C, since ``time.sleep`` may be gevent's, of another thread."""
    try:
        connection.execute("begin immediate")
        connection.execute("rollback")
    except sqlite3.OperationalError as error:
        if not _is_locked(error):
            raise
