"""Who may import whom: the one table behind "Arrows" in ARCHITECTURE.md.

A name with a leading dot is ours: ``.tasks`` that very module, ``.election.*`` everything inside that room but not its
port. A bare name is a library. The standard library is open to all.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from architecture.imports import PACKAGE, Import


@dataclass(frozen=True)
class Row:
    """What a module may import: ``may`` at any place, ``lazily`` inside functions only, so that it stays unloaded."""

    may: frozenset[str] = frozenset()
    lazily: frozenset[str] = frozenset()


def row(*may: str, lazily: tuple[str, ...] = ()) -> Row:
    return Row(frozenset(may), frozenset(lazily))


FACTS = (".errors", ".events", ".clock", ".process", ".calls", ".schedules")
DECLARATIONS = (".config", ".context", ".options", ".tasks", ".registry", ".run")
PORTS = (".election", ".journal", ".journal.entries")
PLAIN_DATA = (*FACTS, ".folder", *DECLARATIONS, *PORTS)

TABLE: dict[str, Row] = {
    # facts, failures, time
    ".errors": row(),
    ".clock": row(".errors"),
    ".process": row(".errors"),
    ".events": row(".errors"),
    ".calls": row(".errors"),
    ".schedules": row(".errors", ".clock", ".schedules.*"),
    ".schedules.*": row(".errors", ".clock", ".schedules", ".schedules.*", "cronsim"),
    # what users declare and hold
    ".config": row(*FACTS, ".schedules.*"),
    # a user's test asks the front door's name for a context, and only then the kit is loaded
    ".context": row(*FACTS, lazily=(".testing.by_hand",)),
    ".options": row(".errors"),
    ".tasks": row(*FACTS, ".context", ".options", ".schedules.*"),
    ".registry": row(".errors", ".tasks"),
    ".run": row(*FACTS, ".context", ".tasks", ".journal"),
    ".folder": row(".errors"),
    # ports, and what stands behind them
    ".election": row(*FACTS),
    ".election.*": row(*FACTS, ".election", ".election.*"),
    ".journal": row(*FACTS, ".journal.entries"),
    ".journal.*": row(*FACTS, ".journal", ".journal.*"),
    # the engine room; in a patched worker gevent is loaded already, and offers the way out of its loop
    "._runtime": row(),
    "._runtime.*": row(*PLAIN_DATA, ".schedules.*", "._runtime", "._runtime.*", lazily=("gevent",)),
    # who am I
    ".servers": row(".errors", ".process", "._runtime.lifecycle", ".servers.*"),
    ".servers.*": row(".errors", ".process", "._runtime.lifecycle", ".servers", ".servers.*"),
    # the composition root: knows all, loads only what is used
    ".backends": row(*PLAIN_DATA, "._runtime.*", lazily=(".election.*", ".journal.*")),
    ".installation": row(*PLAIN_DATA, "._runtime.*", lazily=(".frameworks", ".frameworks.*")),
    ".asking": row(*PLAIN_DATA, ".schedules.*", "._runtime.*"),
    ".duty": row(
        *PLAIN_DATA,
        ".asking",
        ".backends",
        ".installation",
        ".schedules.*",
        "._runtime.*",
        ".servers",
        ".servers.*",
        ".listeners.*",
        lazily=(".socketio.*",),
    ),
    # outside: the composition root and plain data, never each other
    ".frameworks": row(),
    ".frameworks.flask": row(*PLAIN_DATA, ".duty", "flask", "werkzeug", "click"),
    # Its decisions and formats are for every kind of server, so they know none; sockets and threads are for `_runtime`
    # to count and to keep from children, hence its arrow there.
    ".socketio": row(),
    ".socketio.ids": row(),
    ".socketio.wire": row(),
    ".socketio.route": row(".socketio.ids"),
    ".socketio.peers": row(".socketio.ids"),
    ".socketio.checks": row(),
    ".socketio.reminder": row(*PLAIN_DATA, "._runtime.lifecycle"),
    ".socketio.*": row(*PLAIN_DATA, "._runtime.*", ".socketio.*"),
    ".socketio.bus": row(*PLAIN_DATA, "._runtime.*", ".socketio.*", "socketio"),
    ".socketio.threaded": row(*PLAIN_DATA, "._runtime.*", ".socketio.*", lazily=("socketio", "engineio")),
    ".socketio.asgi": row(),
    ".socketio.asgi.bus": row(*PLAIN_DATA, "._runtime.*", ".socketio.*", "socketio"),
    ".socketio.asgi.half": row(*PLAIN_DATA, "._runtime.*", ".socketio.*", lazily=("socketio", "engineio")),
    ".listeners": row(),
    ".listeners.*": row(*PLAIN_DATA, ".duty"),
    # for users' own tests, and for ours
    ".testing": row(*PLAIN_DATA, ".duty", ".testing.*"),
    ".testing.*": row(
        *PLAIN_DATA, ".schedules.*", ".backends", ".duty", "._runtime.*", ".testing", ".testing.*", "pytest"
    ),
    # its journals are those of production, or what a test gives it
    ".testing.simulator.*": row(
        *PLAIN_DATA, ".backends", ".schedules.*", "._runtime.*", ".testing.simulator", ".testing.simulator.*"
    ),
    # the front door
    "": row(*PLAIN_DATA, ".duty"),
}

BACK_ENDS = {".election.file", ".journal.memory", ".journal.sqlite"}
"""Behind a port. Chosen by the composition root and known to nobody else, not even to each other."""

STUBS = {"_typeshed", "typing_extensions"}
"""Every type checker brings these, so they may be named where only a type checker reads."""


def short(name: str) -> str:
    """``onduty.tasks`` as the table writes it: ``.tasks``; a library by its top-level name."""
    if name == PACKAGE or name.startswith(f"{PACKAGE}."):
        return name.removeprefix(PACKAGE)
    return name.partition(".")[0]


def matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith(".*") else name == pattern


def row_of(module: str) -> Row | None:
    """The most exact row of the table for a module; ``None``: the table does not know this room."""
    name = short(module)
    patterns = [pattern for pattern in TABLE if matches(pattern, name)]
    return TABLE[max(patterns, key=len)] if patterns else None


def objection(arrow: Import) -> str | None:
    """Why this import may not be; ``None``: it may."""
    source, target = short(arrow.module), short(arrow.target)
    ours = target.startswith(".") or target == ""
    known = row_of(arrow.module)
    if known is None:
        return "no row for this module: add one to tests/architecture/arrows.py, and the room to ARCHITECTURE.md"
    if arrow.for_types and (ours or target in STUBS):
        return None
    if not ours and target in sys.stdlib_module_names:
        return None
    if any(matches(end, target) or target.startswith(f"{end}.") for end in BACK_ENDS) and source != ".backends":
        home = next(end for end in BACK_ENDS if target == end or target.startswith(f"{end}."))
        return None if source.startswith(home) else "a back end is known to .backends only"
    if any(matches(pattern, target) for pattern in known.may):
        return None
    if any(matches(pattern, target) for pattern in known.lazily):
        # A type checker never runs what it reads, so a guarded import is as lazy as one in a function.
        return None if arrow.lazily or arrow.for_types else "allowed inside a function only"
    return "not in the table"
