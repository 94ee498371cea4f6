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
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from onduty.errors import ConfigError, JournalBusy, StoreUnavailable
from onduty.journal.sqlite_opening import (
    connect,
    cut_short,
    explained,
    is_of_the_file,
    is_whole,
    logs_of,
    make_file,
    nonsense,
    replaced,
    without_log,
)
from onduty.journal.sqlite_session import Nonsense, Session, unprotected

Answer = TypeVar("Answer")
Durability = Literal["normal", "full"]

CHECKPOINT_AFTER = 200
"""Commits, of five pages or so each: what SQLite itself would take for enough."""


if TYPE_CHECKING:

    class Offload(Protocol):
        """Calls ``fn(*args)``, one call at a time, where blocking in C holds up nobody; its answer is the call's."""

        def __call__(self, fn: Callable[..., Answer], /, *args: Any) -> Answer: ...


class SqliteFile:
    """``offload`` is where every touch of the connection happens; by default the calling thread.

    Callers wait for their turn under a lock of what the server calls a thread, before the offload: there, nobody
    could say for how long.

    ``durability``: after a power cut, ``"normal"`` may have lost the last commits (never their order), ``"full"``
    has lost none and pays an fsync for each. A killed process loses nothing in either.
    ``busy_seconds``: how long to wait for another process's transaction.
    """

    _turn: threading.Lock  # made by open(): before, the server may still be patching threading

    def __init__(
        self, path: str | Path, *, offload: Offload | None, durability: Durability, busy_seconds: float
    ) -> None:
        if durability not in ("normal", "full"):
            raise ConfigError(f"durability={durability!r}: it is 'normal' or 'full'")
        self.path = Path(path).absolute()
        self._offload: Offload = offload or _right_here
        self._durability = durability
        self._busy_seconds = busy_seconds
        self._session: Session | None = None
        self._is_touched = False  # something is on its way to the offload, or there
        self._is_forking = False
        self._comes_back = False  # it was disconnected for a fork only, and connects again when it is asked

    def open(self) -> None:
        """Connect, making the file if it is missing; harmless when connected to the file that is there now.

        Raises:
            ConfigError: The file was made by a newer onduty.
            JournalDamaged: It is not a journal, or a damaged one.
            StoreUnavailable: It can't be opened now, or never again by this process.
        """
        self._leave_to_parent()
        vars(self).setdefault("_turn", threading.Lock())  # in one step: two threads may be first
        session = self._session
        if session is None or not self._is_there(session):  # else no need to wait for who has the turn
            self._in_turn(self._open)

    def close(self) -> None:
        """Disconnect in order; harmless when not connected."""
        self._leave_to_parent()
        self._comes_back = False
        if self._session is not None:
            self._in_turn(self._close)

    def set_aside(self, why: str) -> Path:
        """Disconnect, and move the file and its logs away; see ``sqlite_aside``. Not before :meth:`open`."""
        self._leave_to_parent()
        if "_turn" not in vars(self):
            raise self._not_open()

        from onduty.journal.sqlite_aside import set_aside  # here: hardly ever needed

        def move() -> Path:
            self._close()
            return set_aside(self.path, why)

        return self._in_turn(move)

    def read(self, work: Callable[[Session], Answer]) -> Answer:
        """``work`` asks a single statement, so that it sees a single moment."""
        self._enter()
        answer: Answer = self._in_turn(self._read, work)
        return answer

    def is_as_it_was(self, session: Session, version: tuple[int, int]) -> bool:
        """Whether nobody has written since; in doubt it says no.

        Asked right here and not in the offload: it waits neither for the disk nor for another process.
        """
        self._leave_to_parent()
        if session is not self._session:
            return False
        with self._turn:
            # A greenlet that was killed while it waited for the offload has left its turn, and its call goes on.
            if self._is_touched or session is not self._session or not self._is_there(session):
                return False
            try:
                session.wait_for_others(0)
                try:
                    return session.version() == version
                finally:
                    session.wait_for_others(self._busy_seconds)
            except sqlite3.Error:
                return False

    def write(self, work: Callable[[Session], Answer]) -> Answer:
        """``work`` in one transaction, which no other process can interrupt; rolled back when it raises."""
        self._enter()
        answer: Answer = self._in_turn(self._write, work)
        return answer

    def write_within(self, seconds: float, work: Callable[[Session], Answer]) -> Answer:
        """The same for somebody who does not wait longer than that, for other threads and processes together.

        Raises:
            JournalBusy: Nothing was written.
        """
        self._enter()
        deadline_mono = time.monotonic() + seconds
        if not self._turn.acquire(timeout=seconds):
            raise JournalBusy(
                f"{self.path}: this process itself has been busy with it for {seconds:g} s; look for what holds it up,"
                " such as a slow disk, a backup, or a shell with an open transaction"
            )
        try:
            answer: Answer = self._touch(self._write_by, deadline_mono, work)
            return answer
        finally:
            self._turn.release()

    def checkpoint(self) -> None:
        """Move what the log holds into the file, if it is worth it; SQLite would do so in the middle of a commit.

        Measured: such a commit takes 10 to 15 ms, others 0.1.
        """
        session = self._session
        if session is not None and session.commits >= CHECKPOINT_AFTER and session.pid == os.getpid():
            session.commits = 0
            self.read(lambda session: session.cursor.execute("pragma wal_checkpoint(passive)").fetchone())

    def before_fork(self) -> None:
        """Disconnect, and keep the turn: a thread that connected in between would leave the child its connection."""
        self._leave_to_parent()
        if "_turn" in vars(self):  # else it was never open
            self._turn.acquire()
            self._is_forking = True
            if self._session is not None:
                self._comes_back = True
                self._touch(self._close)

    def after_fork(self) -> None:
        """Give the turn to the next, in the parent."""
        if self._is_forking:
            self._is_forking = False
            self._turn.release()

    def abandon(self) -> None:
        """Let go without closing, as after the descriptors were lost; this process can't open the file again.

        Closing would check-point into, and lock, whatever file has those descriptor numbers by now.
        """
        session, self._session = self._session, None
        if session is not None:
            session.keep_for_ever()

    def forget_in_child(self) -> None:
        """The same in a forked child, where another thread of the parent may have held our lock for ever."""
        vars(self).pop("_turn", None)
        self._is_forking = self._comes_back = False
        self.abandon()

    def _leave_to_parent(self) -> None:
        # A fork made in C tells nobody; asked before the offload, whose thread or lock is the parent's too.
        if self._session is not None and self._session.pid != os.getpid():
            self.forget_in_child()

    def _enter(self) -> None:
        self._leave_to_parent()
        if self._session is None and not self._comes_back:
            raise self._not_open()

    def _in_turn(self, fn: Callable[..., Answer], /, *args: Any) -> Answer:
        with self._turn:
            return self._touch(fn, *args)

    def _touch(self, fn: Callable[..., Answer], /, *args: Any) -> Answer:
        self._is_touched = True
        answer: Answer = self._offload(self._touched, fn, *args)
        return answer

    def _touched(self, fn: Callable[..., Answer], /, *args: Any) -> Answer:
        self._is_touched = True  # again: a call that was left alone may have ended since
        try:
            return fn(*args)
        finally:
            self._is_touched = False

    def _open(self) -> None:
        session = self._session
        if session is not None:
            if self._is_there(session):
                return
            self._close_the_old(session)
        self._session, self._comes_back = self._connect(), False

    def _is_there(self, session: Session) -> bool:
        return _inode(self._look()) == session.inode and logs_of(self.path) == session.logs

    def _close(self) -> None:
        # A file that was moved away meanwhile is safe: SQLite compares the inode before it deletes a log by its name.
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _read(self, work: Callable[[Session], Answer]) -> Answer:
        session = self._current()
        try:
            return work(session)
        except sqlite3.DatabaseError as error:
            if is_of_the_file(error):
                raise explained(self.path, error) from error
            raise
        except Nonsense as error:
            raise nonsense(self.path, error) from error

    def _write(self, work: Callable[[Session], Answer]) -> Answer:
        session = self._current()
        if session.is_refused:
            session = self._connected_anew(session)
        execute = session.cursor.execute
        try:
            execute("begin immediate")
            answer = work(session)
            execute("commit")
            session.commits += 1
            return answer
        except BaseException as error:
            self._roll_back(session)
            if is_of_the_file(error):
                session.is_refused = "readonly" in str(error)
                raise explained(self.path, error) from error
            raise

    def _connected_anew(self, old: Session) -> Session:
        """What SQLite could open for reading only, it never writes; by now it may be able to."""
        new = self._connect()
        old.close()
        self._session = new
        return new

    def _write_by(self, deadline_mono: float, work: Callable[[Session], Answer]) -> Answer:
        session = self._current()
        session.wait_for_others(deadline_mono - time.monotonic())
        try:
            return self._write(work)
        finally:
            if self._session is session:
                session.wait_for_others(self._busy_seconds)

    def _roll_back(self, session: Session) -> None:
        session.forget_all()
        try:
            if session.connection.in_transaction:
                session.cursor.execute("rollback")
        except sqlite3.Error:
            # The error that led here is the one to report. The file itself is safe: closing drops what was not
            # committed.
            self._close()

    def _current(self) -> Session:
        if self._session is None and self._comes_back:
            self._open()
        session = self._session
        if session is None:
            raise self._not_open()
        found = self._look()
        if found is None or _inode(found) != session.inode or logs_of(self.path) != session.logs:
            self._close_the_old(session)
            raise StoreUnavailable(
                f"{self.path} was deleted or replaced while it was open; the worker on duty begins with the new one"
            )
        if found.st_size != session.size:
            # By itself it only grows. If it was cut short, this connection would not notice while it has the rest in
            # memory; whoever opens the file next would, and find slots unclaimed.
            if found.st_size < session.size and not (found.st_size and is_whole(self.path)):
                raise cut_short(self.path)
            session.size = found.st_size
        return session

    def _close_the_old(self, session: Session) -> None:
        """The path names another file by now, or other logs. Raises ``JournalDamaged``: they do not belong together."""
        # Asked while they are open: their inodes may name other files as soon as they are not.
        found, logs = self._look(), logs_of(self.path)
        self._close()
        if _inode(found) == session.inode and not set(session.logs) <= set(logs):
            raise without_log(self.path)
        if found is not None and session.logs and logs == session.logs:
            raise replaced(self.path)

    def _look(self) -> os.stat_result | None:
        try:
            return os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"{self.path} can't be looked at: {error.strerror}") from error

    def _connect(self) -> Session:
        inode = make_file(self.path)
        if inode in unprotected:
            raise StoreUnavailable(
                f"this process (pid {os.getpid()}) can't use {self.path} any more: it was forked while that was open,"
                " or its descriptors were closed, and SQLite would write there without locks. Use a process"
                " that was started afresh (the 'spawn' method of multiprocessing), or restart this worker."
            )
        connection = connect(self.path, inode, synchronous=self._durability, busy_seconds=self._busy_seconds)
        if _inode(self._look()) != inode:
            connection.close()
            raise StoreUnavailable(f"{self.path} was deleted or replaced while it was being opened; try again")
        return Session(connection, inode, logs_of(self.path))

    def _not_open(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the journal {self.path} is not open in this process (pid {os.getpid()}): it was deleted, or never opened"
        )


def _inode(found: os.stat_result | None) -> tuple[int, int] | None:
    return (found.st_dev, found.st_ino) if found else None


def _right_here(fn: Callable[..., Answer], /, *args: Any) -> Answer:
    return fn(*args)
