"""How a SQLite file becomes a journal of ours, whoever else is opening it: made, recognised, or refused with a remedy.

A file of another program, of a newer onduty, or a damaged one is left as it is; the error says which of them it is.
That is asked through SQLite, never by reading the file: closing a plain descriptor would drop the locks of a
connection in this process.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

from onduty.errors import ConfigError, JournalBusy, JournalDamaged, StoreFull, StoreUnavailable
from onduty.journal import sqlite_schema

_AUTOCHECKPOINT_PAGES = 4000  # only where nobody ever rests: see ``SqliteFile.checkpoint``
# What is left of a log that a long reader let grow. More than a checkpoint finds otherwise: cutting off what is grown
# again at once cost the next commit 8 ms (measured).
_WAL_BYTES = 5120 * _AUTOCHECKPOINT_PAGES
_SET_ASIDE = (
    "the worker on duty sets it aside and begins a new one; to do so by hand, stop the app and move the file away,"
    " together with its -wal and -shm"
)
_DAMAGED = ("not a database", "malformed", "no such table", "no such column", "Could not decode")
_UNWRITABLE = ("full", "readonly", "I/O error")
_REMEDIES = (
    ("full", "free some space there"),
    ("readonly", "let this user write the file and its folder"),
    ("unable to open", "let this user write the folder, on a disk that is not mounted read-only"),
    ("I/O error", "look at the disk and at the kernel's log"),
)


def make_file(path: Path) -> tuple[int, int]:
    """Make the file, empty, if it is missing; see to it that it is a file and nobody else's to read.

    Answers its device and inode number, which name it for as long as somebody has it open.
    """
    try:
        # In this order: SQLite makes the file before its logs, so logs without it are of a file that was deleted.
        if logs_of(path) and not path.exists():
            raise JournalDamaged(f"{path} was deleted and its logs were not: {_SET_ASIDE}", "deleted")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            pass  # and it is not opened here, see above
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise JournalDamaged(f"{path} is not a regular file: {_SET_ASIDE}", "foreign")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(path, 0o600)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} can't be made or used: {error.strerror}; let this user write its folder, and free some space"
        ) from error
    return found.st_dev, found.st_ino


def logs_of(path: Path) -> tuple[int, ...]:
    """The inodes of ``-wal`` and ``-shm``, as far as they are there. Both live for as long as a connection does."""
    found = []
    for part in ("-wal", "-shm"):
        try:
            found.append(os.stat(f"{path}{part}").st_ino)
        except FileNotFoundError:
            pass
    return tuple(found)


def replaced(path: Path) -> JournalDamaged:
    return JournalDamaged(
        f"{path} was replaced while it was in use, and the old one's logs still lie beside it: {_SET_ASIDE}", "replaced"
    )


def nonsense(path: Path, error: Exception) -> JournalDamaged:
    return JournalDamaged(f"{path} holds what no journal holds ({error}): {_SET_ASIDE}")


def without_log(path: Path) -> JournalDamaged:
    # What others still have open they would go on with, beside who made a new one, until the last of them to close it
    # overwrites what the others wrote.
    return JournalDamaged(f"{path}: its log (-wal or -shm) was deleted while it was in use: {_SET_ASIDE}")


def connect(path: Path, inode: tuple[int, int], *, synchronous: str, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the file that :func:`make_file` has named, as a journal of the present version in WAL mode.

    Raises:
        ConfigError: It was made by a newer onduty.
        JournalDamaged: It is not a journal, or a damaged one.
        StoreUnavailable: It can't be opened now.
    """
    connection = None
    try:
        # mode=rw: should the file go away right now, SQLite must not make one that others can read.
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute(
            f"pragma synchronous = {synchronous}"
        )  # first: a new file is made with fewer waits for the disk
        _prepare(connection, path, inode, time.monotonic() + busy_seconds)
        # What SQLite would put aside in the machine's folder for temporary files, which may be full or refuse writing.
        connection.execute("pragma temp_store = memory")
        connection.execute(f"pragma journal_size_limit = {_WAL_BYTES}")
        connection.execute(f"pragma wal_autocheckpoint = {_AUTOCHECKPOINT_PAGES}")
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        if is_of_the_file(error):
            raise explained(path, error) from error
        raise


