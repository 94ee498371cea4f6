"""A connection to the journal's file, and what it has learnt; also connections that can't be closed any more."""

from __future__ import annotations

import os
import sqlite3

unprotected: set[tuple[int, int]] = set()
"""Inodes for which SQLite, in this process, believes in locks that it has not."""


class Nonsense(Exception):
    """A value that no journal holds, in a file that is sound otherwise."""


class Mixed(Exception):
    """Of many entries one was refused, or is of a rarer kind: they are to be written anew, each by itself."""


class Session:
    """A connection and what was learnt through it; that part is emptied whenever a transaction is rolled back."""

    __slots__ = ("commits", "connection", "cursor", "inode", "is_refused", "logs", "own_terms", "pid", "places", "size")

    def __init__(self, connection: sqlite3.Connection, inode: tuple[int, int], logs: tuple[int, ...]) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.inode = inode
        self.logs = logs
        self.pid = os.getpid()
        self.size = 0  # of the file when it was last looked at: see ``SqliteFile``
        self.is_refused = False  # it may only read: what SQLite could not open for writing stays so
        self.commits = 0  # since the last checkpoint
        self.own_terms: set[int] = set()
        self.places: dict[tuple[str, str], tuple[int, int]] = {}  # by (task, schedule): see ``sqlite_entries.place``

    def forget_all(self) -> None:
        self.own_terms.clear()
        self.places.clear()

    def close(self) -> None:
        """Whoever still holds this object holds no file open: SQLite keeps what has an unfinished statement."""
        self.cursor.close()
        self.connection.close()

    def version(self) -> tuple[int, int]:
        """Another one once anybody has committed, this connection or another; only its own can be compared."""
        by_others: int = self.cursor.execute("pragma data_version").fetchone()[0]
        return by_others, self.connection.total_changes

    def wait_for_others(self, seconds: float) -> None:
        """How long from now on a statement waits for another process's transaction."""
        self.cursor.execute(f"pragma busy_timeout = {round(max(seconds, 0.0) * 1000)}")

    def keep_for_ever(self) -> None:
        """Never close it; the file can't be used by this process again."""
        import ctypes

        unprotected.add(self.inode)
        _kept.append(self)
        # A list dies with the interpreter, which would then close the connection after all: a child that outlives its
        # parent would write back, and delete, a log that others have replaced since.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))


_kept: list[Session] = []
