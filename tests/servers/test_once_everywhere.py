"""One leader and every slot once under every server we know, through a death, a reload and an end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support import once_app
from support.once_site import OnceSite, children
from support.processes import ask, is_living
from support.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


KINDS = {
    "sync": "sync",
    "gthread": "gthread",
    "gevent": "gevent",
    "tornado": "tornado",
    "asgi": "asgi",
    "uvicorn": "uvicorn_worker.UvicornWorker",
    "websocket": "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
}


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_worker_leads_in_every_class_of_gunicorn_worker(site: OnceSite, kind: str, preload: bool) -> None:
    """
    kill -9 of the leader: the other worker goes on. HUP: one of the new generation goes on. SIGTERM: all of it ends.
    Never two leaders, each slot once, none forgotten; who is not killed comes to its last line; the master runs
    nothing.
    """
    options = ["--graceful-timeout", "5", *(["--preload"] if preload else [])]
    app = "support.once_async:asgi" if kind in ("asgi", "uvicorn") else "support.once_app:app"
    with site.gunicorn(KINDS[kind], *options, app=app) as server:
        first = site.leads()
        site.is_ready(2)
        assert first in children(server)
        site.all_goes_on(pid=first)

        os.kill(first, signal.SIGKILL)
        second = site.leads(but=[first])
        site.all_goes_on(pid=second)
        site.is_ready(3)
        old = children(server)
        assert second in old

        server.signal(signal.SIGHUP)
        third = site.leads(but=[first, *old])
        site.is_ready(5)
        assert third in children(server)
        site.all_goes_on(pid=third)
        eventually(lambda: not set(old) & set(children(server)), 20, what="only the new generation is left")

        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0

    led = [tenure.pid for tenure in site.check()]
    assert led[:2] == [first, second]
    assert led.index(third) > 1
    assert {fact["pid"] for fact in site.facts("end")} == set(led[1:])
    assert server.pid not in {fact["pid"] for fact in site.facts()}


PROGRAM = once_app.__file__
FLASK = ["-m", "flask", "--app", "support.once_app", "run"]
WAYS = {
    "python app.py": [PROGRAM, "run"],
    "app.run(debug=True)": [PROGRAM, "debug"],
    "flask run": [*FLASK, "--port"],
    "flask run --debug": [*FLASK, "--debug", "--port"],
    "socketio.run": [PROGRAM, "socketio-threading"],
    "waitress": [PROGRAM, "waitress"],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_server_of_one_process_leads_and_its_next_start_goes_on(site: OnceSite, way: str) -> None:
    """
    The process that serves leads: with a reloader the child, and never its parent. SIGTERM ends it at once, and
    whatever run that cut is lost; the next start goes on from there, and ends in order at Ctrl-C.
    """
    reloads = "debug" in way
    with site.run(*WAYS[way], str(site.port), ONDUTY_NAME="one") as server:
        first = site.leads()
        assert [first] == (children(server) if reloads else [server.pid])
        site.all_goes_on(pid=first)
        server.signal(signal.SIGTERM)
        server.wait()
        eventually(lambda: not is_living(first), what="the leader has ended with its server")

    # A reloader gives its child a quarter of a second after Ctrl-C.
    again = "python app.py" if reloads else way
    with site.run(*WAYS[again], str(site.port), ONDUTY_NAME="one") as server:
        assert site.leads(but=[first]) == server.pid
        site.all_goes_on(pid=server.pid)
        server.signal(signal.SIGINT)
        server.wait()

    assert [tenure.pid for tenure in site.check()] == [first, server.pid]
    assert {fact["pid"] for fact in site.facts()} == {first, server.pid}
    assert site.facts("end")[-1]["pid"] == server.pid


def test_a_reloaded_worker_hands_over_to_its_replacement(site: OnceSite) -> None:
    """``--reload``: a changed file, and the new code goes on."""
    changing = site.folder / "changing.txt"
    changing.touch()
    watched = ["--reload", "--reload-engine", "poll", "--reload-extra-file", str(changing)]
    with site.gunicorn("gthread", *watched, workers=1) as server:
        leader = site.leads()

        def noticed() -> bool:
            # The poll takes its first look at some time after the start; a change before that is not seen.
            os.utime(changing)
            return bool(site.facts("end"))

        eventually(noticed, 20.0, interval=0.2)
        site.leads(but=[leader])
        site.all_goes_on()
        eventually(lambda: not is_living(leader))
        server.signal(signal.SIGTERM)
        server.wait()

    site.check()


def test_a_leader_whose_server_gives_up_on_it_hands_over(site: OnceSite) -> None:
    """A request that hangs beyond gunicorn's ``--timeout`` takes its worker with it; the replacement goes on."""
    with site.gunicorn("sync", "--timeout", "1", workers=1) as server:
        leader = site.leads()

        assert ask(site.port, "/slow")[0] == 500

        site.leads(but=[leader])
        site.is_ready(2)
        site.all_goes_on()
        server.signal(signal.SIGTERM)
        server.wait()

    site.check()
