"""Threads live in one room, and nothing is taken from the modules gevent patches before it may have patched them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from architecture.imports import sources

PATCHED = {
    "_thread": {"*"},
    "queue": {"*"},
    "select": {"*"},
    "socket": {"*"},
    "ssl": {"*"},
    "subprocess": {"*"},
    "threading": {"*"},
    "os": {"fork", "forkpty", "waitpid", "read", "write", "posix_spawn"},
    "signal": {"signal", "getsignal"},
    "time": {"sleep"},
}
"""What gevent replaces, and we may use: a name taken out of its module keeps the unpatched one for good."""

STARTERS = {"threading.Thread", "threading.Timer", "_thread.start_new_thread", "os.fork", "concurrent.futures"}
ELSEWHERE = {
    # Stops us beside an asyncio server that is closing: its loop must go on turning, so the wait is in a thread of its
    # own, which ends with the worker and is the last one we start.
    "onduty.servers._drain",
    # Contracts that are tests: many threads claim one slot, and ask for one lock.
    "onduty.testing.journal_contract",
    "onduty.testing.election_contract",
}
LOCKS = {"Barrier", "Condition", "Event", "Lock", "RLock", "Semaphore", "BoundedSemaphore", "local"}


def taken_out(tree: ast.Module) -> Iterator[str]:
    """``from threading import Lock`` anywhere that runs while the module is imported."""
    for node in at_import(tree):
        if isinstance(node, ast.ImportFrom) and node.module in PATCHED and not node.level:
            names = {alias.name for alias in node.names}
            yield from (f"{node.module}.{name}" for name in names if PATCHED[node.module] & {"*", name})


def made_at_import(tree: ast.Module) -> Iterator[str]:
    """``threading.Lock()`` at module or class level: made before the worker, and perhaps gevent, is there."""
    for node in at_import(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.startswith("threading.") and called.partition(".")[2] in LOCKS:
                yield called


def starts_threads(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in STARTERS:
            yield ast.unparse(node)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs when the module is imported: not the insides of functions, nor what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from at_import(child)


def parsed() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in sources().items()}


def test_no_name_is_taken_out_of_a_module_that_gevent_patches() -> None:
    """gevent may patch after our import, so we say ``threading.Lock()`` when we need one."""
    assert {name: found for name, tree in parsed().items() if (found := sorted(taken_out(tree)))} == {}


def test_no_lock_is_made_at_import() -> None:
    """A lock from before the patching is the wrong kind, and one from before the fork may be held for ever."""
    assert {name: found for name, tree in parsed().items() if (found := sorted(made_at_import(tree)))} == {}


def test_threads_and_forks_are_started_in_the_engine_room_only() -> None:
    """Whatever starts can be stopped, because one room has started it."""
    found = {name: sorted(what) for name, tree in parsed().items() if (what := set(starts_threads(tree)))}

    assert {name: what for name, what in found.items() if not name.startswith("onduty._runtime.")}.keys() <= ELSEWHERE


@pytest.mark.parametrize(
    ("source", "look"),
    [
        ("from threading import Lock", taken_out),
        ("try:\n    from time import sleep\nexcept ImportError:\n    raise", taken_out),
        ("class Hub:\n    lock = threading.Lock()", made_at_import),
        ("def f():\n    threading.Thread(target=f).start()", starts_threads),
    ],
)
def test_a_breach_is_seen(source: str, look: object) -> None:
    """The three looks above do find what they are for."""
    assert callable(look)
    assert list(look(ast.parse(source))) != []


@pytest.mark.parametrize("source", ["def f():\n    from threading import Lock", "from time import monotonic"])
def test_what_is_harmless_is_left_alone(source: str) -> None:
    """Inside a function the patching is over; and what gevent does not replace may be taken."""
    assert list(taken_out(ast.parse(source))) == []
