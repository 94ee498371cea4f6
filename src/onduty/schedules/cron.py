"""Cron lines, in the time zone they were written for; how a line is read is told in ``cronline``.

When clocks change, a time of day and a rhythm ask for different things, so, as in Debian's cron:

* a line with fixed minute and hour (neither field begins with ``*``) keeps its times a day: what is skipped in spring
  comes due at the moment of the change, and of a time that occurs twice in autumn only the first one counts;
* any other line follows the clock on the wall: nothing in the hour that is skipped, everything in both that repeat.

Slots are strictly increasing whatever the clocks do. The walk through time is ours and not the parser's, whose own
walk near a change of the clocks can answer with an instant of the past, or leave out minutes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from typing import ClassVar

from onduty.clock import SECOND, to_datetime
from onduty.errors import DeclarationError
from onduty.schedules import Slots
from onduty.schedules.cronline import CronLine, Meaning
from onduty.schedules.zones import find_zone

COUNT_LIMIT = 100_000  # the port's: between() counts no further

_DAY = 86_400 * SECOND
_MICROSECOND = timedelta(microseconds=1)
# What does not come within a century never comes: the rarest, a 29 February on one weekday, takes up to 40 years.
_CENTURY = 36_525 * _DAY
_ASKED_AT = 1_577_836_800 * SECOND  # where a new line is asked for its next slot; "now" would be an answer that changes


@dataclass(frozen=True, init=False, repr=False)
class Cron:
    """The slots of a cron line. Equal when line and zone mean the same, however the line is spelt."""

    line: str = field(compare=False)
    zone: tzinfo
    runs_when_first_seen: ClassVar[bool] = False

    _meaning: Meaning
    _is_fixed: bool
    _line: CronLine = field(compare=False)

    def __init__(self, line: str, zone: str | tzinfo = "UTC") -> None:
        """``zone``: a name of the IANA database, a ``ZoneInfo`` or a ``datetime.timezone``.

        Raises:
            DeclarationError: The line can't be read or never comes due, or the zone is not known.
        """
        read = CronLine(line)
        found = find_zone(zone)
        values = {
            "line": read.text,
            "zone": found,
            "_meaning": read.meaning,
            "_is_fixed": read.is_fixed and not isinstance(found, timezone),  # no rules, no difference
            "_line": read,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.next_after(_ASKED_AT) is None:
            raise DeclarationError(f"cron line {line!r} never comes due: {self._obstacle()}")

    def _obstacle(self) -> str:
        day = _ASKED_AT // _DAY
        if self._line.first_day(day, day + _CENTURY // _DAY) is None:
            return "no date fits its day of month, month and day of week; change one of them"
        return f"in {self.zone} the clocks always skip its hour on that day; choose another hour"

    def __str__(self) -> str:
        return f"cron {self.line} ({self.zone})"

    def __repr__(self) -> str:
        return f"Cron({self.line!r}, {str(self.zone)!r})"

    def next_after(self, instant: int) -> int | None:
        return next((slots.first for slots in self._forward(instant + 1, instant + _CENTURY)), None)

    def latest(self, instant: int) -> int | None:
        return next((slots.last for slots in self._backward(instant - _CENTURY, instant)), None)

    def between(self, after: int, until: int) -> Slots | None:
        total: Slots | None = None
        for slots in self._forward(after + 1, until):
            first, count = (total.first, total.count) if total else (slots.first, 0)
            total = Slots(first, slots.last, count + slots.count)
            if total.count >= COUNT_LIMIT:
                return Slots(first, next(self._backward(after + 1, until)).last, COUNT_LIMIT)
        return total

    # Time is walked in days of UTC, and only those that a matching date of the zone can touch: the date itself and its
    # two neighbours, since an offset from UTC is less than 24 hours.

    def _forward(self, low: int, high: int) -> Iterator[Slots]:
        """The slots from ``low`` to ``high``, a day of UTC at a time."""
        day, end = low // _DAY, high // _DAY
        while (match := self._line.first_day(day - 1, end + 1)) is not None:
            day = max(day, match - 1)
            slots = self._within(max(low, day * _DAY), min(high, day * _DAY + _DAY - 1), day)
            if slots:
                yield slots
            day += 1

    def _backward(self, low: int, high: int) -> Iterator[Slots]:
        """The same from the other end."""
        day, end = high // _DAY, low // _DAY
        while (match := self._line.last_day(end - 1, day + 1)) is not None:
            day = min(day, match + 1)
            slots = self._within(max(low, day * _DAY), min(high, day * _DAY + _DAY - 1), day)
            if slots:
                yield slots
            day -= 1

    def _within(self, low: int, high: int, day: int) -> Slots | None:
        """The slots from ``low`` to ``high``, both within that day of UTC."""
        begin, end = self._local(day * _DAY), self._local(day * _DAY + _DAY - 1)
        offset = _offset(self._local(day * _DAY - 1))
        if begin.fold or _offset(end) != offset:
            slots = [slot for slot in self._on_day_of_change(day) if low <= slot <= high]
            return Slots(slots[0], slots[-1], len(slots)) if slots else None
        total: Slots | None = None
        times = self._line.times
        for date in range((low + offset) // _DAY, (high + offset) // _DAY + 1):
            midnight = date * _DAY - offset
            start, stop = bisect_left(times, low - midnight), bisect_right(times, high - midnight)
            if start < stop and self._line.matches(date):
                first, count = (total.first, total.count) if total else (midnight + times[start], 0)
                total = Slots(first, midnight + times[stop - 1], count + stop - start)
        return total

    def _on_day_of_change(self, day: int) -> list[int]:
        """All slots of a day of UTC in which the clocks change, or which begins in an hour that repeats.

        No zone of the database has two changes within three days.
        """
        begin, end = day * _DAY, day * _DAY + _DAY - 1
        change = self._change(begin - 1, end)
        slots: set[int] = set()
        for low, high in ((begin, change - 1), (change, end)):
            offset = _offset(self._local(low))
            slots.update(wall - offset for wall in self._walls(low + offset, high + offset))
        if self._is_fixed:
            slots = {slot for slot in slots if not self._local(slot).fold}
            before, after = _offset(self._local(change - 1)), _offset(self._local(change))
            if change <= end and self._walls(change + before, change + after - 1):
                slots.add(change)
        return sorted(slots)

    def _walls(self, low: int, high: int) -> list[int]:
        """The times of the line as the clock on the wall shows them, from ``low`` to ``high``."""
        dates = [date for date in range(low // _DAY, high // _DAY + 1) if self._line.matches(date)]
        walls = (date * _DAY + time for date in dates for time in self._line.times)
        return [wall for wall in walls if low <= wall <= high]

    def _change(self, low: int, high: int) -> int:
        """The first instant after ``low`` with another offset; ``high + 1`` if there is none up to ``high``."""
        before, later = _offset(self._local(low)), range(low + 1, high + 1)
        return low + 1 + bisect_left(later, True, key=lambda instant: _offset(self._local(instant)) != before)

    def _local(self, instant: int) -> datetime:
        return to_datetime(instant, self.zone)


def _offset(local: datetime) -> int:
    """Ahead of UTC, in microseconds."""
    offset = local.utcoffset()
    assert offset is not None  # find_zone() lets in only zones that know
    return offset // _MICROSECOND
