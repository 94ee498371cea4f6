"""How the loop of a term asks the journal: what can wait is asked another time, and a watcher sees it waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from onduty._runtime.books import Books
from onduty.clock import Clock
from onduty.errors import JournalDamaged, StoreUnavailable

T = TypeVar("T")

LONGEST_ANSWER = 60.0
"""Seconds for which the loop may wait for an answer of the journal, such as behind another process's transaction, and
still counts as turning; a disk that takes longer is nothing else than a frozen leader."""


class Questions:
    """Of one term, asked by its loop one after the other."""

    def __init__(self, books: Books, clock: Clock) -> None:
        self._books = books
        self._clock = clock
        self._asked_mono: float | None = None

    def ask(self, question: Callable[[], None]) -> None:
        """Something that can wait: a journal that does not answer is told of, and asked again another time.

        Raises ``JournalDamaged``.
        """
        try:
            self.answer(question)
        except JournalDamaged:
            raise
        except StoreUnavailable as error:
            self._books.fails(error)

    def answer(self, question: Callable[[], T]) -> T:
        """What it answers or raises."""
        self._asked_mono = self._clock.mono()
        try:
            return question()
        finally:
            self._asked_mono = None

    @property
    def seconds_waited(self) -> float:
        """For the answer that is waited for now; from any thread."""
        asked = self._asked_mono
        return 0.0 if asked is None else min(self._clock.mono() - asked, LONGEST_ANSWER)
