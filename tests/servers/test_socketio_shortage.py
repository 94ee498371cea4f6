"""Socket.IO on workers that lack, for a while, descriptors, room on the disk, or the folder of their sockets."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onduty.socketio import unix
from onduty.socketio.bus import Emitter
from support.sio_site import Session, SioSite, clients, site
from support.waiting import eventually

KINDS = ["gthread", "gevent", "asgi", "uvicorn_worker.UvicornWorker"]
NO_ROOM = """
import errno, os
from onduty.socketio import unix

listen = unix.listen

def listen_if_there_is_room(folder, name):
    if not os.path.exists({room!r}):
        raise OSError(errno.ENOSPC, "No space left on device")
    return listen(folder, name)

def post_fork(server, worker):
    unix.listen = listen_if_there_is_room
"""


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SioSite]:
    with site(tmp_path_factory.mktemp("sio"), request.param, workers=2) as found:
        yield found


def place_of(server: SioSite) -> Path:
    (found,) = (server.folder / "duty").glob("*/socketio")
    return found


def owners(server: SioSite) -> dict[int, str]:
    """Each worker's token."""
    return {one["pid"]: one["token"] for one in server.is_whole(60)}


def is_one(server: SioSite) -> None:
    """Clients of every worker are served by any, and what any emits, and one outside, reaches all."""
    with clients(server) as many:
        # An idle worker is not always asked: one of two may take a dozen clients.
        while len(many.per_owner()) < 2:
            many.open(8)
        assert set(many.answers("echo", "x")) == {"x"}
        for number, pid in enumerate(server.pids()):
            server.get("/emit", of=pid, event=f"tick {number}")
            many.received(f"tick {number}", 1)
        emitter = Emitter(place_of(server).parent)
        emitter.emit("outside", {"n": 0})
        emitter.close()
        many.received("outside", 1)


def test_a_moment_without_descriptors_ends_neither_mesh_nor_counter(server: SioSite) -> None:
    """Not a single descriptor for four seconds in one worker, while others want to be let in; then all is as before."""
    before = owners(server)
    pid, token = next(iter(before.items()))
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        knocking = [unix.connect(place_of(server), f"{kind}.{token}", 5.0) for kind in ("bus", "counter")]
        time.sleep(4)  # a look at the folder falls into it, which can't be seen from outside
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    for one in knocking:
        unix.drop(one)

    assert owners(server) == before
    is_one(server)


def test_requests_that_need_a_line_wait_for_a_descriptor(server: SioSite) -> None:
    """Of three sessions of the other worker at once, by one that has none left; they are served when there is one."""
    pids = {token: pid for pid, token in owners(server).items()}
    sessions = [Session(server)]
    while len(sessions) < 3:
        sessions += [one for one in [Session(server)] if one.owner == sessions[0].owner]
    short = next(pid for token, pid in pids.items() if token != sessions[0].owner)
    connections = [server.connect(to=short) for _ in sessions]
    soft, hard = resource.prlimit(short, resource.RLIMIT_NOFILE)
    resource.prlimit(short, resource.RLIMIT_NOFILE, (3, hard))
    try:
        for session, connection in zip(sessions, connections, strict=True):
            connection.request("GET", f"/socket.io/?EIO=4&transport=polling&sid={session.sid}")
        time.sleep(1)  # for as long as none is free
    finally:
        resource.prlimit(short, resource.RLIMIT_NOFILE, (soft, hard))

    for session in sessions:
        over = server.connect(to=pids[session.owner])
        assert session.post(over, "40").status == 200
        over.close()
    for connection in connections:
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:2]) == (200, b"40")
        connection.close()


def test_a_deleted_folder_comes_back_with_all_that_was_in_it(server: SioSite) -> None:
    """Under the same names within seconds, and ``status()`` answers meanwhile."""
    tokens = owners(server)
    before, place = server.sockets(), place_of(server)
    shutil.rmtree(place)

    for pid in tokens:
        assert server.status(of=pid)["socketio"]["workers"]
    eventually(lambda: sorted(unix.names(place)) == before, 30, what="all sockets are back")
    assert owners(server) == tokens
    is_one(server)


@pytest.mark.parametrize("kind", ["gthread", "asgi"])
def test_workers_that_start_on_a_full_disk_serve_and_find_each_other_when_there_is_room(
    tmp_path: Path, kind: str
) -> None:
    """Each says once what is in its way."""
    room = tmp_path / "room"
    (tmp_path / "conf.py").write_text(NO_ROOM.format(room=str(room)))
    found = SioSite(tmp_path, kind, "-c", str(tmp_path / "conf.py"), workers=2)
    with found.server as running:
        found.is_up()
        assert len(found.status()["socketio"]["workers"]) == 1
        assert unix.names(place_of(found)) == []

        room.touch()
        found.is_whole()
        assert running.output().count("No space left on device") == 2
        is_one(found)
