"""How a task behaves beside its schedule, and the refusal of what makes no sense, where it is written."""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
import math
from datetime import timedelta
from typing import Any, Literal, NamedTuple, get_args

from onduty.errors import DeclarationError

Missed = Literal["once", "skip", "all"]
Overlap = Literal["skip", "queue", "cancel"]
Where = Literal["leader", "every_worker"]


LONGEST = 36_525 * 86_400
"""Seconds, a century: what comes of more is no instant that a machine can name."""


class Options(NamedTuple):
    """How a task behaves beside its schedule; durations in seconds. The table in the docs is the meaning.

    Made by :func:`checked`, unless the values are known to be right.
    """

    missed: Missed = "once"
    missed_window: float = 24 * 3600.0
    overlap: Overlap | None = None
    concurrency: int = 1
    timeout: float | None = None
    retries: int = 0
    backoff: float = 1.0
    jitter: float = 0.0
    on: Where = "leader"
    retry_lost: bool = False
    was: str | None = None


def checked(given: dict[str, Any]) -> Options:
    """Options from what a user wrote.

    Raises:
        DeclarationError: No such option, or a value that makes no sense.
    """
    if unknown := [name for name in given if name not in Options._fields]:
        raise DeclarationError(f"{unknown[0]}= is not an option here{_meant(unknown[0])}")
    said = Options(**given)
    _one_of("missed", said.missed, get_args(Missed))
    _one_of("on", said.on, get_args(Where))
    if said.overlap is not None:
        _one_of("overlap", said.overlap, get_args(Overlap))
    if not isinstance(said.retry_lost, bool):
        raise DeclarationError(f"retry_lost={said.retry_lost!r} must be True or False")
    if said.was is not None:
        printable("was", said.was)
    _whole("concurrency", said.concurrency, least=1)
    _whole("retries", said.retries, least=0)
    return said._replace(
        missed_window=seconds("missed_window", said.missed_window),
        timeout=None if said.timeout is None else seconds("timeout", said.timeout, zero=False),
        backoff=seconds("backoff", said.backoff),
        jitter=seconds("jitter", said.jitter),
    )


def _meant(wrong: str) -> str:
    import difflib

    elsewhere = {"timezone": "cron", "offset": "every", "key": "once"}
    elsewhere |= dict.fromkeys(("seconds", "minutes", "hours"), "every")
    if wrong in elsewhere:
        return f": it goes with {elsewhere[wrong]} only"
    if wrong in ("days", "weeks"):
        return f"; say hours=24 for a day, or every(timedelta({wrong}=1))"
    known = [*Options._fields, "name", *elsewhere]
    alike = {"tz": ["timezone"], "retry": ["retries"]}.get(wrong) or difflib.get_close_matches(wrong, known, n=1)
    if alike:
        return f"; did you mean {alike[0]}=?"
    return f"; options are name, {', '.join(Options._fields)}; timezone of cron, offset of every"


def seconds(name: str, value: float | timedelta, *, zero: bool = True) -> float:
    """A duration given as number or ``timedelta``, in seconds; refuses what is not a sensible one."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or (isinstance(value, float) and not math.isfinite(value)):
        raise DeclarationError(f"{name}={value!r} is not a duration; give seconds or a timedelta")
    if value < 0 or (value == 0 and not zero):
        raise DeclarationError(f"{name}={value!r:.40} must be {'zero or more' if zero else 'more than zero'} seconds")
    if value > LONGEST:
        raise DeclarationError(f"{name}={value!r:.40} must be at most {LONGEST} seconds (a century)")
    return float(value)


def printable(what: str, name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise DeclarationError(f"{what}={name!r} must be printable text of at most 200 characters")
    return name


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise DeclarationError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DeclarationError(f"{name}={value!r} must be a whole number of at least {least}")