def is_of_the_file(error: BaseException) -> bool:
    """Whether the file or its disk is to blame; SQLite's other errors are mistakes of ours and stay what they are."""
    return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)


def explained(path: Path, error: BaseException) -> StoreUnavailable:
    """What to raise instead of SQLite's error: it names the file and the remedy."""
    said = str(error)
    if any(sign in said for sign in _DAMAGED):
        return JournalDamaged(f"{path} is not a journal or is damaged ({said}): {_SET_ASIDE}")
    if "lock" in said:
        return JournalBusy(
            f"{path}: {said}; another process holds it: look for a backup, a shell with an open transaction, or a"
            " worker that was stopped in the middle of one"
        )
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in said), "see SQLite's message")
    kind = StoreFull if any(sign in said for sign in _UNWRITABLE) else StoreUnavailable
    return kind(f"{path}: {said}; {remedy}")


def is_whole(path: Path) -> bool:
    """Whether all of the file is there and makes sense, read afresh: a connection in use has much of it in memory.

    For a file that became shorter while it was open (``VACUUM`` by hand does so and no harm); it reads it all. Not for
    an empty one: SQLite would delete its log.
    """
    connection = None
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        found: str = connection.execute("pragma quick_check(1)").fetchone()[0]
        return found == "ok"
    except sqlite3.DatabaseError as error:
        said = explained(path, error)
        if isinstance(said, JournalDamaged):
            return False
        raise said from error
    finally:
        if connection is not None:
            connection.close()


def cut_short(path: Path) -> JournalDamaged:
    return JournalDamaged(f"{path} is not a journal or is damaged (its end is missing): {_SET_ASIDE}")


def _prepare(connection: sqlite3.Connection, path: Path, inode: tuple[int, int], deadline_mono: float) -> None:
    while True:
        try:
            _make_journal(connection, path, inode)
            return
        except sqlite3.OperationalError as error:
            # The switch to WAL does not wait for others by itself, it fails.
            if not _is_locked(error) or time.monotonic() > deadline_mono:
                raise
        _wait_for_others(connection)


def _make_journal(connection: sqlite3.Connection, path: Path, inode: tuple[int, int]) -> None:
    version = sqlite_schema.version(connection)
    if version is None:
        raise JournalDamaged(f"{path} is a database of another program: {_SET_ASIDE}", "foreign")
    if version > sqlite_schema.LATEST:
        raise ConfigError(
            f"{path} was written by a newer onduty (its tables are version {version}, this one knows"
            f" {sqlite_schema.LATEST}): install that version, or choose another dir"
        )
    if connection.execute("pragma journal_mode").fetchone()[0] != "wal":
        connection.execute("pragma journal_mode = wal")
    if version < sqlite_schema.LATEST:
        sqlite_schema.migrate(connection, version)
    connection.execute("select max(term) from terms").fetchone()
    _check_length(connection, path, inode)


def _check_length(connection: sqlite3.Connection, path: Path, inode: tuple[int, int]) -> None:
    """SQLite takes what is missing for zeros, and may find no error in them."""
    pages, page_size = connection.execute("select * from pragma_page_count, pragma_page_size").fetchone()
    # In this order: what the log held when the pages were counted is in the file if the log is empty now.
    try:
        if os.stat(f"{path}-wal").st_size > 0:
            return
    except FileNotFoundError:
        pass
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return  # it was moved away right now, which whoever opens it will notice
    if (found.st_dev, found.st_ino) == inode and found.st_size < pages * page_size:
        raise cut_short(path)


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return "lock" in str(error)


def _wait_for_others(connection: sqlite3.Connection) -> None:
    """Until those who use the file now have ended. It waits in C: ``time.sleep`` may be gevent's, of another thread."""
    try:
        connection.execute("begin exclusive")
        connection.execute("rollback")
    except sqlite3.OperationalError as error:
        if not _is_locked(error):
            raise
