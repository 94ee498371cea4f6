"""What a cron line says about dates and times of day, before any time zone is thought of.

A line has five fields: minute, hour, day of month, month, day of week, read by the ``cronsim`` parser in the manner
of Debian's cron: with names (``MON``, ``JAN``), and also ``L``, ``LW``, ``5L``, ``MON#2``. If both day fields are
restricted, either may match; if one of them begins with ``*``, both must. Six fields are refused: tools disagree on
what the sixth one means, and for seconds there is ``every``.

Days are numbered from 1970-01-01.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timezone
from typing import NamedTuple

from cronsim import CronSim, CronSimError

from onduty.clock import SECOND
from onduty.errors import DeclarationError
from onduty.schedules.interval import shown

_EPOCH = date(1970, 1, 1).toordinal()
# Two days are kept free at both ends of the calendar, for the zones ahead of UTC and behind it.
_FIRST_DAY = date.min.toordinal() + 2 - _EPOCH
_LAST_DAY = date.max.toordinal() - 2 - _EPOCH
_ANY_INSTANT = datetime(2000, 1, 1, tzinfo=timezone.utc)  # for the parser's own walk, which is not used
_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31, L (the last day) or LW (the last weekday)",
    "month": "1-12 or JAN-DEC",
    "day of week": "0-7 or SUN-SAT (0 and 7 are Sunday), 5L (the last Friday) or MON#2 (the second Monday)",
}
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Meaning(NamedTuple):
    """Lines that differ only in spelling have the same."""

    times: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[object]
    both_days_must_match: bool


class CronLine:
    """One line, read.

    ``times``: the times of a matching day, in microseconds since its midnight on the wall, ascending.
    ``is_fixed``: neither minute nor hour begins with ``*``, so people mean a time of day and not a rhythm.
    ``meaning``: equal for lines that match the same days and times.
    """

    def __init__(self, line: str) -> None:
        """Raises DeclarationError, naming the field and what it may hold, for a line that can't be read."""
        if not isinstance(line, str):
            raise DeclarationError(f"a cron line is a str of five fields, such as '0 3 * * *', not {shown(line)}")
        fields = line.split()
        self.text = " ".join(fields)
        if len(fields) != len(_FIELDS):
            raise DeclarationError(f"cron line {shown(line)}: {_wrong_number(fields)}")
        for position, name in enumerate(_FIELDS):
            alone = ["*"] * 5
            alone[position] = fields[position]
            _parse(alone, f"cron line {shown(line)}: {_unread(name, fields[position])}")
        minute, hour, day, month, weekday = fields
        # The month is read apart: versions of the parser differ in which days they refuse for a month.
        parsed = _parse([minute, hour, day, "*", weekday], f"cron line {shown(line)}")
        months = _parse(["*", "*", "*", month, "*"], f"cron line {shown(line)}").months
        minutes = sorted(hour * 60 + minute for hour in parsed.hours for minute in parsed.minutes)
        self._matches_day = parsed.match_day
        self.is_fixed = not minute.startswith("*") and not hour.startswith("*")
        self.times = tuple(minute * 60 * SECOND for minute in minutes)
        self.meaning = Meaning(
            self.times,
            frozenset(parsed.days),
            frozenset(months),
            frozenset(_weekday(item) for item in parsed.weekdays),
            parsed.day_and,
        )

    def matches(self, day: int) -> bool:
        """Whether the line has times on that day."""
        when = date.fromordinal(day + _EPOCH)
        return when.month in self.meaning.months and self._matches_day(when)

    def first_day(self, low: int, high: int) -> int | None:
        """The first matching day from ``low`` to ``high``."""
        day, high = max(low, _FIRST_DAY), min(high, _LAST_DAY)
        while day <= high:
            when = date.fromordinal(day + _EPOCH)
            if when.month not in self.meaning.months:
                day += monthrange(when.year, when.month)[1] - when.day + 1  # to the first of the next one
            elif self._matches_day(when):
                return day
            else:
                day += 1
        return None

    def last_day(self, low: int, high: int) -> int | None:
        """The last matching day from ``low`` to ``high``."""
        low, day = max(low, _FIRST_DAY), min(high, _LAST_DAY)
        while day >= low:
            when = date.fromordinal(day + _EPOCH)
            if when.month not in self.meaning.months:
                day -= when.day  # to the last of the one before
            elif self._matches_day(when):
                return day
            else:
                day -= 1
        return None


def _parse(fields: list[str], said: str) -> CronSim:
    try:
        return CronSim(" ".join(fields), _ANY_INSTANT)
    except (CronSimError, ValueError) as problem:  # ValueError: more digits than Python converts
        raise DeclarationError(said) from problem


def _weekday(item: object) -> object:
    """Sunday is 0 and 7: as a day, and in ``7L`` or ``7#2``, which the parser gives as pairs."""
    if isinstance(item, tuple):
        return item[0] % 7, item[1]
    return item % 7 if isinstance(item, int) else item


def _unread(name: str, text: str) -> str:
    takes = "* or " + _FIELDS[name]
    return f"can't read {shown(text)} as {name}; it takes {takes}, also in lists (1,3), ranges (1-3) and steps (*/3)"


def _wrong_number(fields: list[str]) -> str:
    if len(fields) == 1 and fields[0].lower() in _NICKNAMES:
        return f"nicknames are not read; write {_NICKNAMES[fields[0].lower()]!r}"
    need = f"it needs five fields (minute, hour, day of month, month, day of week), not {len(fields)}"
    return f"{need}; for seconds use every(seconds=...)" if len(fields) == 6 else need
