"""One instant, and no other.

An instant still to come when the task is first seen is waited for. One already past by then never runs by itself:
nobody can tell a forgotten declaration from a missed one, and a deploy must not repeat last year's migration.
What came due *after* the task was first seen, while nobody was on duty, is missed like any other slot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import ClassVar

from onduty.clock import SECOND, to_datetime, to_micros
from onduty.errors import DeclarationError
from onduty.schedules import Slots
from onduty.schedules.interval import shown


@dataclass(frozen=True, init=False, repr=False)
class At:
    """The one slot ``instant``, in microseconds; two are equal when they mean the same instant, in whatever zone."""

    instant: int
    zone: tzinfo = field(compare=False)
    runs_when_first_seen: ClassVar[bool] = False
    set_back_after: ClassVar[int] = 25 * 3600 * SECOND  # more than a zone's clocks ever change

    def __init__(self, instant: datetime) -> None:
        """``instant`` must be aware; its own time zone is the one ``ctx.slot`` is shown in.

        Raises:
            DeclarationError: Not a ``datetime``, or one without a time zone.
        """
        if not isinstance(instant, datetime):
            raise DeclarationError(f"at() takes an aware datetime.datetime, not {shown(instant)}")
        zone = instant.tzinfo
        if zone is None or instant.utcoffset() is None:
            raise DeclarationError(
                f"at({shown(instant)}) has no time zone, so it names no instant: add one, such as tzinfo=timezone.utc"
                ' or tzinfo=ZoneInfo("Europe/Berlin")'
            )
        object.__setattr__(self, "instant", to_micros(instant))
        object.__setattr__(self, "zone", zone)
        try:
            to_datetime(self.instant, zone)
        except OverflowError:
            raise DeclarationError(f"at({shown(instant)}) lies outside of the years 1 to 9999, in UTC") from None

    def __str__(self) -> str:
        return f"at {to_datetime(self.instant, self.zone).isoformat()}"

    def __repr__(self) -> str:
        return f"At({to_datetime(self.instant, self.zone)!r})"

    def next_after(self, instant: int) -> int | None:
        return self.instant if instant < self.instant else None

    def latest(self, instant: int) -> int | None:
        return self.instant if self.instant <= instant else None

    def between(self, after: int, until: int) -> Slots | None:
        return Slots(self.instant, self.instant, 1) if after < self.instant <= until else None
