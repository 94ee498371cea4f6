"""What is said to a client in a row is sent as one, whole and in order, whatever the client takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onduty.socketio.client import open_client
from onduty.socketio.outlet import ENOUGH, Counted, Gathered


class Client:
    """Takes ``room`` bytes at once, and any number from who waits; ``gone``: nothing any more."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.gone = False
        self.got: list[bytes] = []
        self.turns: list[Callable[[], None]] = []
        self.apart: list[Callable[[], None]] = []
        self.outlet = Gathered(self.attempt, self.send, self.turns.append, self.apart.append)

    def attempt(self, data: bytes) -> int:
        if self.gone:
            raise BrokenPipeError
        if not self.room:
            raise BlockingIOError
        self.got.append(data[: self.room])
        return len(self.got[-1])

    def send(self, data: bytes) -> None:
        if self.gone:
            raise BrokenPipeError
        self.got.append(data)

    def turn(self) -> None:
        run_all(self.turns)


def run_all(calls: list[Callable[[], None]]) -> None:
    while calls:
        calls.pop(0)()


def test_one_turn_is_two_calls() -> None:
    """The first goes out at once, and all others at its end."""
    client = Client()
    for word in (b"a", b"b", b"c"):
        client.outlet.add(word)
    assert client.got == [b"a"]

    client.turn()
    client.outlet.add(b"d")
    client.turn()
    client.turn()

    assert client.got == [b"a", b"bc", b"d"]


def test_much_does_not_wait_for_the_end() -> None:
    """So who says much is held up by a slow client, and memory is not what it is said to."""
    client = Client()
    for word in (b"a", b"b", b"c" * ENOUGH):
        client.outlet.add(word)

    assert client.got == [b"a", b"b" + b"c" * ENOUGH]
    client.turn()
    assert len(client.got) == 2


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 8), st.booleans(), st.booleans()), max_size=30))
def test_all_arrives_in_order(said: list[tuple[bytes, int, bool, bool]]) -> None:
    """However little the client takes at once, and whenever turns end or the greenlet for the rest gets to run."""
    client = Client()
    for data, room, is_turn, is_rest in said:
        client.room = room
        client.outlet.add(data)
        if is_turn:
            client.turn()
        if is_rest:
            run_all(client.apart)
    client.turn()
    run_all(client.apart)

    assert b"".join(client.got) == b"".join(data for data, *_ in said)


def test_whoever_waits_for_the_client_takes_along_what_is_said_meanwhile() -> None:
    """And no turn gets in between, which would put one message into the middle of another."""
    client = Client()
    whole = client.send

    def slowly(data: bytes) -> None:
        if not client.got:
            client.outlet.add(b"meanwhile")
            client.turn()
        whole(data)

    client.outlet._send = slowly

    client.outlet.add(b"a" * ENOUGH)

    assert client.got == [b"a" * ENOUGH, b"meanwhile"]


def test_who_says_more_to_a_client_that_is_gone_hears_so() -> None:
    client = Client()
    client.gone = True
    client.outlet.add(b"a")
    client.turn()

    with pytest.raises(BrokenPipeError):
        client.outlet.add(b"b")


def test_an_end_of_the_connection_sends_what_is_held() -> None:
    """The word "closed" itself, say."""
    client = Client()
    client.outlet.add(b"so long")
    client.outlet.add(b"bye")

    client.outlet.end()

    assert client.got == [b"so long", b"bye"]


def counted(client: Client) -> Counted:
    return Counted(client.attempt, client.send)


def test_what_was_announced_is_one_call() -> None:
    """And what comes without having been announced goes out at once."""
    client = Client()
    outlet = counted(client)
    outlet.add(b"a")
    outlet.expect(3)
    for word in (b"b", b"c"):
        outlet.add(word)
    assert client.got == [b"a"]

    outlet.add(b"d")
    outlet.add(b"e")

    assert client.got == [b"a", b"bcd", b"e"]


def test_much_that_was_announced_goes_out_before_all_of_it_is_there() -> None:
    client = Client()
    outlet = counted(client)
    outlet.expect(3)

    outlet.add(b"a" * ENOUGH)
    outlet.add(b"b")

    assert client.got == [b"a" * ENOUGH]


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 3), st.booleans()), max_size=30))
def test_no_other_thread_waits_for_what_was_announced(said: list[tuple[bytes, int, bool]]) -> None:
    """A pong, said by whoever reads: it takes along what is held, in order."""
    client = Client()
    outlet = counted(client)

    def elsewhere(data: bytes) -> None:
        thread = threading.Thread(target=outlet.add, args=(data,))
        thread.start()
        thread.join()

    for data, count, is_ours in said:
        if count:
            outlet.expect(count)
        if is_ours:
            outlet.add(data)
        else:
            elsewhere(data)
            assert b"".join(client.got).endswith(data)
    outlet.expect(0)
    outlet.add(b"end")

    assert b"".join(client.got) == b"".join(data for data, *_ in said) + b"end"


@pytest.mark.parametrize(("room", "got"), [(100, [b"a"]), (0, [])], ids=["with room", "without"])
def test_who_can_not_go_on_leaves_nothing_behind(room: int, got: list[bytes]) -> None:
    """At the end of the connection what is held goes out, if that takes no waiting."""
    client = Client(room)
    outlet = counted(client)
    outlet.expect(2)
    outlet.add(b"a")

    outlet.end()
    outlet.end()

    assert client.got == got


def test_a_client_that_has_gone_is_a_broken_pipe_to_whoever_still_speaks_to_it() -> None:
    """Simple-websocket says goodbye in a thread of the session, and knows what to do with that error only."""
    ours, theirs = socket.socketpair()
    client = open_client(ours.detach())
    client.close()

    with pytest.raises(BrokenPipeError):
        client.send(b"goodbye")
    theirs.close()
