"""A benchmark's answer: one line for each thing measured, with both sides, their ratio, the bar and the verdict."""

from __future__ import annotations

import math
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "onduty",
    "flask",
    "gunicorn",
    "gevent",
    "apscheduler",
    "huey",
    "dbos",
    "flask-socketio",
    "python-socketio",
    "redis",
)


@dataclass(frozen=True)
class Row:
    """``met`` is ``None`` where there is no bar: a figure to read the others by."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    bar: str = ""
    met: bool | None = None


@dataclass
class Report:
    """``notes``: how it was measured and how far to trust it."""

    title: str
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def met(self) -> bool:
        return all(row.met is not False for row in self.rows)

    def text(self) -> str:
        table = [("", "onduty", "peer", "ratio", "bar", "")]
        table += [
            (row.what, row.ours, row.peer, "" if row.ratio is None else f"{row.ratio:.2f}", row.bar, _verdict(row.met))
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in table) for column in range(6)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        return "\n".join([self.title, "", *(line.rstrip() for line in lines), "", *self.notes])

    def keep(self, name: str, began: str, quick: bool) -> None:
        """Write the text to ``results/<name>.txt``."""
        RESULTS.mkdir(exist_ok=True)
        rough = " QUICK: rough figures." if quick else ""
        facts = f"{machine()}\nLoad average before: {began}; after: {load()}.{rough}"
        (RESULTS / f"{name}.txt").write_text(f"{self.text()}\n{facts}\n", encoding="utf-8")


def _verdict(met: bool | None) -> str:
    return {None: "", True: "met", False: "MISSED"}[met]


def machine() -> str:
    """What the figures were measured on; nothing that names the machine."""
    system = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    python = f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    return f"{system}, {python}, {', '.join(filter(None, map(_package, _PACKAGES)))}."


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


def load() -> str:
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: a value that was measured, none in between."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the least and greatest beside it."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"
