"""This machine's folder: checked, private, and on a disk whose locks exclude.

``<dir>/<scope>/`` holds ``lock``, ``hub.sock`` and ``journal.sqlite3`` of one app. It is made with mode 0700 and must
belong to the user that runs the workers: who can write there can take the lock away.

A network file system is refused: whether its locks exclude depends on mount options that can't be seen from here,
and SQLite's shared memory does not work there at all (sqlite.org/wal.html).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from pathlib import Path

from onduty.errors import DirectoryRefused, StoreUnavailable

_REMOTE = {"nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "fuse"}
_REMOTE |= {"ceph", "glusterfs", "lustre", "gpfs", "ocfs2", "gfs2", "beegfs"}
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_REMEDY = "set ONDUTY_DIR (or dir=) to a folder on a local disk that this user can write to"


def scope_folder(base: Path, name: str) -> Path:
    """Where the scope ``name`` lives under ``base``; two names never share a folder."""
    if len(name) <= 40 and name.isascii() and name.strip("-") == name and name.replace("-", "_").isidentifier():
        return base / name
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:40]
    return base / f"{slug or 'app'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def prepare(folder: Path) -> None:
    """Make ``folder`` if it is missing, and refuse it if two leaders could meet there.

    Raises:
        DirectoryRefused: with the reason and the remedy.
        StoreUnavailable: There is no room, or no free descriptor, now.
    """
    try:
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)  # whatever the umask lets through
        _refuse_open_parent(folder)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass  # the usual case from the second start on
        _refuse_planted(folder)
        found = os.stat(folder, follow_symlinks=True)
    except OSError as error:
        raise unusable(f"the folder {folder} can't be made or entered", error) from error
    if not stat.S_ISDIR(found.st_mode):
        raise DirectoryRefused(f"{folder} is not a folder: {_REMEDY}")
    if found.st_uid != os.geteuid():
        raise DirectoryRefused(
            f"the folder {folder} belongs to user {found.st_uid}, and this worker runs as user {os.geteuid()}: "
            f"{_REMEDY}, or give the folder to the user that runs the workers"
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(folder, 0o700)
    _refuse_remote(folder)
    _refuse_read_only(folder)


def may_read(file: Path) -> bool:
    """Whether it is there. Raises ``DirectoryRefused`` where this user may not even look."""
    try:
        return file.exists()
    except OSError as error:
        raise unusable(f"the folder {file.parent} can't be entered", error) from error


def _refuse_open_parent(folder: Path) -> None:
    parent = os.stat(folder.parent)
    if parent.st_mode & stat.S_IWOTH and not parent.st_mode & stat.S_ISVTX:
        raise DirectoryRefused(
            f"anybody may replace {folder}, since {folder.parent} is writable by all: "
            f"chmod o-w {folder.parent}, or {_REMEDY}"
        )


def _refuse_planted(folder: Path) -> None:
    """Where many may make files, another user's link may lead anywhere, and elsewhere in a moment."""
    named = os.lstat(folder)
    if stat.S_ISLNK(named.st_mode) and named.st_uid not in (os.geteuid(), 0):
        raise DirectoryRefused(f"{folder} is a link that user {named.st_uid} has made: remove it, or {_REMEDY}")


def _refuse_remote(folder: Path) -> None:
    kind = file_system(folder)
    if kind and (kind in _REMOTE or kind.startswith("fuse.")):  # "fuseblk" is a local disk
        raise DirectoryRefused(
            f"the folder {folder} lies on a network or user-space file system ({kind}), where locks may not exclude: "
            f"{_REMEDY}"
        )


def _refuse_read_only(folder: Path) -> None:
    probe = folder / f".write-{os.urandom(6).hex()}"  # another thread, or container, may look at the same time
    try:
        descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        os.unlink(probe)
    except OSError as error:
        raise unusable(f"the folder {folder} can't be written to", error) from error


def unusable(what: str, error: OSError) -> DirectoryRefused | StoreUnavailable:
    if error.errno in _PASSING:
        return StoreUnavailable(f"{what} now ({error.strerror}): free some, or {_REMEDY}")
    reason = error.strerror
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        reason = f"{error.filename} is a file"
    return DirectoryRefused(f"{what} ({reason}): {_REMEDY}")


def file_system(folder: Path, mountinfo: str | None = None) -> str | None:
    """The type of the file system under ``folder``, by the longest mount point; ``None`` outside Linux (proc(5))."""
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return None
    path, best, kind = os.path.realpath(folder), "", None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if "\\" in point:
            point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point)
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount on the same point hides the earlier one
            best, kind = point, right.split()[0]
    return kind
