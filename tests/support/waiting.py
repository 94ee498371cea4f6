"""Wait for a fact, with a deadline; never for a time.

A test that sleeps "long enough" is slow on a quick machine and wrong on a slow one. These return as soon as
the fact holds and fail, naming it, when the deadline has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(fact: Callable[[], T], timeout: float = 10.0, *, what: str = "", interval: float = 0.01) -> T:
    """Return the first true answer of ``fact()``; ``AssertionError`` after ``timeout`` seconds without one.

    ``fact`` may also make its point by ``assert``: an ``AssertionError`` inside counts as "not yet", and the
    last one is shown as the cause. Any other exception is not patience's business and goes through at once.
    A fact that never returns a true value but raises nothing (a block of asserts) should end with ``return True``.
    ``what`` names the fact in the failure; ``interval`` is the pause between two looks, in seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        cause: AssertionError | None = None
        try:
            last = answer = fact()
            if answer:
                return answer
        except AssertionError as error:
            last = cause = error
        if time.monotonic() >= deadline:
            name = what or getattr(fact, "__name__", repr(fact))
            raise AssertionError(f"not true within {timeout:g} s: {name}; last seen: {last!r}") from cause
        time.sleep(interval)


def throughout(fact: Callable[[], object], seconds: float, *, what: str = "", interval: float = 0.01) -> None:
    """Fail as soon as ``fact()`` is untrue within ``seconds``: for the rare truth that is an absence.

    Prefer an event after which the absence is certain (the process has ended); this one costs its full time.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = fact()
        assert answer, (
            f"was to stay true for {seconds:g} s: {what or getattr(fact, '__name__', repr(fact))}; saw {answer!r}"
        )
        if time.monotonic() >= deadline:
            return
        time.sleep(interval)
