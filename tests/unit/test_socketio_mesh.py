"""The mesh on real sockets: nothing is left lying between an emitter and the loop, and strangers stay outside."""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onduty.socketio import unix, wire
from onduty.socketio.ends import Outgoing
from onduty.socketio.mesh import Mesh, Seat
from support.waiting import eventually

ONE, TWO = "oneoneon", "twotwotw"
Join = Callable[[str], "tuple[Mesh, queue.Queue[bytes]]"]


@pytest.fixture
def peer() -> Iterator[tuple[Outgoing, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield Outgoing(ONE, ours), theirs
    ours.close()
    theirs.close()


@pytest.fixture
def join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Join]:
    # A worker waits for the others no longer than is good for its clients; a full machine may take longer.
    monkeypatch.setattr("onduty.socketio.mesh.MEETING", 30.0)
    joined = []

    def new(token: str) -> tuple[Mesh, queue.Queue[bytes]]:
        inbox: queue.Queue[bytes] = queue.Queue()
        mesh = Mesh(Seat(tmp_path, token, lambda token, count: None, lambda text: None), inbox)
        mesh.start()
        joined.append(mesh)
        return mesh, inbox

    yield new
    for mesh in joined:
        mesh.stop()
    eventually(lambda: all(mesh._door.listener is None for mesh in joined), what="the loops have ended")


def drain(stream: socket.socket) -> int:
    count = 0
    while True:
        try:
            count += len(stream.recv(1 << 20))
        except BlockingIOError:
            return count


def test_an_emit_between_the_loops_last_write_and_its_look_is_not_left_behind(
    peer: tuple[Outgoing, socket.socket],
) -> None:
    """The loop has written all, another emit fills the socket again, and only then the loop looks: it must wait on."""
    outgoing, theirs = peer
    frame = b"x" * 3_000_000
    outgoing.send(frame)
    assert outgoing.asks_for_the_loop()
    assert outgoing.attended()

    while outgoing.outbox.waiting:
        drain(theirs)
        outgoing.push()
    outgoing.send(frame)

    assert not outgoing.asks_for_the_loop(), "the loop has not gone to sleep yet"
    assert outgoing.attended()


def test_the_loop_is_woken_once_for_many_emits(peer: tuple[Outgoing, socket.socket]) -> None:
    outgoing, theirs = peer
    for _ in range(5):
        outgoing.send(b"x" * 1_000_000)

    asked = [outgoing.asks_for_the_loop() for _ in range(5)]

    assert asked == [True, False, False, False, False]
    theirs.close()
    outgoing.push()
    assert outgoing.is_dead


def test_two_meet_whoever_comes_second_and_hear_each_other_in_order(join: Join) -> None:
    """And when ``start`` has returned, both directions stand."""
    one, heard_by_one = join(ONE)
    two, heard_by_two = join(TWO)

    for number in range(3000):
        one.publish(wire.frame(str(number).encode()), None)
        two.publish(wire.frame(str(number).encode()), ONE)

    for mesh, inbox in ((one, heard_by_one), (two, heard_by_two)):
        for number in range(3000):
            assert int(inbox.get(timeout=10)) == number
            mesh.taken()


def test_who_leaves_is_forgotten_and_who_died_is_swept(join: Join, tmp_path: Path) -> None:
    """A socket left by a dead process refuses, and is removed by whoever is refused."""
    corpse = unix.listen(tmp_path, f"bus.{TWO}")
    corpse.close()
    one, _ = join(ONE)

    assert not (tmp_path / f"bus.{TWO}").exists()
    two, _ = join(TWO)
    eventually(lambda: set(one.knows()) == {TWO})
    two.stop()
    eventually(lambda: not one.knows())


def test_nonsense_on_the_bus_is_shown_the_door_and_nobody_else_notices(join: Join, tmp_path: Path) -> None:
    one, _ = join(ONE)
    _, heard = join(TWO)
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", wire.frame(b"\x80\x04pickle"), wire.frame(b"[]")):
        stranger = unix.connect(tmp_path, f"bus.{TWO}", 5.0)
        stranger.sendall(nonsense)
        assert stranger.recv(1) == b""
        unix.drop(stranger)

    one.publish(wire.frame(b"still here"), None)

    assert heard.get(timeout=10) == b"still here"


def test_a_socket_in_a_folder_with_a_long_path_is_found(tmp_path: Path) -> None:
    """Longer than the 108 bytes a socket's address has room for."""
    folder = tmp_path / ("long" * 50)
    folder.mkdir()
    listener = unix.listen(folder, "bus.here")

    connection = unix.connect(folder, "bus.here", 5.0)

    assert os.stat(folder / "bus.here").st_mode & 0o777 == 0o600
    assert os.listdir(folder) == ["bus.here"]
    unix.drop(connection)
    unix.drop(listener)


def test_a_peer_that_is_found_dead_twice_in_one_turn_ends_no_mesh(tmp_path: Path) -> None:
    """By an emit, and by its end-of-file: a new leader, which emits at once, was cut off from the others for good."""
    listener = unix.listen(tmp_path, f"bus.{TWO}")
    mesh = Mesh(Seat(tmp_path, ONE, lambda token, count: None, lambda text: None), queue.Queue())
    mesh._stand()
    mesh._look()
    (peer,) = mesh._peers.values()
    connection, _ = listener.accept()
    os.unlink(tmp_path / f"bus.{TWO}")
    connection.recv(4096)  # its hello: unread, it would make the end an error

    mesh._ring()  # first, so that the loop hears of the emit before it comes to the end-of-file
    connection.close()
    mesh.publish(wire.frame(b"{}"), None)
    assert peer.is_dead
    mesh._turn()

    assert mesh.knows() == {}
    mesh._close()
    unix.drop(listener)
