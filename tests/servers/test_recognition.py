"""Real servers tell real processes what they are: exactly one start in each that serves, none in any other."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.processes import ask, free_port
from support.recognition_facts import Site
from support.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


KINDS = {
    "sync": "sync",
    "gthread": "gthread",
    "gevent": "gevent",
    "tornado": "tornado",
    "asgi": "asgi",
    "uvicorn": "uvicorn_worker.UvicornWorker",
    "websocket": "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
}


def app_for(kind: str) -> str:
    return f"support.recognition_probe:{'asgi' if kind in ('asgi', 'uvicorn') else 'app'}"


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_gunicorn_worker_starts_once_and_says_goodbye(site: Site, kind: str, preload: bool) -> None:
    """
    Every worker of every generation starts its crew once, and is told to leave and to stop when its time has come;
    the master never starts. HUP replaces all workers, TERM ends them. Where a loop serves the app it still runs when
    the crew is stopped, and the app's lifespan is closed after that.
    """
    options = ["--preload"] if preload else []
    with site.gunicorn(KINDS[kind], *options, app=app_for(kind)) as server:
        first = site.started(2)

        assert first == site.children()
        assert site.pids("import") == ([server.pid] if preload else first)
        assert {(fact["threads"], fact["descriptors"]) for fact in site.facts("import")} == {(0, 0)}
        assert {fact["server"] for fact in site.facts("start")} == {f"gunicorn {KINDS[kind].rpartition('.')[2]}"}
        assert {fact["grace_limit"] for fact in site.facts("start")} == {5.0}
        assert all(bool(fact["loop"]) == (kind in ("asgi", "uvicorn")) for fact in site.facts("start"))

        server.signal(signal.SIGHUP)
        second = sorted(set(site.started(4)) - set(first))
        site.gone(*first)
        eventually(lambda: site.children() == second, what="only the new generation is left")

        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert site.pids("start") == sorted(first + second)
        assert set(site.pids("leave")) == set(site.pids("stop")) == set(first + second)
        if kind in ("asgi", "uvicorn"):
            told = [(fact["pid"], fact["event"]) for fact in site.facts()]
            for pid in first + second:
                assert told.index((pid, "stop")) < told.index((pid, "lifespan.shutdown"))
                assert next(fact["loop_runs"] for fact in site.facts("stop") if fact["pid"] == pid)


@pytest.mark.parametrize(("kind", "options"), [("sync", []), ("gevent", ["--preload"])])
def test_workers_that_come_and_go_one_by_one_are_followed(site: Site, kind: str, options: list[str]) -> None:
    """
    A worker added by TTIN and the replacement of a killed one start; the one removed by TTOU leaves; INT, which is
    quick, is heard as ``worker_int`` by all that are left.
    """
    with site.gunicorn(kind, *options) as server:
        first = site.started(2)

        server.signal(signal.SIGTTIN)
        three = site.started(3)
        os.kill(three[0], signal.SIGKILL)
        four = site.started(4)
        server.signal(signal.SIGTTOU)
        eventually(lambda: len(site.pids("stop")) == 1, what="the one removed has stopped")
        eventually(lambda: len(site.children()) == 2, what="two are left")
        left = site.children()
        server.signal(signal.SIGINT)
        server.wait()

        assert set(first) < set(three) < set(four)
        assert set(left) < set(four)
        site.gone(*left)
        assert {site.why("leave", pid) for pid in left} <= {
            "gunicorn worker_int",
            "gunicorn told this worker to stop",  # the sign may be seen first
        }
        assert sorted(set(four) - set(site.pids("leave"))) == [three[0]]
        assert site.pids("start") == four


@pytest.mark.parametrize("kind", ["sync", "gevent", "uvicorn"])
def test_a_worker_that_has_served_its_share_leaves_before_the_next_starts(site: Site, kind: str) -> None:
    """``--max-requests`` ends a worker gracefully, and its replacement starts."""
    with site.gunicorn(KINDS[kind], "-w", "1", "--max-requests", "3", app=app_for(kind)):
        (first,) = site.started(1)
        for _ in range(3):
            assert ask(site.port) == (200, str(first))

        both = site.started(2)

        assert first in both
        site.gone(first)
        assert site.pids("stop").count(first) >= 1


def test_a_reloaded_worker_leaves_and_its_replacement_starts(site: Site) -> None:
    """``--reload`` replaces the worker when a file has changed."""
    changing = site.folder / "changing.txt"
    changing.touch()
    watched = ["--reload", "--reload-engine", "poll", "--reload-extra-file", str(changing)]
    with site.gunicorn("gthread", "-w", "1", *watched):
        (first,) = site.started(1)

        def noticed() -> bool:
            # The poll takes its first look at some time after the start; a change before that is not seen.
            os.utime(changing)
            return bool(site.pids("leave"))

        eventually(noticed, 20.0, interval=0.2)
        site.gone(first)
        site.started(2)


def test_a_worker_that_timed_out_leaves_at_the_first_signal(site: Site) -> None:
    """The abort of a hanging worker is heard inside the signal handler, and the server's patience is known."""
    with site.gunicorn("sync", "-w", "1", "--timeout", "1"):
        (first,) = site.started(1)

        assert ask(site.port, "/hang")[0] == 500

        site.gone(first)
        site.started(2)
        assert site.why("leave", first) in ("gunicorn worker_abort", "gunicorn told this worker to stop")
        assert site.facts("start")[0]["grace_limit"] == 1.0


