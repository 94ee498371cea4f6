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
from collections.abc import Iterable, Iterator
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
    set_back_after: ClassVar[int] = 25 * 3600 * SECOND  # more than a zone's clocks ever change

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
        found, count = [], 0
        for slots in self._forward(after + 1, until):
            found.append(slots)
            count += slots.count
            if count >= COUNT_LIMIT:
                return Slots(found[0].first, next(self._backward(after + 1, until)).last, COUNT_LIMIT)
        return _joined(found)

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
        begin, end = day * _DAY, day * _DAY + _DAY - 1
        offset = self._offset(begin - 1)
        if self._offset(end) != offset:
            return self._around(self._change(begin - 1, end), low, high)
        if self._local(begin).fold:  # the day begins in an hour that repeats: the clocks changed the day before
            return self._around(self._change(begin - _DAY, end), low, high)
        return self._steady(low, high, offset)

    def _steady(self, low: int, high: int, offset: int) -> Slots | None:
        """The slots from ``low`` to ``high`` if the wall shows UTC + ``offset`` all the while."""
        parts, times = [], self._line.times
        for date in range((low + offset) // _DAY, (high + offset) // _DAY + 1):
            midnight = date * _DAY - offset
            start, stop = bisect_left(times, low - midnight), bisect_right(times, high - midnight)
            if start < stop and self._line.matches(date):
                parts.append(Slots(midnight + times[start], midnight + times[stop - 1], stop - start))
        return _joined(parts)

    def _around(self, change: int, low: int, high: int) -> Slots | None:
        """The slots from ``low`` to ``high`` if the clocks change at ``change`` and at no other time near.

        No zone of the database has two changes within three days.
        """
        before, after = self._offset(change - 1), self._offset(change)
        parts, resume = [self._steady(low, min(high, change - 1), before)], change
        if self._is_fixed:
            resume += max(0, before - after)  # over the times that occurred before the change already
            is_skipped = after > before and self._steady(change, change + after - before - 1, before)
            if is_skipped and low <= change <= high:
                parts.append(Slots(change, change, 1))
                resume += 1  # what else comes due at the change is the same slot
        return _joined([*parts, self._steady(max(low, resume), high, after)])

    def _change(self, low: int, high: int) -> int:
        """The first instant after ``low`` whose offset is that of ``high`` and not that of ``low``."""
        after, later = self._offset(high), range(low + 1, high + 1)
        return low + 1 + bisect_left(later, True, key=lambda instant: self._offset(instant) == after)

    def _offset(self, instant: int) -> int:
        """How far the clock on the wall is ahead of UTC, in microseconds."""
        offset = self._local(instant).utcoffset()
        assert offset is not None  # find_zone() lets in only zones that know
        return offset // _MICROSECOND

    def _local(self, instant: int) -> datetime:
        return to_datetime(instant, self.zone)


def _joined(parts: Iterable[Slots | None]) -> Slots | None:
    """Spans in order as one."""
    found = [part for part in parts if part]
    return Slots(found[0].first, found[-1].last, sum(part.count for part in found)) if found else None
