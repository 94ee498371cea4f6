"""The rooms of the house stay apart: imports point the way ARCHITECTURE.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from architecture.arrows import objection, row_of
from architecture.imports import Import, draw, sources


def test_every_import_follows_the_arrows() -> None:
    """No module imports what the table does not allow it to."""
    objections = {str(arrow): objection(arrow) for arrow in draw()}

    assert {arrow: why for arrow, why in objections.items() if why} == {}


def test_every_module_belongs_to_a_room() -> None:
    """A module the table does not know is a decision nobody has taken yet."""
    assert [name for name in sources() if row_of(name) is None] == []


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("onduty._runtime.hub", "onduty.election.file"),
        ("onduty._runtime.runner", "flask"),
        ("onduty.election.file", "onduty.journal.sqlite"),
        ("onduty.errors", "onduty.clock"),
        ("onduty.journal", "onduty.journal.memory"),
        ("onduty.journal.memory", "onduty.journal.sqlite"),
        ("onduty.listeners.logging", "onduty.frameworks.flask"),
        ("onduty.schedules.interval", "onduty.tasks"),
        ("onduty.servers.gunicorn", "gunicorn.arbiter"),
        ("onduty.servers.gunicorn", "onduty._runtime.elector"),
        ("onduty.tasks", "onduty.duty"),
        ("onduty.duty", "onduty.frameworks.flask"),
        ("onduty", "onduty.frameworks.flask"),
        ("onduty.unheard_of", "os"),
    ],
)
def test_a_forbidden_arrow_is_seen(module: str, target: str) -> None:
    """The table says no to what would break a promise; a table that allows all would make the first test worthless."""
    assert objection(Import(module, target, line=1, lazily=False, for_types=False)) is not None


@pytest.mark.parametrize(
    ("module", "target", "lazily"),
    [
        ("onduty._runtime.hub", "socket", False),
        ("onduty._runtime.threads", "gevent.threadpool", True),
        ("onduty.installation", "onduty.frameworks.flask", True),
        ("onduty.backends", "onduty.journal.sqlite", True),
        ("onduty.journal.sqlite", "onduty.journal", False),
        ("onduty.schedules.cron", "cronsim", False),
        ("onduty.servers.gunicorn", "onduty._runtime.lifecycle", False),
    ],
)
def test_an_allowed_arrow_is_left_alone(module: str, target: str, lazily: bool) -> None:
    """What the house is built on passes."""
    assert objection(Import(module, target, line=1, lazily=lazily, for_types=False)) is None


def test_a_framework_is_not_named_even_for_types_only() -> None:
    """Annotations name our own rooms freely, and a framework's classes only where that framework is at home."""
    ours = Import("onduty.tasks", "onduty.duty", line=1, lazily=False, for_types=True)
    theirs = Import("onduty.tasks", "flask", line=1, lazily=False, for_types=True)
    at_home = Import("onduty.frameworks.flask", "flask", line=1, lazily=False, for_types=True)

    assert objection(ours) is None
    assert objection(theirs) is not None
    assert objection(at_home) is None


def test_imports_are_drawn_however_they_are_written(tmp_path: Path) -> None:
    """Plain, from, relative, lazy, guarded and by name: each way of importing is an arrow."""
    room = tmp_path / "onduty" / "journal"
    room.mkdir(parents=True)
    (room.parent / "__init__.py").write_text("from . import tasks\n")
    (room.parent / "tasks.py").write_text("")
    (room / "__init__.py").write_text("from ..tasks import Task\nfrom .memory import Memory\n")
    (room / "memory.py").write_text(
        "import os, json\n"
        "from typing import TYPE_CHECKING\n"
        "from onduty import journal\n"
        "if TYPE_CHECKING:\n    import flask\n"
        "else:\n    import decimal\n"
        "def f():\n    import importlib\n    importlib.import_module('onduty.tasks')\n"
    )

    drawn = {(a.module, a.target, a.lazily, a.for_types) for a in draw(tmp_path / "onduty")}

    assert drawn == {
        ("onduty", "onduty.tasks", False, False),
        ("onduty.journal", "onduty.tasks", False, False),
        ("onduty.journal", "onduty.journal.memory", False, False),
        ("onduty.journal.memory", "os", False, False),
        ("onduty.journal.memory", "json", False, False),
        ("onduty.journal.memory", "typing", False, False),
        ("onduty.journal.memory", "onduty.journal", False, False),
        ("onduty.journal.memory", "flask", False, True),
        ("onduty.journal.memory", "decimal", False, False),
        ("onduty.journal.memory", "importlib", True, False),
        ("onduty.journal.memory", "onduty.tasks", True, False),
    }
