"""Engine.io's sessions get queues that do all they use of ``queue.Queue``."""

from __future__ import annotations

import threading
from queue import Empty, Queue
from types import SimpleNamespace
from typing import Any

import engineio
import pytest
from engineio.packet import CLOSE

from onduty.socketio.session_queue import SessionQueue, quicken
from support.waiting import eventually


@pytest.fixture
def eio() -> Any:
    server = engineio.Server(async_mode="threading")
    quicken(server)
    return server


def test_what_is_put_comes_out_in_order_and_then_it_is_empty(eio: Any) -> None:
    queue = eio.create_queue()
    for number in range(3):
        queue.put(number)

    assert [queue.get(timeout=1), queue.get(block=False), queue.get()] == [0, 1, 2]
    assert isinstance(queue, SessionQueue)
    with pytest.raises(eio.get_queue_empty_exception()):
        queue.get(block=False)
    with pytest.raises(Empty):
        queue.get(timeout=0.01)


def test_whoever_joins_goes_on_when_the_last_one_was_taken(eio: Any) -> None:
    queue = eio.create_queue()
    queue.put("a")
    queue.put("b")
    joined = [threading.Thread(target=queue.join, daemon=True) for _ in range(2)]
    for one in joined:
        one.start()
    eventually(lambda: len(queue._joined) == 2, what="both wait")

    queue.get()
    queue.task_done()
    assert not any(one.is_set() for one in queue._joined)

    queue.get()
    queue.task_done()
    for one in joined:
        one.join(10)
    assert not any(one.is_alive() for one in joined)
    queue.join()  # nothing is in it


def test_a_join_beside_a_taker_never_waits_for_ever(eio: Any) -> None:
    """The last message is taken while somebody begins to wait for that."""
    for _ in range(300):
        queue = eio.create_queue()
        queue.put("last")
        joined = threading.Thread(target=queue.join, daemon=True)
        joined.start()
        queue.get()
        queue.task_done()
        joined.join(10)
        assert not joined.is_alive()


def test_a_server_ends_a_session_when_its_client_has_taken_the_end(eio: Any) -> None:
    """``disconnect`` waits in ``join``, engine.io's own call of it."""
    answer = eio.handle_request({"REQUEST_METHOD": "GET", "QUERY_STRING": "EIO=4&transport=polling"}, lambda *_: None)
    (sid,) = eio.sockets
    assert sid in str(answer)
    ending = threading.Thread(target=eio.disconnect, args=(sid,), daemon=True)
    session = eio.sockets[sid]
    ending.start()

    eventually(session.queue.qsize, what="the end is in the queue")
    assert [packet.packet_type for packet in session.poll()] == [CLOSE]
    assert session.poll() == []

    ending.join(10)
    assert not ending.is_alive()


def test_what_an_app_wants_limited_is_limited(eio: Any) -> None:
    assert eio.create_queue(1).maxsize == eio.create_queue(maxsize=1).maxsize == 1


def test_in_a_gevent_loop_engine_io_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app may ask for threads in a worker where they are greenlets."""
    monkeypatch.setattr("onduty.socketio.session_queue.is_patched", lambda: True)
    server = engineio.Server(async_mode="threading")

    quicken(server)

    assert type(server.create_queue()) is Queue


@pytest.mark.parametrize("parts", [{}, {"queue": list}], ids=["made otherwise", "another queue"])
def test_another_engine_io_is_left_alone(parts: dict[str, Any]) -> None:
    other = SimpleNamespace(_async=parts)

    quicken(other)

    assert other._async == parts
    assert parts.get("queue") is not Queue
