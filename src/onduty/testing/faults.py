"""The journal of a rehearsal: it fails when the test says so, and forgets nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from onduty.errors import StoreFull, StoreUnavailable
from onduty.journal import Journal

WRITES = {"begin_term", "write", "set_state", "request", "set_paused", "put_schedule", "drop_schedule"}


class FaultyJournal:
    """``inner``, but what the :attr:`error` of the moment stands for fails: all of it, or, full, what writes."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self.error: StoreUnavailable | None = None

    def as_journal(self) -> Journal:
        return cast("Journal", self)  # by delegation, which a type checker does not follow

    def prune(self, keep_runs: int, before: int) -> int:
        return 0  # a test may look at all that was

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.error is not None and (name in WRITES or not isinstance(self.error, StoreFull)):
                raise self.error
            return method(*args, **kwargs)

        return call
