"""What really happened, told by those to whom it happened: one JSON line per fact, in a file of the demo's folder.

Two files. ``terms`` holds kills and terms, few lines, read by the page; ``runs`` holds every turn of every task, read
by the proof. A line is one ``write`` to a file opened for appending, so lines of several workers never mix, and a
worker that is killed leaves a whole line or none.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def now() -> int:
    """Microseconds since the epoch, by the clock that terms are dated with."""
    return time.time_ns() // 1000


class Diary:
    """The files of one demo; cheap to make, opens nothing until it is used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, kind: str, **facts: Any) -> None:
        """Append one fact to the file ``name``; ``at`` is now unless it is given."""
        line = json.dumps({"kind": kind, "at": now(), **facts}) + "\n"
        file = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def read(self, name: str) -> list[dict[str, Any]]:
        """All facts of a file, oldest first; none when nobody has written yet."""
        try:
            text = (self._folder / name).read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]


def takeovers(terms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each kill with the term that followed it, oldest first; ``us`` is ``None`` while nobody has followed.

    ``terms``: the facts ``kill`` and ``term`` of one diary, each with ``pid`` and ``term``. ``us``: microseconds from
    just before the signal until the next worker was on duty.
    """
    found = []
    for kill in terms:
        if kill["kind"] == "kill":
            later = [one for one in terms if one["kind"] == "term" and one["term"] > kill["term"]]
            heir = min(later, key=lambda one: int(one["term"]), default=None)
            found.append(
                {
                    "at": kill["at"],
                    "killed": kill["pid"],
                    "heir": heir and heir["pid"],
                    "us": heir and heir["at"] - kill["at"],
                }
            )
    return found
