"""Socket.IO across workers at its edges: TLS, recycling, few threads, large and odd requests, refusals."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from support.processes import REPOSITORY, free_port, start
from support.sio_site import ASYNCIO, TLS, Clients, Session, SioSite, clients, foreign, site
from support.waiting import eventually

POLLING = {"transports": ["polling"]}


@pytest.fixture(scope="module")
def gthread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SioSite]:
    """One server, whose app knows its SocketIO before that knows its app, in a folder too long for a socket's path."""
    folder = tmp_path_factory.mktemp("sio") / ("a-long-name-" * 10)
    folder.mkdir()
    with site(folder, "gthread", "--threads", "4", ORDER="late") as found:
        yield found


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_encrypted_connections_are_served_by_their_owners_too(tmp_path: Path, kind: str) -> None:
    """With ``--certfile``: 16 of 16 connected and upgraded, 48 deliveries, 5 MB whole; a reload is not held up."""
    # A WebSocket whose bytes are carried occupies a thread, and after a reload one worker may get all sixteen.
    threads = ["--threads", "64"] if kind == "gthread" else []
    with site(tmp_path, kind, *TLS, *threads) as server, clients(server) as many:
        many.open(16)

        assert many.answers("echo", "x") == ["x"] * 16
        for number in range(3):
            server.get("/emit", event=f"tick {number}")
            many.received(f"tick {number}", 1)
        server.get("/emit", event="long", count=2, size=5_000_000)
        assert {one["bytes"] for one in many.received("long", 2, 40)} == {10_000_000}
        assert [one["drops"] for one in many.states()] == [[]] * 16

        old = server.pids()
        server.server.signal(signal.SIGHUP)
        # Whoever is on duty stays until a new worker can go on duty, and on a busy machine that takes a while.
        # A handshake that outlasts gunicorn's server ends in gevent with "no attribute 'handle'", and is no matter.
        eventually(lambda: not set(old) & set(server.pids()), 60, what="the old generation has gone")
        server.is_whole()
        # Who tried to upgrade through a worker that was leaving goes on polling: its bytes would have to be carried.
        many.are_back(server, upgraded=False)
        server.get("/emit", event="after")
        many.received("after", 1)


@pytest.mark.parametrize("kind", ["gthread", "gevent", *ASYNCIO])
def test_workers_that_are_recycled_lose_no_client_for_good(tmp_path: Path, kind: str) -> None:
    """``--max-requests`` under load: workers come and go, and at the end everybody is there and gets an emit."""
    over = threading.Event()
    options = ["--max-requests", "60", "--max-requests-jitter", "30"]
    with site(tmp_path, kind, *options) as server, clients(server) as many:
        many.open(8)
        many.do("open", url=server.url, count=8, options=POLLING)

        def ask() -> None:
            while not over.is_set():
                with suppress(OSError, HTTPException):  # of a worker that ended with it
                    server.get("/")

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            eventually(lambda: server.has_served(12), 60, what="eight workers more than there were")
        finally:
            over.set()
            asking.join()

        def all_get_it() -> bool:
            many.all(lambda one: one["connected"])
            many.do("forget")
            server.get("/emit", event="end")
            return bool(many.received("end", 1, 3))

        # The worker that answers may be at its last request itself.
        eventually(all_get_it, 30)


def test_400_websockets_fit_four_threads(gthread: SioSite) -> None:
    """WebSockets take none of the server's ``--threads``: 400 on four workers of four, and requests are answered."""
    with clients(gthread) as many:
        for _ in range(4):
            many.open(100)

        assert many.answers("echo", 1) == [1] * 400
        gthread.get("/emit", event="to all")
        many.received("to all", 1)
        assert gthread.status()["socketio"]["dropped"] == 0


def test_a_body_over_the_limit_is_refused_and_not_carried_around(gthread: SioSite) -> None:
    """The session is ended with 400, as engine.io does, and other sessions go on."""
    session = foreign(gthread)
    other = Session(gthread)
    connection = gthread.connect()
    other.join(connection)
    connection.close()

    connection = gthread.connect()
    try:
        connection.putrequest("POST", f"/socket.io/?EIO=4&transport=polling&sid={other.sid[:8]}{'A' * 20}")
        connection.putheader("Content-Length", "20000000")
        connection.endheaders()
        assert connection.getresponse().status == 400
    finally:
        connection.close()
    connection = gthread.connect()
    try:
        session.join(connection)
    finally:
        connection.close()


