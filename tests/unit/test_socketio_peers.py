"""Whom a worker meets, whom a message concerns, and what becomes of it when a peer does not read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onduty.socketio.peers import COUNTER, Outbox, addressee, to_meet, tokens

OWN, OTHER, THIRD = "ownownow", "otheroth", "thirdthi"
SID = OTHER + "0123456789012345678A"


def test_the_folder_tells_who_is_there() -> None:
    """By well-formed names of one kind; drafts, other files and strange names are none of them."""
    names = [f"bus.{OTHER}", f"counter.{THIRD}", f".bus.{THIRD}", "bus.", "bus.../../etc", "bus.a", "hub.sock"]

    assert tokens(names) == {OTHER}
    assert tokens(names, COUNTER) == {THIRD}


def test_one_meets_those_who_are_there_and_not_known_yet() -> None:
    names = [f"bus.{one}" for one in (OWN, OTHER, THIRD)]

    assert to_meet(names, OWN, {THIRD: None}) == {OTHER}


@pytest.mark.parametrize(
    ("message", "to"),
    [
        ({"method": "emit", "room": None}, None),
        ({"method": "emit", "room": "lobby"}, None),
        ({"method": "emit", "room": ["lobby", SID]}, None),
        ({"method": "emit", "room": SID}, OTHER),
        ({"method": "emit", "room": OWN + "0123456789012345678A"}, OWN),
        ({"method": "emit", "room": "deadbeef0123456789012345678A"}, None),
        ({"method": "disconnect", "sid": SID}, OTHER),
        ({"method": "enter_room", "sid": SID, "room": "lobby"}, OTHER),
        ({"method": "leave_room", "sid": SID, "room": "lobby"}, OTHER),
        ({"method": "close_room", "room": "lobby"}, None),
        ({"method": "callback", "host_id": THIRD, "sid": SID}, THIRD),
        ({"method": "callback", "host_id": "gone-for-good", "sid": SID}, None),
    ],
)
def test_what_concerns_one_client_goes_to_its_worker_and_all_else_to_everyone(message: Any, to: str | None) -> None:
    """A token nobody alive has names nobody: it may be a room that happens to look like this."""
    assert addressee(message, OWN, {OTHER, THIRD}) == to


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=30), st.integers(1, 40), st.data())
def test_what_was_accepted_goes_out_whole_and_in_order(frames: list[bytes], size: int, data: st.DataObject) -> None:
    """However little the socket takes at a time; and ``waiting`` is what has not gone out."""
    box, out, accepted = Outbox(100, 200), b"", b""

    for frame in frames:
        if box.add(frame, stalled=data.draw(st.booleans())):
            accepted += frame
        if data.draw(st.booleans()) and box.waiting:
            piece = bytes(box.next(size))
            count = data.draw(st.integers(0, len(piece)))
            out += piece[:count]
            box.sent(count)
        assert box.waiting == len(accepted) - len(out)
    while box.waiting:
        piece = bytes(box.next(size))
        out += piece
        box.sent(len(piece))

    assert out == accepted


def test_what_finds_no_place_is_dropped_whole_and_counted() -> None:
    """A stream cut within a frame would lose everything after it."""
    box = Outbox(10, 100)

    accepted = [box.add(frame, stalled=True) for frame in (b"12345", b"1234", b"12345", b"1", b"12345")]

    assert accepted == [True, True, True, False, False]
    assert box.dropped == 2
    assert bytes(box.next(100)) == b"12345123412345"


def test_a_message_longer_than_the_limit_passes() -> None:
    """The bound is on what piles up, not on how much one may say."""
    box = Outbox(10, 100)

    assert box.add(b"x" * 9, stalled=True)
    assert box.add(b"y" * 50, stalled=True)
    assert not box.add(b"z", stalled=True)


def test_a_peer_that_reads_slowly_loses_nothing_that_one_that_reads_nothing_would() -> None:
    """A burst is bounded too, only further out."""
    box = Outbox(10, 100)

    assert box.add(b"x" * 50, stalled=False)
    assert box.add(b"x" * 50, stalled=False)
    assert not box.add(b"x", stalled=False)
    assert box.dropped == 1
