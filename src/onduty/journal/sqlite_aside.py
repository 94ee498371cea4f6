"""A damaged or foreign file goes out of the way, with its logs, under a name that says so. Nothing is deleted."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from onduty.errors import StoreUnavailable

# The file itself goes last. Whoever opens it in the meantime may make new logs beside it, but these are of no harm:
# SQLite deletes what lies beside a file that is empty. With the file gone first, a new one might be made
# and written to, and it is that one's logs which would then be taken away.
_LOGS = ("-wal", "-shm")


def set_aside(path: Path, why: str) -> Path:
    """Rename the file and its logs to ``….<why>-<UTC time>``; answers the file's new name.

    ``why`` is ``"damaged"`` or ``"foreign"``; or ``"deleted"`` or ``"replaced"``, where only the logs of the file that
    was there before are moved. No connection to it may be open in this process.
    """
    target = _free(path, why)
    only_logs = why in ("deleted", "replaced")
    moved: list[str] = []
    try:
        for part in _LOGS if only_logs else (*_LOGS, ""):
            try:
                os.rename(f"{path}{part}", f"{target}{part}")
                moved.append(part)
            except FileNotFoundError:
                if not part:
                    raise
    except OSError as error:
        for part in moved:
            with suppress(OSError):
                os.rename(f"{target}{part}", f"{path}{part}")
        raise StoreUnavailable(
            f"{path} can't be set aside as {target.name}: {error.strerror}; let this user write its folder"
        ) from error
    return target


def _free(path: Path, word: str) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"{path.name}.{word}-{stamp}{f'-{number}' if number > 1 else ''}" for number in count(1))
    return next(
        one for one in map(path.with_name, names) if not any(Path(f"{one}{log}").exists() for log in ("", *_LOGS))
    )
