"""A schedule as text, to be kept in a store and read again by another process."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from onduty.errors import DeclarationError
from onduty.schedules import Schedule


def to_spec(
    *,
    every: float | timedelta | None = None,
    cron: str | None = None,
    at: datetime | None = None,
    timezone: str | None = None,
) -> str:
    """JSON for exactly one of ``every`` (seconds), ``cron`` and ``at``.

    Raises:
        DeclarationError: None or several were given, or one that can't be.
    """
    given = {name: value for name, value in (("every", every), ("cron", cron), ("at", at)) if value is not None}
    if len(given) != 1:
        raise DeclarationError(
            f"schedule(...) takes exactly one of every=, cron= and at=, not {sorted(given) or 'none'}"
        )
    if timezone is not None and cron is None:
        raise DeclarationError(f"timezone={timezone!r} goes with cron= only: an interval has none, an instant its own")
    if isinstance(every, timedelta):
        given = {"every": every.total_seconds()}
    if at is not None:
        if not isinstance(at, datetime):
            raise DeclarationError(f"at={at!r} must be an aware datetime")
        given = {"at": at.isoformat()}
    if timezone is not None:
        given["timezone"] = timezone
    try:
        text = json.dumps(given, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DeclarationError(
            f"schedule({given!r}): {error}; give seconds, a timedelta, a cron line or a datetime"
        ) from None
    from_spec(text, timezone or "UTC")  # refused here, where it is written
    return text


def from_spec(text: str, zone: str) -> Schedule:
    """The schedule, in ``zone`` where it names none. Raises ``DeclarationError``: this version can't read it."""
    given: dict[str, Any] = json.loads(text)
    if "every" in given:
        from onduty.schedules.interval import interval

        return interval(seconds=given["every"])
    if "cron" in given:
        from onduty.schedules.cron import Cron

        return Cron(given["cron"], given.get("timezone") or zone)
    if "at" in given:
        from onduty.schedules.once import At

        return At(datetime.fromisoformat(given["at"]))
    raise DeclarationError(f"a schedule of another version of onduty: {text}")
