"""The workers beside this one, and the rows of the journal, in the plain words that the page and the proof read."""

from __future__ import annotations

import os
from typing import Any

import psutil

from onduty.journal import RunRecord


def workers() -> list[int]:
    """The living workers of this server: this one and its brothers."""
    siblings = psutil.Process(os.getppid()).children()
    return sorted(one.pid for one in siblings if _is_alive(one))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def as_fact(row: RunRecord) -> dict[str, Any]:
    """Slots in seconds since the epoch."""
    return {
        "task": row.task,
        "slot": row.slot and row.slot // 1_000_000,
        "first": row.first_slot and row.first_slot // 1_000_000,
        "pid": row.process.pid,
        "term": row.term,
        "outcome": row.outcome.value if row.outcome else "running",
    }
