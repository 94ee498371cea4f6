"""Nothing exists before *ready*, and nothing ever does in a process that serves nobody."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.once_site import OnceSite, children
from support.processes import Running
from support.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


def has_nothing_of_ours(site: OnceSite, server: Running) -> None:
    """One thread, and no descriptor into the folder."""
    names = [os.readlink(f"/proc/{server.pid}/fd/{number}") for number in os.listdir(f"/proc/{server.pid}/fd")]
    assert [name for name in names if name.startswith(str(site.duty_folder))] == []
    assert len(os.listdir(f"/proc/{server.pid}/task")) == 1


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_preloading_master_has_no_thread_no_descriptor_and_no_lock(site: OnceSite, kind: str) -> None:
    """
    A master that has imported the app, but has no worker yet, has made nothing, not even the folder. When workers
    have come and one of them leads, the master still has one thread and no descriptor of ours.
    """
    with site.gunicorn(kind, "--preload", workers=0) as server:
        eventually(lambda: "Listening at" in server.output(), 20, what="the master has imported the app and listens")
        assert children(server) == []
        has_nothing_of_ours(site, server)
        assert not site.duty_folder.exists()

        server.signal(signal.SIGTTIN)
        assert site.leads() in children(server)
        has_nothing_of_ours(site, server)
        site.all_goes_on()
        site.end(server)

    site.check()


def test_a_master_that_reads_the_journal_at_import_does_not_take_it_from_its_workers(site: OnceSite) -> None:
    """A SQLite file that is open in a fork can't be used in the child: it is closed before, and opened again after."""
    with site.gunicorn("gthread") as first:
        site.leads()
        site.all_goes_on()
        site.end(first)

    with site.gunicorn("gthread", "--preload", PROBE_READS="yes") as server:
        leader = site.leads(but=[fact["pid"] for fact in site.facts("beat")])
        site.all_goes_on(pid=leader)
        (read,) = site.facts("read")
        assert (read["pid"], read["runs"] > 0) == (server.pid, True)
        has_nothing_of_ours(site, server)
        site.end(server)

    site.check()


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "flask", "--app", "support.once_app", "shell"],
        ["-m", "flask", "--app", "support.once_app", "--help"],
        ["-m", "flask", "--app", "support.once_app", "routes"],
        ["-c", "import support.once_app"],
        ["-c", "from support.once_app import app; print(app.test_client().get('/').status)"],
    ],
    ids=["flask shell", "flask --help", "flask routes", "import", "test client"],
)
def test_a_command_leaves_no_trace(site: OnceSite, command: list[str]) -> None:
    """What imports the app and serves nobody makes no folder and runs nothing."""
    with site.run(*command) as process:
        assert process.wait() == 0, process.output()

    assert not site.duty_folder.exists()
    assert site.facts() == []
    assert sorted(path.name for path in site.folder.iterdir()) == ["output"]
