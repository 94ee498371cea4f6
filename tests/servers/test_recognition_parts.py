"""The small parts recognition is made of, each alone."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from onduty._runtime.lifecycle import Lifecycle, State
from onduty.servers import _stack, after_fork, first_request, recognise
from onduty.servers._imports import when_imported
from onduty.servers._listening import owns_a_listener


def test_recognising_imports_no_server_and_nothing_that_gevent_must_patch_first() -> None:
    """A program that declares its duty has loaded neither a server nor ``ssl`` because of it."""
    code = (
        "import sys; from onduty import servers; from onduty._runtime.lifecycle import lifecycle; "
        "servers.recognise(lifecycle); "
        "names = {'ssl', 'asyncio', 'flask', 'werkzeug', 'gunicorn', 'gevent', 'uvicorn', 'waitress'}; "
        "print(sorted(names & set(sys.modules)), lifecycle.state.value)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "[] idle"


@pytest.fixture
def new_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that can be imported and was not."""
    name = f"a_server_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("class Server: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_a_module_is_changed_the_moment_somebody_else_imports_it(new_module: str) -> None:
    """Waiting for a module does not import it, and changes it once, before its importer sees it."""
    seen: list[ModuleType] = []
    when_imported(new_module, seen.append)
    assert new_module not in sys.modules

    module = importlib.import_module(new_module)

    assert seen == [module]
    assert type(module.__spec__.loader).__name__ == "SourceFileLoader"  # type: ignore[union-attr]
    importlib.reload(module)
    assert seen == [module]


def test_a_module_that_is_loaded_is_changed_at_once(new_module: str) -> None:
    """No import is waited for that has been."""
    module = importlib.import_module(new_module)
    seen: list[ModuleType] = []

    when_imported(new_module, seen.append)

    assert seen == [module]


def test_an_import_that_fails_is_waited_for_again(new_module: str, tmp_path: Path) -> None:
    """A module that raises while it is imported was not imported; the next try is the one that counts."""
    good = (tmp_path / f"{new_module}.py").read_text()
    (tmp_path / f"{new_module}.py").write_text("raise RuntimeError('not yet, for a longer while')\n")
    seen: list[ModuleType] = []
    when_imported(new_module, seen.append)
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(new_module)
    assert not seen

    (tmp_path / f"{new_module}.py").write_text(good)
    importlib.invalidate_caches()

    assert [importlib.import_module(new_module)] == seen


def test_looking_for_a_listening_socket_harms_none() -> None:
    """
    Only a listening socket counts, and looking changes neither its blocking mode nor that of others, even where
    the process has a default time-out.
    """
    left, right = socket.socketpair()
    with left, right, socket.socket() as server:
        left.setblocking(True)
        server.setblocking(True)
        server.bind(("127.0.0.1", 0))
        listeners_of_others = owns_a_listener()
        server.listen()
        socket.setdefaulttimeout(5)
        try:
            assert owns_a_listener()
        finally:
            socket.setdefaulttimeout(None)

        assert not listeners_of_others
        assert os.get_blocking(left.fileno())
        assert os.get_blocking(server.fileno())
        left.send(b"alive")
        assert right.recv(5) == b"alive"


class Frame:
    """What ``forker`` looks at in a frame, with a caller of our choice."""

    def __init__(self, module: str, caller: Frame | None = None) -> None:
        self.f_globals = {"__name__": module}
        self.f_back = caller


def test_the_forker_is_the_direct_caller_behind_gevent() -> None:
    """gevent's wrappers of ``os.fork`` are looked through; a server further out is not the forker."""
    server = Frame("gunicorn.arbiter")
    library = Frame("a.library", server)

    assert _stack.forker(Frame("gevent.os", Frame("gevent.os", server))) is server  # type: ignore[arg-type, comparison-overlap]
    assert _stack.forker(Frame("gevent.os", library)) is library  # type: ignore[arg-type, comparison-overlap]
    assert _stack.forker(library) is library  # type: ignore[arg-type, comparison-overlap]
    assert _stack.forker(None) is None


def test_a_fork_by_anybody_else_makes_no_worker() -> None:
    """Only gunicorn's own fork makes a gunicorn worker; no frame at all makes none."""
    life = Lifecycle()

    after_fork(life, None)
    after_fork(life, sys._getframe())

    assert life.state is State.IDLE
    assert not life.server


def test_under_pytest_an_app_never_starts_however_often_it_is_declared() -> None:
    """This very process is a test run: recognised as such, and deaf to requests."""
    life = Lifecycle()

    recognise(life)
    recognise(life)
    with socket.create_server(("127.0.0.1", 0)):
        first_request(life)

    assert life.state is State.NEVER
    assert "pytest" in life.why


class Starter:
    """A crew in whose start something happens."""

    def __init__(self, happens: Callable[[], None] = lambda: None) -> None:
        self.happens = happens
        self.told: list[str] = []

    def start(self) -> None:
        self.told.append("start")
        self.happens()

    def leave(self) -> None:
        self.told.append("leave")

    def stop(self) -> None:
        self.told.append("stop")


def test_a_crew_that_is_still_starting_hears_that_its_worker_leaves() -> None:
    """
    A stop that arrives in the middle of a start reaches the crew as soon as it has started, and crews that have
    not begun are not started any more.
    """
    life = Lifecycle()
    first, second = Starter(lambda: life.leaving("SIGTERM")), Starter()
    life.enlist(first)
    life.enlist(second)

    life.ready("a test")
    life.stop("the end")

    assert first.told == ["start", "leave", "stop"]
    assert second.told == []
