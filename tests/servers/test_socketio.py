"""Socket.IO on four gunicorn workers, with the real JavaScript client: sessions, emits, and what is done to workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import socketio

from onduty.socketio.bus import Emitter
from support.processes import stop
from support.sio_site import Clients, Session, SioSite, clients, foreign, site
from support.waiting import eventually

KINDS = {
    "gthread": ("gthread",),
    "gevent-preload": ("gevent", "--preload"),
    # The other two of asyncio are in test_socketio_asgi.
    "asgi": ("asgi",),
    "uvicorn-preload": ("uvicorn_worker.UvicornWorker", "--preload"),
}
THE_OTHER_KINDS = {"gthread-preload": ("gthread", "--preload"), "gevent": ("gevent",)}
POLLING = {"transports": ["polling"]}
ORIGIN_REFUSED = (b'"Not an accepted origin."', b'"http://bad.example is not an accepted origin."')


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SioSite]:
    """One server per kind for all tests; a test that ends workers leaves it to the next one to wait for new ones."""
    with site(tmp_path_factory.mktemp("sio"), *request.param) as found:
        yield found


@pytest.fixture
def server(shared: SioSite) -> SioSite:
    shared.is_whole()
    return shared


@pytest.fixture
def many(server: SioSite, request: pytest.FixtureRequest) -> Iterator[Clients]:
    failed = request.session.testsfailed
    with clients(server) as found:
        yield found
        if request.session.testsfailed > failed:
            print(server.status(), server.server.output()[-3000:])


@pytest.mark.parametrize("options", [{}, POLLING], ids=["default", "polling only"])
def test_clients_connect_stay_and_get_what_any_worker_emits(
    server: SioSite, many: Clients, options: dict[str, Any]
) -> None:
    """16 of 16 connected, and upgraded unless they only poll; 16 acknowledgements; 3 emits are 48 deliveries."""
    connect_stay_and_get(server, many, options)


@pytest.mark.parametrize("kind", THE_OTHER_KINDS.values(), ids=THE_OTHER_KINDS)
def test_so_they_do_with_preload_and_without(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """What one kind of worker does after a fork of everything, and the other after importing it itself."""
    with site(tmp_path, *kind) as server:
        for options in ({}, POLLING):
            with clients(server) as many:
                connect_stay_and_get(server, many, options)
        with clients(server) as many:
            many.open(8)
            victim = many.owners()[0]
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: victim not in server.pids(), 10)
            server.is_whole()
            many.are_back(server, upgraded=False)
            server.get("/emit", event="after")
            many.received("after", 1)


def connect_stay_and_get(server: SioSite, many: Clients, options: dict[str, Any]) -> None:
    many.open(16, **options)

    assert many.answers("echo", {"a": [1, "ä"]}) == [{"a": [1, "ä"]}] * 16
    for number in range(3):
        server.get("/emit", event=f"tick {number}")
    for number in range(3):
        many.received(f"tick {number}", 1)
    states = many.states()
    assert [one["drops"] for one in states] == [[]] * 16
    assert [one["connects"] for one in states] == [1] * 16


def test_200_clients_are_served_at_once(server: SioSite, many: Clients) -> None:
    """As many as come at once: each is upgraded, has its own answer, and gets the emit; nothing is dropped."""
    for _ in range(2):
        many.open(100)

    assert many.answers("echo", 1) == [1] * 200
    server.get("/emit", event="to all")
    many.received("to all", 1, 20)
    assert [one["drops"] for one in many.states()] == [[]] * 200
    assert server.status()["socketio"]["dropped"] == 0


@pytest.mark.parametrize("options", [{}, POLLING], ids=["default", "polling only"])
def test_an_emit_of_5_mb_and_a_binary_one_arrive_whole(server: SioSite, many: Clients, options: dict[str, Any]) -> None:
    """On every client of every worker, in order with what is emitted around them."""
    # Not both kinds at once: engine.io encodes a binary packet once, for the transport that comes first (4.15).
    many.open(8, **options)

    server.get("/emit", event="long", count=2, size=5_000_000)
    server.get("/emit", event="bytes", count=2, size=1_000_000, binary=1)

    seen = many.received("long", 2, 30)
    assert {(one["bytes"], one["kind"]) for one in seen} == {(10_000_000, "string")}
    seen = many.received("bytes", 2, 60)
    assert {(one["bytes"], one["kind"]) for one in seen} == {(2_000_000, "binary")}
    assert len({one["hash"] for one in seen}) == 1
    assert [one["drops"] for one in many.states()] == [[]] * 8


def test_the_clients_of_a_killed_worker_come_back_and_no_others_notice(server: SioSite, many: Clients) -> None:
    """kill -9 of a worker with clients: exactly its own drop, all are back, later emits reach all."""
    many.open(24)
    owners = many.owners()
    victim = owners[0]

    os.kill(victim, signal.SIGKILL)

    eventually(lambda: victim not in server.pids(), 10)
    server.is_whole()
    many.are_back(server)
    owned = {number for number, owner in enumerate(owners) if owner == victim}
    assert owned <= dropped(many)
    if not server.is_asyncio:  # where those that came in by the victim notice too
        assert dropped(many) == owned, [one["drops"] for one in many.states()]
    for _ in range(5):
        server.get("/emit", event="after")
    many.received("after", 5)
    assert victim not in many.owners()


def dropped(many: Clients) -> set[int]:
    return {number for number, one in enumerate(many.states()) if one["drops"]}


def test_reloads_bring_all_clients_to_the_new_workers(server: SioSite, many: Clients) -> None:
    """HUP three times: the old workers are not held up by WebSockets, everyone is back, an emit reaches all."""
    many.open(12)
    for number in range(3):
        old = server.pids()
        hung_up = time.monotonic()
        server.server.signal(signal.SIGHUP)
        eventually(lambda old=old: not set(old) & set(server.pids()), 30, what="the old generation has gone")
        took = time.monotonic() - hung_up
        server.is_whole()
        many.are_back(server)
        server.get("/emit", event=f"reload {number}")
        many.received(f"reload {number}", 1)
        # Gunicorn would wait 30 s for a WebSocket. Whoever is on duty waits for a new worker, as long as that takes.
        assert took < 20
    assert not set(many.owners()) & set(old)


def test_a_reload_brings_back_those_who_poll_with_the_python_client(server: SioSite) -> None:
    """It goes for good when it is told that its session is closed; cut off, it comes back by itself."""
    with ExitStack() as stack:
        pollers = [socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.5) for _ in range(4)]
        for one in pollers:
            one.connect(server.url, transports=["polling"], wait_timeout=20)
            stack.callback(one.shutdown)
        first, old = [one.sid for one in pollers], server.pids()

        server.server.signal(signal.SIGHUP)

        eventually(lambda: not set(old) & set(server.pids()), 30, what="the old generation has gone")
        eventually(
            lambda: all(one.connected and one.sid not in first for one in pollers), 30, what="all of them are back"
        )


@pytest.mark.parametrize("session_of", [Session, foreign], ids=["any", "foreign"])
def test_who_closes_a_session_ends_its_poll(server: SioSite, session_of: Callable[[SioSite], Session]) -> None:
    """On any worker: waiting on, it would hold up a worker that is to end, or one of its threads."""
    session = session_of(server)
    waiting, leaving = server.connect(), server.connect()
    session.join(waiting)
    waiting.request("GET", f"/socket.io/?EIO=4&transport=polling&sid={session.sid}")
    assert session.post(leaving, "1").read().upper() == b"OK"

    assert waiting.getresponse().status in (200, 400)  # and no time-out
    for connection in (waiting, leaving):
        connection.close()


def test_a_frozen_worker_holds_nobody_else_up(server: SioSite, many: Clients) -> None:
    """
    SIGSTOP of a worker with clients: emits return at once and reach everyone else in order; released, it goes on with
    its clients. A request of one of its sessions is answered with 400 within seconds.
    """
    many.open(16)
    owners = many.owners()
    frozen = min(set(owners), key=owners.count)  # on a busy machine one may have accepted nearly all of them
    awake = [number for number, owner in enumerate(owners) if owner != frozen]
    other = next(pid for pid in server.pids() if pid != frozen)
    session = eventually(lambda: (one := Session(server)).sid and one, 5)
    tokens = {one["pid"]: one["token"] for one in server.is_whole()}
    while session.owner != tokens[frozen]:
        session = Session(server)

    stop(frozen)
    try:
        answers = many.do("ask", event="who", only=awake, within=5000)
        reachable = [number for number, pid in zip(awake, answers, strict=True) if isinstance(pid, int)]
        # An asyncio worker does not hand WebSockets over, it relays them, and a frozen one relays nothing.
        assert reachable == awake or (server.is_asyncio and reachable)
        began = time.monotonic()
        server.get("/emit", of=other, event="meanwhile", count=200, size=1000)
        assert time.monotonic() - began < 5
        eventually(
            lambda: (
                (states := many.states())
                and all(states[one]["events"].get("meanwhile", {}).get("count") == 200 for one in reachable)
            ),
            20,
            what="all others have all",
        )
        connection = server.connect(to=other)
        began = time.monotonic()
        assert session.poll(connection).status == 400
        assert time.monotonic() - began < 10
        connection.close()
    finally:
        os.kill(frozen, signal.SIGCONT)

    many.received("meanwhile", 200)
    assert [one["drops"] for one in many.states()] == [[]] * 16


def test_two_sessions_take_turns_on_one_connection(server: SioSite) -> None:
    """As two tabs behind a proxy that keeps connections alive: each request finds its own session."""
    first = Session(server)
    second = Session(server)
    third = next(one for one in iter(lambda: Session(server), None) if one.owner != first.owner)
    connection = server.connect()
    try:
        for session in (first, second, third):
            session.join(connection)
        for number in range(6):
            for session in (first, third, second):
                assert session.post(connection, f'42{number}["echo","{session.sid}"]').read() == b"OK"
            for session in (third, second, first):
                assert session.poll(connection).read().decode() == f'43{number}["{session.sid}"]'
    finally:
        connection.close()


def test_a_forwarded_request_says_what_the_client_said(server: SioSite) -> None:
    """Cookies, origin and its answer, chunked and large bodies: as if it had reached the owner."""
    session = foreign(server)
    connection = server.connect()
    try:
        answer = session.post(connection, "40", Origin="http://good.example")
        assert (answer.status, answer.read()) == (200, b"OK")
        assert answer.headers["Access-Control-Allow-Origin"] == "http://good.example"
        assert session.poll(connection).read().startswith(b"40{")

        bad = session.poll(connection, Origin="http://bad.example")
        assert (bad.status, bad.read()) == (400, ORIGIN_REFUSED[server.is_asyncio])

        chunked = session.post(connection, iter([b'420["ec', b'ho","chunked"]']))
        assert (chunked.status, chunked.read()) == (200, b"OK")
        assert session.poll(connection).read() == b'430["chunked"]'

        large = "y" * 3_000_000
        assert session.post(connection, f'421["echo","{large}"]').read() == b"OK"
        assert session.poll(connection).read().decode() == f'431["{large}"]'

        assert session.post(connection, '422["how"]', Cookie="late=1").read() == b"OK"
        # The environ of a session is that of its first request, here as everywhere.
        assert session.poll(connection).read() == b'432[["127.0.0.1","None","http"]]'
    finally:
        connection.close()


@pytest.mark.parametrize(
    "sid",
    [
        "AAAAAAAA0123456789012345678A",
        "-_-_-_-_0123456789012345678A",
        "{owner}",
        "{owner}0123456789012345678A",
        "{truncated}",
        "../../../../etc/passwd",
        "..%2F..%2F..%2Fetc%2Fpasswd",
        "%00%0a%ff",
        "a" * 3000,
    ],
)
@pytest.mark.parametrize("what", ["poll", "post", "upgrade"])
def test_a_session_id_that_is_none_is_answered_with_400_at_once(server: SioSite, sid: str, what: str) -> None:
    """
    Forged, truncated, over-long, with a path in it; and no worker holds a descriptor more for it. A WebSocket that
    engine.io refuses under ASGI is one that was not accepted, which is a 403 there.
    """
    real = Session(server)
    sid = sid.format(owner=real.owner, truncated=real.sid[:-5])
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers = {"Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==", **upgrade} if what == "upgrade" else {}
    connection = server.connect()
    transport = "websocket" if what == "upgrade" else "polling"
    try:
        began = time.monotonic()
        connection.request(
            "POST" if what == "post" else "GET",
            f"/socket.io/?EIO=4&transport={transport}&sid={sid}",
            body="40" if what == "post" else None,
            headers=headers,
        )
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()

    assert answer.status == (403 if what == "upgrade" and server.is_asyncio else 400)
    assert time.monotonic() - began < 2


def test_a_handshake_that_is_none_is_refused(server: SioSite) -> None:
    """Anybody can send it, and nobody shall fill the log with tracebacks by it."""
    before = server.server.output().count("Traceback")
    with closing(server.connect()) as connection:
        headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
        connection.request("GET", "/socket.io/?EIO=4&transport=websocket", headers=headers)
        assert connection.getresponse().status in (400, 426)  # the latter by the asgi worker

    assert server.server.output().count("Traceback") == before


def test_forged_ids_leave_no_descriptors_behind(server: SioSite) -> None:
    """Hundreds of them, on polls and upgrades."""

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.pids())

    def leave_none() -> bool:
        before = descriptors()
        with closing(server.connect()) as connection:
            for number in range(300):
                path = f"/socket.io/?EIO=4&transport=polling&sid=AAAA{number:04}0123456789012345678A"
                connection.request("GET", path)
                assert connection.getresponse().read() != b""
        assert descriptors() <= before + 8
        return True

    # Workers that have just started open some of their own meanwhile, once; what leaks does so each time.
    eventually(leave_none, 30, what="300 ids that leave no descriptors")


def test_thousands_of_emits_of_a_run_arrive_in_order_and_none_is_lost(server: SioSite, many: Clients) -> None:
    """
    A service's run emits as fast as it can, and a view 30 MB in one go, far more than may wait for a worker that does
    not read; every client of every worker has all of it in order.
    """
    many.open(12)
    # gunicorn's and uvicorn's WebSockets are written in Python, and engine.io's loop is slower than its threads.
    count = 2_000 if server.is_asyncio else 10_000

    (server.folder / "draft").write_text(str(count))
    (server.folder / "draft").rename(server.folder / "stream")

    many.received("stream", count, 60)
    if not server.is_asyncio:
        server.get("/emit", event="burst", count=3000, size=10_000)
        many.received("burst", 3000, 60)
    assert server.status()["socketio"]["dropped"] == 0


def test_a_worker_without_clients_gets_its_acknowledgements(server: SioSite, many: Clients) -> None:
    """``call()`` from each worker to each client, also where no client has ever been."""
    many.open(2)
    sids = [one["sid"] for one in many.states()]

    for pid in server.pids():
        for sid in sids:
            assert server.get("/call", of=pid, sid=sid)[1].strip() == f'{{"from":"{sid}"}}'


def test_rooms_and_disconnects_cross_workers(server: SioSite, many: Clients) -> None:
    """
    A client joins by itself or is put into a room by any worker; an emit to the room, or to one client, reaches those
    only; any worker may disconnect a client.
    """
    many.open(6)
    sids = [one["sid"] for one in many.states()]
    many.do("ask", event="join", args=["mine"], only=[0, 1])
    for pid, sid in zip(server.pids(), sids[2:], strict=True):
        server.get("/enter", of=pid, sid=sid, room="theirs")

    eventually(lambda: deliver(server, many, "theirs") == sids[2:], 10)
    assert deliver(server, many, "mine") == sids[:2]
    assert deliver(server, many, sids[3]) == [sids[3]]
    for pid, sid in zip(server.pids(), sids, strict=False):
        server.get("/kick", of=pid, sid=sid)
    eventually(lambda: [one["drops"] for one in many.states()] == [["io server disconnect"]] * 4 + [[]] * 2, 10)


def deliver(server: SioSite, many: Clients, room: str) -> list[str]:
    """Who gets an emit to ``room``: those who have it when everybody has a later one."""
    many.do("forget")
    pid, _ = server.get("/emit", event="for some", room=room)
    server.get("/emit", of=pid, event="for all")
    many.received("for all", 1)
    return [one["sid"] for one in many.states() if "for some" in one["events"]]


def test_a_process_outside_emits_to_all_clients(server: SioSite, many: Clients) -> None:
    """A script needs the app's folder and no thread; its emits come in order, and it may disconnect a client."""
    many.open(8)
    emitter = Emitter(Path(server.status()["folder"]))
    try:
        for number in range(100):
            emitter.emit("outside", {"n": number})
        many.received("outside", 100)
        emitter.disconnect(many.states()[0]["sid"])
        eventually(lambda: [bool(one["drops"]) for one in many.states()] == [True] + [False] * 7, 10)
        assert emitter.dropped == 0
    finally:
        emitter.close()