@pytest.mark.parametrize("kind", ["sync", "uvicorn"])
def test_an_orphan_leaves_although_its_server_lets_it_live(site: Site, kind: str) -> None:
    """When the master is killed its workers leave at once: idle sync ones look for it every 15 s, uvicorn's never."""
    with site.gunicorn(KINDS[kind], app=app_for(kind)) as server:
        first = site.started(2)

        server.signal(signal.SIGKILL)
        site.gone(*first, events=("leave",), timeout=5.0)

        # One that happened to look for its master at that very moment may have ended by itself.
        by_itself = {"gunicorn worker_exit"} if kind == "sync" else set()
        assert {site.why("leave", pid) for pid in first} <= {
            f"the gunicorn master (pid {server.pid}) is gone",
            *by_itself,
        }


def test_an_app_imported_by_the_configuration_is_recognised_and_its_hooks_are_kept(site: Site) -> None:
    """
    ``gunicorn.conf.py`` may import the app, which is then older than the master's own parts; and the hooks it
    defines run beside ours, in every generation.
    """
    (site.folder / "gunicorn.conf.py").write_text(
        "from support.recognition_probe import tell\n"
        "def post_worker_init(worker): tell('user init')\n"
        "def worker_int(worker): tell('user int')\n"
        "def worker_exit(server, worker): tell('user exit')\n"
    )
    with site.gunicorn("gthread") as server:
        first = site.started(2)
        server.signal(signal.SIGHUP)
        both = site.started(4)
        site.gone(*first)
        eventually(lambda: len(site.children()) == 2)
        server.signal(signal.SIGQUIT)
        server.wait()

        assert set(site.pids("import")) == {server.pid}
        assert site.pids("user init") == both == site.pids("start")
        assert site.pids("user exit") == both == sorted(set(site.pids("stop")))
        assert site.pids("user int") == sorted(set(both) - set(first))


def test_a_master_that_was_patched_before_it_forked_has_workers_all_the_same(site: Site) -> None:
    """With ``monkey.patch_all()`` first in the app and ``--preload``, gevent's own wrapper calls ``os.fork``."""
    with site.gunicorn("gevent", "--preload", PROBE_PATCHES="yes") as server:
        first = site.started(2)

        assert first == site.children()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        site.gone(*first)


def test_a_side_show_in_the_master_is_no_evidence(site: Site) -> None:
    """A metrics endpoint served by a thread of the preload master does not make the master a worker."""
    with site.gunicorn("sync", "--preload", PROBE_SIDE_SHOW=str(free_port())) as server:
        first = site.started(2)

        assert first == site.children()
        assert server.pid not in first


@pytest.mark.parametrize("kind", ["sync", "uvicorn"])
def test_a_crew_that_refuses_to_start_stops_the_server(site: Site, kind: str) -> None:
    """An unusable setting ends the server with its message, instead of a worker reborn for ever."""
    with site.gunicorn(KINDS[kind], "-w", "1", app=app_for(kind), PROBE_REFUSES="yes") as server:
        assert server.wait() == 3
        assert "the folder 'nowhere' can't be used" in server.output()
        assert not site.facts("start")


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent", "websocket"])
def test_an_app_made_by_the_first_request_is_recognised_late(site: Site, kind: str) -> None:
    """Declared after the server's hooks have passed, a worker knows itself by the request or by its socket."""
    (site.folder / "lazy.py").write_text(
        "def app(environ, start_response):\n"
        "    from support import recognition_probe\n"
        "    return recognition_probe.app(environ, start_response)\n"
    )
    with site.gunicorn(KINDS[kind], "-w", "1", app="lazy:app") as server:
        site.answering()

        (worker,) = site.started(1)
        assert [worker] == site.children()
        assert site.why("start", worker).startswith("a request")
        server.signal(signal.SIGTERM)
        site.gone(worker)


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["plain", "preload"])
def test_a_worker_s_own_children_are_no_workers(site: Site, options: list[str]) -> None:
    """A forked child has the whole server on its stack, a spawned one imports the app again; neither starts."""
    with site.gunicorn("sync", *options):
        first = site.started(2)

        assert ask(site.port, "/children", timeout=20.0) == (200, "done")

        assert [fact["state"] for fact in site.facts("child")] == ["never", "idle"]
        assert site.pids("start") == first