def test_the_sockets_of_the_dead_are_swept_and_those_of_leavers_are_gone(tmp_path: Path) -> None:
    """After kill -9 the others remove what was left; after SIGTERM the folder is empty."""
    with site(tmp_path, "gthread", workers=2) as server:
        dead = {one["pid"]: one["token"] for one in server.is_whole()}
        victim = server.pids()[0]
        os.kill(victim, signal.SIGKILL)
        server.is_whole()

        eventually(lambda: f"bus.{dead[victim]}" not in server.sockets(), 10)
        assert len(server.sockets()) in (4, 5)  # its counter goes when somebody asks there
        server.status()
        assert len(server.sockets()) == 4
        (place,) = (tmp_path / "duty").glob("*/socketio")
        assert place.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}

        server.server.signal(signal.SIGTERM)
        server.server.wait()
        assert server.sockets() == []


def test_who_brings_a_client_manager_keeps_it(tmp_path: Path) -> None:
    """Routing works all the same; emits are that manager's business."""
    found = SioSite(tmp_path, "gthread", workers=2, OWN_MANAGER="1")
    with found.server, clients(found) as many:
        found.is_up()
        many.open(8)
        status = found.status()["socketio"]

        assert many.answers("echo", 1) == [1] * 8
        assert status["manager"] == "OwnManager"
        assert found.server.output().count("emits go by the app's own OwnManager") == 2
        assert not [name for name in found.sockets() if name.startswith("bus.")]


@pytest.mark.parametrize("twice", ["apps", "names", "duties", "without"])
def test_one_socketio_may_be_given_twice(tmp_path: Path, twice: str) -> None:
    """By a factory that is called twice, by two apps or duties; it works for the last app, as without us."""
    kind = "gevent" if twice == "duties" else "gthread"
    with site(tmp_path, kind, workers=2, TWICE=twice) as server, clients(server) as many:
        many.open(8)
        workers, session = server.is_whole(), Session(server)
        for worker in workers:
            server.get("/emit", of=worker["pid"], event=worker["token"])
            many.received(worker["token"], 1)
        other = next(one for one in workers if one["token"] != session.owner)
        with closing(server.connect(other["pid"])) as connection:
            session.join(connection)

        on_duty = 1 if twice == "apps" else 2  # one folder, or two
        eventually(lambda: server.server.output().count("is on duty") == on_duty, 10)
        told = [line for line in server.server.output().splitlines() if "WARNING" in line or "ERROR" in line]
        if twice in ("apps", "names"):
            (line,) = told
            assert "one SocketIO was given to several apps" in line
        else:
            assert told == []
        server.server.signal(signal.SIGTERM)
        assert server.server.wait() == 0
        assert server.sockets() == []


def test_gevent_websocket_beside_several_workers_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The server does not start, and the last line says what to type."""
    paths = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY / "tests")])
    found = SioSite(tmp_path, "gevent", PYTHONPATH=paths)
    with found.server as server:
        assert server.wait() != 0

        assert "pip uninstall gevent-websocket" in server.output()


def test_threading_loaded_before_gevent_patches_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Flask-SocketIO alone takes the first client, and answers nothing any more."""
    found = SioSite(tmp_path, "gevent", "--preload", ASYNC_MODE="threading")
    with found.server as server:
        assert server.wait() != 0

        assert 'say SocketIO(app, async_mode="gevent"), or leave out --preload' in server.output()


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"PLAIN": "1"}, r"OnDuty\(app, socketio=socketio\)"),
        ({}, "sync worker answers one request at a time"),
    ],
    ids=["forgotten", "sync"],
)
def test_what_needs_saying_is_said_once_by_the_worker_on_duty(
    tmp_path: Path, env: dict[str, str], sentence: str
) -> None:
    """Not four times by four workers."""
    found = SioSite(tmp_path, "gthread" if env else "sync", **env)
    with found.server as server:
        found.is_up()
        eventually(lambda: "is on duty" in server.output(), 10)
        eventually(lambda: re.search(sentence, server.output()), 10)
        assert len(re.findall(sentence, server.output())) == 1


def test_one_process_of_socketio_run_needs_nothing(tmp_path: Path) -> None:
    """``socketio.run`` in gevent mode, unpatched: runs are native threads there, and their emits reach the clients."""
    port = free_port()
    env = {"ASYNC_MODE": "gevent", "PROBE_FOLDER": str(tmp_path), "ONDUTY_DIR": str(tmp_path / "duty")}
    hide = str(REPOSITORY / "tests" / "support" / "without_gevent_websocket")
    env["PYTHONPATH"] = os.pathsep.join([hide, str(REPOSITORY / "src"), str(REPOSITORY / "tests")])
    program = f"from support.sio_app import app, socketio; socketio.run(app, port={port})"
    with start([sys.executable, "-c", program], log=tmp_path / "output", env=env) as server:
        eventually(lambda: "is on duty" in server.output(), 20)
        many = Clients(f"http://127.0.0.1:{port}", tmp_path / "node")
        try:
            many.open(8)
            (tmp_path / "draft").write_text("2000")
            (tmp_path / "draft").rename(tmp_path / "stream")
            many.received("stream", 2000)
        finally:
            many.end()
