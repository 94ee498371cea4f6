"""Which answers to the ports the settings stand for; nobody else knows a back end, and each is imported when used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onduty._runtime import forks
from onduty.config import Settings
from onduty.election import Election
from onduty.journal import Journal
from onduty.process import ProcessId

if TYPE_CHECKING:
    from onduty._runtime.threads import Offload


def open_journal(settings: Settings, path: Path, offload: Offload) -> Journal:
    if settings.journal == "memory":
        return open_scratch()
    from onduty.journal.sqlite import SqliteJournal

    return SqliteJournal(path, offload=offload, durability=settings.durability)


def load_for_duty(settings: Settings) -> None:
    """Import what a journal needs once this worker leads, so that no take-over waits for it."""
    if settings.journal == "sqlite":
        import onduty.journal.sqlite_entries
        import onduty.journal.sqlite_pruning  # noqa: F401  # both for later


def open_election(folder: Path, me: ProcessId, offload: Offload) -> Election:
    from onduty.election.file import FileElection

    return FileElection(folder / "lock", me, forks.keep_from_children, forks.release, offload)


def open_scratch(keep: int = 20_000) -> Journal:
    from onduty.journal.memory import MemoryJournal

    return MemoryJournal(keep)
