"""Every so often, on a grid that nobody has to agree on.

The slots of an :class:`Interval` are the whole multiples of its length since 1970-01-01T00:00Z, plus an
offset, in integer microseconds. So every process names a slot alike without asking, nothing drifts, and the
answers are exact however far apart two instants lie.

Not promised: a grid that knows of months, weeks as people count them, or daylight saving. That is ``cron``.
"""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from onduty.clock import SECOND
from onduty.errors import DeclarationError
from onduty.schedules import Slots

if TYPE_CHECKING:
    from typing_extensions import Self

Number = int | float | Decimal

SHORTEST = SECOND // 1000
LONGEST = 36_525 * 86_400 * SECOND  # a hundred years

_UNITS = {"seconds": SECOND, "minutes": 60 * SECOND, "hours": 3600 * SECOND}
_MICROSECOND = timedelta(microseconds=1)
# The default context could round an odd microsecond away, and stumbles over numbers far too large or too small.
_EXACT = Context(prec=60, Emin=MIN_EMIN, Emax=MAX_EMAX)


class _Grid(NamedTuple):
    every_us: int
    offset_us: int


class Interval(_Grid):
    """The grid of ``every_us`` microseconds, moved by ``offset_us``.

    Offsets that give the same grid are the same: they are kept modulo the interval.
    """

    __slots__ = ()
    zone: ClassVar[tzinfo] = timezone.utc
    runs_when_first_seen: ClassVar[bool] = True

    def __new__(cls, every_us: int, offset_us: int = 0) -> Self:
        for value in (every_us, offset_us):
            if type(value) is not int:
                raise DeclarationError(f"Interval takes whole microseconds as int, not {shown(value)}")
        _refuse_length(every_us, f"Interval({shown(every_us)})")
        return super().__new__(cls, every_us, offset_us % every_us)

    def __str__(self) -> str:
        offset = f", offset {_seconds(self.offset_us)} s" if self.offset_us else ""
        return f"every {_seconds(self.every_us)} s{offset}"

    @property
    def set_back_after(self) -> int:
        return max(60 * SECOND, self.every_us)

    def next_after(self, instant: int) -> int:
        return self.latest(instant) + self.every_us

    def latest(self, instant: int) -> int:
        return instant - (instant - self.offset_us) % self.every_us

    def between(self, after: int, until: int) -> Slots | None:
        first, last = self.next_after(after), self.latest(until)
        return Slots(first, last, (last - first) // self.every_us + 1) if first <= last else None


def interval(
    seconds: Number | timedelta | None = None,
    minutes: Number | None = None,
    hours: Number | None = None,
    delta: timedelta | None = None,
    offset: Number | timedelta = 0,
) -> Interval:
    """What a user means by ``every(...)``. Units add up: ``minutes=1, seconds=30`` is 90 s.

    A ``timedelta`` stands alone, as ``delta`` or in the first place. ``offset`` is in seconds, or a ``timedelta``.
    A ``float`` means the decimal it is printed as, so 0.1 is 100,000 microseconds exactly.

    Raises:
        DeclarationError: The length is zero, negative, not finite, not a number, not whole in microseconds, shorter
            than 1 ms or longer than 100 years; or it is given twice, or not at all.
    """
    given = {"seconds": seconds, "minutes": minutes, "hours": hours, "delta": delta}
    given = {name: value for name, value in given.items() if value is not None}
    said = "every(" + ", ".join(f"{name}={shown(value)}" for name, value in given.items()) + ")"
    if not given:
        raise DeclarationError("every() is not told how often: write seconds=5, minutes=, hours=, or a timedelta")
    if isinstance(seconds, timedelta) or delta is not None:
        if len(given) > 1:
            raise DeclarationError(f"{said} gives the interval twice: keep either the timedelta or the units")
        (value,) = given.values()
        if not isinstance(value, timedelta):
            raise DeclarationError(f"{said}: delta takes a datetime.timedelta; for a number write seconds=")
        every_us = value // _MICROSECOND
    else:
        # The range comes first: of 1e-9 s, "too short" says more than "not whole microseconds".
        parts = (_micros(value, _UNITS[name], f"{said}: {name}") for name, value in given.items())
        total = reduce(_EXACT.add, parts)
        _refuse_length(total, said)
        every_us = _whole(total, said)
    _refuse_length(every_us, said)
    return Interval(every_us, _offset(offset))


def _offset(offset: object) -> int:
    if isinstance(offset, timedelta):
        return offset // _MICROSECOND
    said = f"every(offset={shown(offset)})"
    return _whole(_micros(offset, SECOND, f"{said}: offset", signed=True), said)


def _micros(value: object, unit: int, said: str, signed: bool = False) -> Decimal:
    """``value`` units as microseconds, not necessarily whole ones."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        remedy = "a timedelta stands alone" if isinstance(value, timedelta) else "write one, such as 5 or 0.5"
        raise DeclarationError(f"{said} must be a number, not {shown(value)}: {remedy}")
    # The shortest decimal that names the float, not its binary expansion: 0.1 is meant as a tenth.
    number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise DeclarationError(f"{said} must be a finite number, not {shown(value)}")
    if number < 0 and not signed:
        raise DeclarationError(f"{said} must be positive, not {shown(value)}: time only goes forward")
    micros = _EXACT.multiply(number, Decimal(unit))
    if not -LONGEST <= micros <= LONGEST:
        raise DeclarationError(f"{said} is longer than a hundred years: for one instant, use @duty.at(...)")
    return micros


def _whole(micros: Decimal, said: str) -> int:
    nearest = int(micros.to_integral_value())
    if nearest != micros:
        raise DeclarationError(
            f"{said} is not a whole number of microseconds, so it has no grid; the nearest is {_seconds(nearest)} s"
        )
    return nearest


def _refuse_length(micros: int | Decimal, said: str) -> None:
    if micros <= 0:
        raise DeclarationError(f"{said} is not a length of time: an interval must be positive")
    if micros < SHORTEST:
        raise DeclarationError(f"{said} is shorter than 1 ms: for more than that, loop inside a @duty.service")
    if micros > LONGEST:
        raise DeclarationError(f"{said} is longer than a hundred years: for one instant, use @duty.at(...)")


def _seconds(micros: int) -> str:
    return f"{Decimal(micros) / SECOND:f}"


def shown(value: object) -> str:
    """``value`` as an error names it: never longer than a line, and never an error of its own."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  Python refuses to print huge integers, and anybody's __repr__ may fail
        return f"a {type(value).__name__} that can't be printed"
    return text if len(text) <= 80 else f"{text[:77]}..."
