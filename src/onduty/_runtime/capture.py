"""What a run says through any logger is kept with it.

By the factory of log records, not by a handler: a handler on the root logger would make a later ``logging.basicConfig``
do nothing at all (docs.python.org, ``logging.basicConfig``). So it hears what its logger's level lets through, and no
more; whoever sets a factory of their own later takes ours away, and nothing else.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from onduty.context import current

LINE_LIMIT = 2000
_installed: list[Any] = []


def install() -> None:
    """From now on, in this process; asking again changes nothing."""
    inner = logging.getLogRecordFactory()
    if _installed and inner is _installed[0]:
        return

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = inner(*args, **kwargs)
        context = current.get()
        if context is not None:
            context.keep(_line(record))
        return record

    _installed[:] = [make]
    logging.setLogRecordFactory(make)


def _line(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
    except Exception as error:  # noqa: BLE001  # wrong arguments, or what can't be shown: logging says so itself, as ever
        text = f"{record.msg if isinstance(record.msg, str) else type(record.msg).__name__} (not shown: {error!r})"
    return line(record.created, record.levelname, text)


def line(at: float, level: str, text: str) -> str:
    """One of a run's log: seconds since the epoch, level, text."""
    return json.dumps([round(at, 3), level, text[:LINE_LIMIT]], separators=(",", ":"))
