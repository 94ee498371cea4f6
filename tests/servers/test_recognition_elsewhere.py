"""Development servers, waitress and servers nobody has heard of: the process that serves starts, the others do not."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from support.processes import Running, ask
from support.recognition_facts import PROGRAM, Site
from support.waiting import eventually

FLASK = ["-m", "flask", "--app", "support.recognition_probe"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    ("way", "server"),
    [
        ("run", "Werkzeug"),
        ("socketio-threading", "Werkzeug"),
        ("socketio-gevent", "gevent"),
        ("waitress", "waitress"),
        ("waitress-two-sockets", "waitress"),
        ("wsgiref", "wsgiref"),
    ],
)
def test_a_program_that_serves_starts_before_its_first_request(site: Site, way: str, server: str) -> None:
    """``python app.py``: one process, one start, at the call that begins to serve; Ctrl-C stops the crew."""
    with site.program(way) as process:
        assert site.started(1) == [process.pid]
        assert site.facts("start")[0]["server"] == server

        site.answering()
        eventually(lambda: _interrupted(process), 20, what="it has ended")  # a handler may swallow one Ctrl-C

        assert site.pids("start") == [process.pid]
        assert set(site.pids("leave")) == set(site.pids("stop")) == {process.pid}


def _interrupted(process: Running) -> bool:
    process.signal(signal.SIGINT)
    try:
        process.wait(1)
    except AssertionError:
        return False
    return True


def test_flask_run_starts(site: Site) -> None:
    """``flask run`` serves, so it starts, with its own name for the server."""
    with site.run(*FLASK, "run", "--port", str(site.port)) as process:
        assert site.started(1) == [process.pid]


@pytest.mark.parametrize("way", ["debug", "socketio-threading-debug", "socketio-gevent-debug", "flask run --debug"])
def test_only_the_reloader_s_child_starts_and_leaves_with_its_parent(site: Site, way: str) -> None:
    """
    The reloader's parent imports the app as the child does and never starts. A change brings a new child, which starts;
    when the parent is killed the child leaves, though it would go on serving.
    """
    module = site.folder / "watched.py"
    module.write_text("from support.recognition_probe import *\n")
    if way == "flask run --debug":
        command = ["-m", "flask", "--app", "watched", "run", "--debug", "--port", str(site.port)]
    else:
        command = ["-c", f"import watched; watched.serve({way!r}, {site.port})"]
    with site.run(*command) as parent:
        (first,) = site.started(1)
        assert parent.pid in site.pids("import")
        assert [first] == site.children()

        os.utime(module)  # the reloader knows the old time: it has looked before it let the child serve
        site.started(2)
        site.gone(first)
        (second,) = site.children()
        parent.signal(signal.SIGKILL)
        site.gone(second, events=("leave",))

        assert site.pids("start") == sorted([first, second])
        assert site.why("leave", second) == f"the reloader (pid {parent.pid}) is gone"


def test_a_home_made_forking_server_starts_at_the_first_request(site: Site) -> None:
    """
    Of a server that forks and says nothing, each worker is ready with its first request; the master, which imported the
    app and tried it with a test client, never is.
    """
    with site.program("home-made") as master:
        eventually(lambda: len(site.children()) == 2, what="two workers")
        workers = site.children()
        served = {int(ask(site.port)[1]) for _ in range(6)}

        assert served <= set(workers)
        assert set(site.pids("start")) == served
        assert len(site.facts("start")) == len(served)
        assert site.pids("import") == [master.pid]


COMMANDS = {
    "flask routes": [*FLASK, "routes"],
    "flask shell": [*FLASK, "shell"],
    "a command of the app": [*FLASK, "noop"],
    "python -c import": ["-c", "import support.recognition_probe"],
    "a script that only imports": [PROGRAM, "nothing", "0"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_imports_the_app_and_starts_nothing(site: Site, command: list[str | Path]) -> None:
    """Commands and shells stay idle, since they never call a server."""
    with site.run(*command) as process:
        assert process.wait() == 0

    assert [(fact["pid"], fact["state"]) for fact in site.facts("import")] == [(process.pid, "idle")]
    assert not site.facts("start")


TEST = """
import unittest
from support import recognition_probe

class TestIt(unittest.TestCase):
    def test_a_request(self):
        assert recognition_probe.app.test_client().get("/").status_code == 200
"""
RUNNERS = {
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
    "pytest as a program": [Path(sys.executable).with_name("pytest"), "-q", "-p", "no:cacheprovider", "test_it.py"],
    "unittest": ["-m", "unittest", "test_it"],
}


@pytest.mark.parametrize("command", RUNNERS.values(), ids=RUNNERS)
def test_a_test_run_never_starts(site: Site, command: list[str | Path]) -> None:
    """A test runner imports the app and asks it by a test client; it never becomes a worker."""
    (site.folder / "test_it.py").write_text(TEST)
    with site.run(*command) as process:
        assert process.wait() == 0, process.output()

    assert [fact["state"] for fact in site.facts("import")] == ["never"]
    assert not site.facts("start")


def package(folder: Path, name: str, text: str) -> None:
    """A module ``a.b.c`` in ``folder``: stands for a job runner's own, of which only the name is looked at."""
    *parents, leaf = name.split(".")
    place = folder
    for parent in parents:
        place /= parent
        place.mkdir(exist_ok=True)
        (place / "__init__.py").touch()
    (place / f"{leaf}.py").write_text(text)


JOB = """
import os

def call():
    from support import recognition_probe
    if os.fork() == 0:
        recognition_probe.in_a_child()
        os._exit(0)
    os.wait()
    return recognition_probe
"""


@pytest.mark.parametrize("runner", ["celery.bin.worker", "celery.concurrency.prefork", "dramatiq.cli", "rq.worker"])
def test_a_job_runner_and_its_children_never_start(site: Site, runner: str) -> None:
    """What runs jobs imports the app for them; neither it nor the pool it forks becomes a worker."""
    package(site.folder, runner, JOB)
    with site.run("-c", f"import {runner}; {runner}.call()") as process:
        assert process.wait() == 0, process.output()

    assert [fact["state"] for fact in site.facts("import")] == ["never"]
    assert [fact["state"] for fact in site.facts("child")] == ["never"]
    assert "serves no web app" in site.facts("import")[0]["why"]


@pytest.mark.parametrize("library", ["celery.app.task", "unittest.mock_like", "rq.job", "billiard.process"])
def test_a_web_app_that_only_calls_such_a_library_starts(site: Site, library: str) -> None:
    """
    A false *never* would be a silent disaster: importing test and job libraries, or being imported below one of
    their calls, leaves a serving process free to start.
    """
    if library.startswith("unittest"):
        code = "import pytest, unittest.mock, support.recognition_probe as probe; "
    else:
        package(site.folder, library, JOB)
        code = f"import pytest, {library}; probe = {library}.call(); "
    with site.run("-c", f"{code}probe.serve('run', {site.port})") as process:
        assert site.started(1) == [process.pid]
