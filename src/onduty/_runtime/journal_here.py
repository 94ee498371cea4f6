"""The journal as one process has it: opened when it is first needed, given up before a fork that must not copy it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from onduty._runtime import forks
from onduty._runtime.lifecycle import Lifecycle, State
from onduty._runtime.threads import make_offload
from onduty.folder import may_read, prepare
from onduty.journal import Journal
from onduty.process import this_process

if TYPE_CHECKING:
    from onduty._runtime.threads import Offload


class JournalHere:
    """Of one engine. ``open_journal`` and ``open_scratch`` make it: no back end is known here.

    ``is_test``: a test's is its own, and nobody else's.
    """

    def __init__(
        self,
        folder: Path,
        life: Lifecycle,
        is_test: Callable[[], bool],
        open_journal: Callable[[Path, Offload], Journal],
        open_scratch: Callable[[], Journal],
    ) -> None:
        self._folder = folder
        self._file = folder / "journal.sqlite3"
        self._life = life
        self._is_test = is_test
        self._open_journal = open_journal
        self._open_scratch = open_scratch
        self._made: dict[None, Journal] = {}
        self._lent: Journal | None = None

    def made(self) -> Journal:
        """It may not be open yet."""
        if self._lent is not None:
            return self._lent
        if not self._made:
            is_test = self._is_test()
            new = self._open_scratch() if is_test else self._open_journal(self._file, make_offload())
            self._made.setdefault(None, new)  # in one step: two threads may be first
            if not is_test:
                forks.around(self._before_fork, self._after_fork)
        return self._made[None]

    def to_read(self) -> Journal | None:
        """Open; ``None``: there is none yet."""
        return self._opened() if self._is_there() or may_read(self._file) else None

    def to_write(self) -> Journal:
        """Open, and made if there is none yet: who asks for something may be the first to come."""
        if not self._is_there():
            prepare(self._folder)
        return self._opened()

    def lend(self, journal: Journal | None) -> None:
        """From now on all is kept in ``journal``, until that is taken back with ``None``."""
        self._lent = journal

    def forget_in_child(self) -> Journal | None:
        """What a forked child has inherited, and must not collect."""
        inherited = self._made.pop(None, None)
        if inherited is not None:
            inherited.forget_in_child()
        return inherited

    def _is_there(self) -> bool:
        return bool(self._made) or self._lent is not None or self._is_test()

    def _opened(self) -> Journal:
        journal = self.made()
        journal.open(this_process())  # harmless, unless the file was deleted or replaced since
        return journal

    def _before_fork(self) -> None:
        # Whoever read the journal at import, such as the master of --preload, forks the workers that will need it, and
        # a file that was open in a fork can't be opened again. A worker keeps it: its children have no part in it.
        if self._life.state in (State.IDLE, State.NEVER):
            for journal in self._made.values():
                journal.before_fork()

    def _after_fork(self) -> None:
        for journal in self._made.values():
            journal.after_fork()
