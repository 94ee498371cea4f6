"""From what a user wrote to a time zone whose rules can be trusted, or an error that says how to write it.

``"UTC"`` needs no time zone database; every other name is looked up in the machine's, or in the ``tzdata`` package.
"""

from __future__ import annotations

import re
from datetime import timezone, tzinfo

from onduty.errors import DeclarationError
from onduty.schedules.interval import shown

_OFFSET = re.compile(r"(?:UTC|GMT)? *([+-])0?(1[0-4]|[0-9])(?::?00)?")


def find_zone(zone: str | tzinfo) -> tzinfo:
    """The zone of that name; a ``ZoneInfo`` or ``datetime.timezone`` is taken as it is.

    Raises:
        DeclarationError: No such zone, no database to find it in, or a ``tzinfo`` of another kind.
    """
    if zone == "UTC":
        return timezone.utc
    if isinstance(zone, timezone):
        return zone
    # A third of what importing this room would cost otherwise, and most tasks never leave UTC.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if isinstance(zone, ZoneInfo):
        return zone
    if not isinstance(zone, str):
        # A pytz zone, attached to a wall time, silently means the zone's offset of the nineteenth century.
        raise DeclarationError(f"a time zone is given by its name, such as 'Europe/Berlin', not {shown(zone)}")
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
        # A folder of zones ("Europe") is an OSError, a path out of the database a ValueError.
        raise DeclarationError(f"unknown time zone {shown(zone)}: {_remedy(zone)}") from problem


def _remedy(wrong: str) -> str:
    import difflib
    from zoneinfo import available_timezones

    names = available_timezones()
    if not names:
        return "this machine has no time zone database; pip install tzdata"
    if offset := _OFFSET.fullmatch(wrong.strip()):
        # The names of the database count hours west of Greenwich as positive, as POSIX does.
        fixed = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{int(offset[2])}"
        if fixed in names:
            return f"name a place, such as 'Asia/Shanghai', or, for this offset all year round, {fixed!r}"
    wanted = wrong.strip().replace(" ", "_").lower()
    by_lower = {name.lower(): name for name in sorted(names)}
    alike = [name for lower, name in by_lower.items() if wanted and lower.rpartition("/")[2] == wanted]
    alike += [by_lower[lower] for lower in difflib.get_close_matches(wanted[:40], by_lower, n=3)]
    if not alike:
        return "use a name of the IANA database, such as 'Europe/Berlin' or 'UTC'"
    return "did you mean " + " or ".join(repr(name) for name in dict.fromkeys(alike[:3])) + "?"
