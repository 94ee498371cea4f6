"""What only asyncio workers have: relayed WebSockets, emits on the loop; and the kinds ``test_socketio`` leaves out."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from onduty.socketio.bus import Emitter
from support.processes import REPOSITORY, free_port, start, stop
from support.sio_site import Clients, Session, SioSite, clients, foreign, site
from support.waiting import eventually

UVICORN = "uvicorn_worker.UvicornWorker"
POLLING = {"transports": ["polling"]}
EXAMPLE = REPOSITORY / "examples" / "fastapi"


@pytest.fixture(params=[("asgi", "--preload"), (UVICORN,)], ids=["asgi-preload", "uvicorn"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SioSite]:
    """A server of each kind, which was given the ``ASGIApp`` and not the ``AsyncServer`` in it.

    One for each test: who polled, and went without a word, is counted for most of a minute.
    """
    with site(tmp_path_factory.mktemp("sio"), *request.param, ORDER="late") as found:
        yield found


@pytest.fixture
def server(shared: SioSite) -> SioSite:
    shared.is_whole()
    return shared


def test_clients_of_every_kind_connect_and_get_every_emit(server: SioSite) -> None:
    """16 of 16 connected and upgraded, 16 that only poll; all acknowledge; 3 emits of any worker reach all 32."""
    before = [server.status(pid)["socketio"] for pid in server.pids()]
    with clients(server) as many:
        many.open(16)
        many.do("open", url=server.url, count=16, options=POLLING)
        many.all(lambda one: one["connected"])

        assert many.answers("echo", {"a": [1, "ä"]}) == [{"a": [1, "ä"]}] * 32
        for number in range(3):
            server.get("/emit", event=f"tick {number}")
            many.received(f"tick {number}", 1)
        states = many.states()
        assert [one["drops"] for one in states] == [[]] * 32
        facts = [server.status(pid)["socketio"] for pid in server.pids()]
        assert {one["manager"] for one in facts} == {"AsyncBus"}
        assert [sum(worker["clients"] for worker in one["workers"]) for one in facts] == [32] * 4
        assert sum(one["forwarded"] for one in facts) > sum(one["forwarded"] for one in before)
        assert handed_over(facts) - handed_over(before) <= 16
        # Who answers is the kernel's choice: that none of 16 had to be handed over was seen once.
        for _ in range(20):
            if handed_over(facts) > handed_over(before):
                break
            many.open(4)
            facts = [server.status(pid)["socketio"] for pid in server.pids()]
        assert handed_over(facts) > handed_over(before)
        assert [one["dropped"] for one in facts] == [0] * 4


def handed_over(facts: list[dict[str, Any]]) -> int:
    return sum(one["handed_over"] for one in facts)


def test_a_client_that_leaves_is_gone_at_its_owner_too(server: SioSite) -> None:
    """Its end is relayed as everything else is: no session and no connection of a client is left behind."""
    with clients(server) as many:
        before = connections(server)
        for _ in range(2):
            many.open(16)
            assert connections(server) >= before + 16
            many.close()
            eventually(lambda: sessions(server) == 0, 20, what="all sessions have ended")
            eventually(lambda: connections(server) <= before, 20, what="all connections have ended")


def sessions(server: SioSite) -> int:
    return sum(one["clients"] for one in server.is_whole())


def connections(server: SioSite) -> int:
    """Of clients; those between workers are kept for the next request."""
    found = [psutil.Process(pid).net_connections("tcp") for pid in server.pids()]
    return sum(one.status == psutil.CONN_ESTABLISHED for of_one in found for one in of_one)


def test_a_relayed_client_comes_back_when_the_worker_in_between_dies(server: SioSite) -> None:
    """kill -9 of any worker: those it owned and those it relayed are back, and later emits reach all."""
    with clients(server) as many:
        many.open(16)
        victim = server.pids()[0]

        os.kill(victim, signal.SIGKILL)

        eventually(lambda: victim not in server.pids(), 10)
        server.is_whole()
        many.are_back(server)
        many.do("forget")
        server.get("/emit", event="after")
        many.received("after", 1)


def test_what_is_too_long_is_answered_by_its_owner_before_it_has_come_whole(server: SioSite) -> None:
    """A long body for a session that its owner does not know: 400 at once, by whichever worker it comes in."""
    session = foreign(server)
    for connection in [server.connect() for _ in range(4)]:
        try:
            connection.putrequest("POST", f"/socket.io/?EIO=4&transport=polling&sid={session.owner}{'A' * 20}")
            connection.putheader("Content-Length", "20000000")
            connection.endheaders(b"4" * 100_000)
            assert connection.getresponse().status == 400
        finally:
            connection.close()
    connection = server.connect()
    try:
        session.join(connection)
    finally:
        connection.close()


def test_a_long_body_whose_owner_stops_amid_it_is_answered_in_seconds(server: SioSite) -> None:
    """With 400, so that its client starts a new session; not when a poll would be given up."""
    tokens = {one["token"]: one["pid"] for one in server.is_whole()}
    session = Session(server)
    owner = tokens[session.owner]
    connection = server.connect(to=next(pid for pid in tokens.values() if pid != owner))
    connection.putrequest("POST", f"/socket.io/?EIO=4&transport=polling&sid={session.sid}")
    connection.putheader("Content-Length", "900000")  # of a million that are allowed
    connection.endheaders(b"4" * 100_000)
    eventually(lambda: server.status(of=owner)["socketio"]["workers"], 10, what="the owner is awake")
    stop(owner)
    try:
        connection.send(b"4" * 800_000)

        assert connection.getresponse().status == 400
    finally:
        os.kill(owner, signal.SIGCONT)
        connection.close()


def test_a_run_in_a_thread_emits_by_the_loop_in_order(server: SioSite) -> None:
    """``asyncio.run_coroutine_threadsafe``, as the README says."""
    with clients(server) as many:
        many.open(8)
        (server.folder / "draft").write_text("500")
        (server.folder / "draft").rename(server.folder / "threaded")

        many.received("threaded", 500)


def test_a_script_reaches_the_clients_of_asyncio_workers(server: SioSite) -> None:
    """The mesh is one for all kinds of workers: the emitter that waits in threads is understood on loops."""
    with clients(server) as many:
        many.open(8)
        emitter = Emitter(Path(server.status()["folder"]))
        try:
            for number in range(500):
                emitter.emit("outside", {"n": number, "filling": b"\x00\xff"})
            assert {one["kind"] for one in many.received("outside", 500)} == {"binary"}
        finally:
            emitter.close()


def test_a_worker_that_leaves_is_not_held_up_by_those_who_only_poll(server: SioSite) -> None:
    """HUP with polls waiting in every worker, relayed ones among them: gone in seconds, everyone is back."""
    with clients(server) as many:
        many.open(12, **POLLING)
        old = server.pids()
        began = time.monotonic()

        server.server.signal(signal.SIGHUP)

        eventually(lambda: not set(old) & set(server.pids()), 30, what="the old generation has gone")
        assert time.monotonic() - began < 10
        server.is_whole()
        many.are_back(server, upgraded=False)
        many.do("forget")
        server.get("/emit", event="reloaded")
        many.received("reloaded", 1)


@pytest.mark.parametrize(
    ("kind", "app", "env", "sentence"),
    [
        ("gthread", "support.sio_asgi:app", {"ASYNC_MODE": "asgi"}, "needs a web server whose asyncio loop is known"),
        ("asgi", "support.sio_asgi:app", {"ASYNC_MODE": "tornado"}, 'AsyncServer(async_mode="asgi")'),
    ],
    ids=["a WSGI worker", "another async_mode"],
)
def test_what_cannot_work_is_refused_with_the_remedy(
    tmp_path: Path, kind: str, app: str, env: dict[str, str], sentence: str
) -> None:
    """The server does not start, and the last line says what to type."""
    paths = os.pathsep.join(str(REPOSITORY / name) for name in ("src", "tests"))
    env = {"ONDUTY_DIR": str(tmp_path / "duty"), "PYTHONPATH": paths, **env}
    bind = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "gunicorn", "-k", kind, "-w", "2", "-b", bind, "--no-control-socket", app]
    with start(command, log=tmp_path / "output", env=env, cwd=tmp_path) as server:
        assert server.wait() != 0
        assert sentence in server.output()


def test_who_brings_a_client_manager_keeps_it(tmp_path: Path) -> None:
    """Routing works all the same; emits are that manager's business."""
    found = SioSite(tmp_path, UVICORN, workers=2, OWN_MANAGER="1")
    with found.server, clients(found) as many:
        found.is_up()
        many.open(8)

        assert many.answers("echo", 1) == [1] * 8
        assert found.status()["socketio"]["manager"] == "OwnManager"
        assert not [name for name in found.sockets() if name.startswith("bus.")]


@pytest.mark.parametrize("kind", ["asgi", UVICORN])
def test_the_fastapi_example_counts_for_every_client(tmp_path: Path, kind: str) -> None:
    """As people start it: one counter in all, and every client of both workers hears it count."""
    port = free_port()
    env = {"ONDUTY_DIR": str(tmp_path / "duty"), "PYTHONPATH": str(REPOSITORY / "src"), "EVERY": "0.1"}
    command = [sys.executable, "-m", "gunicorn", "-k", kind, "-w", "2", "-b", f"127.0.0.1:{port}"]
    with start([*command, "--no-control-socket", "app:app"], log=tmp_path / "log", cwd=EXAMPLE, env=env) as server:
        eventually(lambda: server.output().count("worker ready") == 2, 20)
        many = Clients(f"http://127.0.0.1:{port}", tmp_path / "node")
        try:
            many.open(8)
            many.all(lambda one: "count" in one["events"])
            many.do("forget")
            states = many.all(lambda one: one["events"].get("count", {}).get("count", 0) >= 5)
            # Once: they begin to listen in the middle of it.
            assert [one["events"]["count"]["outOfOrder"] for one in states] == [1] * 8
            assert many.answers("add", 2) == [2] * 8
        finally:
            many.end()
