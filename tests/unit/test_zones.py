"""Time zones by name, and errors that help to find the right one."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onduty.errors import DeclarationError
from onduty.schedules.zones import find_zone


def test_a_name_of_the_database_is_found() -> None:
    """The same name gives the same zone, so that schedules compare equal."""
    assert find_zone("Asia/Shanghai") is ZoneInfo("Asia/Shanghai")


def test_a_zone_is_taken_as_it_is() -> None:
    """Whoever has a zone in hand need not name it."""
    berlin, ahead = ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=5))

    assert find_zone(berlin) is berlin
    assert find_zone(ahead) is ahead
    assert find_zone("UTC") is timezone.utc


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Europe/Berln", "'Europe/Berlin'"),
        ("europe/berlin", "'Europe/Berlin'"),
        ("Shanghai", "'Asia/Shanghai'"),
        ("new york", "'America/New_York'"),
        ("utc", "'UTC'"),
        ("Europe", "did you mean"),
        ("UTC+8", "'Etc/GMT-8'"),
        ("GMT-05:00", "'Etc/GMT+5'"),
    ],
)
def test_a_name_nearly_right_is_answered_with_the_right_one(name: str, meant: str) -> None:
    """A slip of the finger, of the case, or a bare city: the error names the value and what was meant."""
    with pytest.raises(DeclarationError) as refused:
        find_zone(name)

    assert repr(name) in str(refused.value)
    assert meant in str(refused.value)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../../etc/passwd", "a\0b", "\udcff", "x" * 5000, "zone.tab"])
def test_what_is_no_name_at_all_is_refused_alike(name: str) -> None:
    """Paths, bytes and novels are unknown time zones and nothing else."""
    with pytest.raises(DeclarationError, match="unknown time zone") as refused:
        find_zone(name)

    assert len(str(refused.value)) < 300


class Foreign(tzinfo):
    """A zone of some other library, whose rules near a change of the clocks nobody here knows."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(0)


@pytest.mark.parametrize("value", [None, 5, Foreign(), b"UTC"], ids=["None", "int", "tzinfo", "bytes"])
def test_what_is_neither_name_nor_zone_is_refused(value: Any) -> None:
    """Among them zones of libraries that attach to a wall time in another way than the standard library's."""
    with pytest.raises(DeclarationError, match="by its name, such as 'Europe/Berlin'"):
        find_zone(value)


def test_a_machine_without_a_database_is_told_to_install_it_and_still_knows_utc() -> None:
    """The name may be right and the machine bare; then the remedy is another one."""
    program = """if True:
        import sys
        sys.modules["tzdata"] = None  # as if it were not installed
        from onduty.errors import DeclarationError
        from onduty.schedules.cron import Cron
        print(Cron("0 3 * * *"))
        try:
            Cron("0 3 * * *", "Europe/Berlin")
        except DeclarationError as refused:
            print(refused)
    """

    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONTZPATH": "", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "cron 0 3 * * * (UTC)" in answer.stdout
    assert "'Europe/Berlin'" in answer.stdout
    assert "pip install tzdata" in answer.stdout
