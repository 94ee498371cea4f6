"""Each journal keeps the promises of the port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onduty.journal import Journal
from onduty.journal.memory import MemoryJournal
from onduty.journal.sqlite import SqliteJournal
from onduty.process import ProcessId
from onduty.testing.journal_contract import ME, JournalContract


class TestMemoryJournal(JournalContract):
    durable = False

    @pytest.fixture
    def journal(self) -> MemoryJournal:
        journal = MemoryJournal()
        journal.open(ME)
        return journal


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[SqliteJournal]:
        self.path = tmp_path / "journal.sqlite3"
        journal = SqliteJournal(self.path)
        journal.open(ME)
        yield journal
        journal.close()

    def reopen(self, journal: Journal, me: ProcessId) -> Journal:
        other = SqliteJournal(self.path)
        other.open(me)
        return other
