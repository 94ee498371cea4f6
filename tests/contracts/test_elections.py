"""Each election keeps the promises of the port."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onduty.election import Election
from onduty.election.file import FileElection, at_once
from onduty.testing.election_contract import ME, Candidates, ElectionContract


class TestFileElection(ElectionContract):
    @pytest.fixture
    def candidate(self, tmp_path: Path) -> Candidates:
        return lambda: FileElection(tmp_path / "lock", ME, lambda fd: None, lambda fd: True, at_once)

    def crash(self, holder: Election) -> None:
        assert isinstance(holder, FileElection)
        assert holder._fd is not None
        os.close(holder._fd)  # as the kernel does
        holder._fd = None
