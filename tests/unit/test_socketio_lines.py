"""Lines to the counters of others, on real sockets: who does not answer costs the same, however many they are."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onduty.socketio import unix, wire
from onduty.socketio.lines import Line, Lines
from onduty.socketio.peers import COUNTER

FROZEN = ["frozen-1", "frozen-2", "frozen-3"]
ALIVE = "alive-11"


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    """To three counters where nobody takes what is brought, and one that says "fine" to everything."""
    listeners = {name: unix.listen(tmp_path, COUNTER + name) for name in (*FROZEN, ALIVE)}
    attendant = threading.Thread(target=attend, args=(listeners[ALIVE],))
    attendant.start()
    found = Lines(tmp_path)
    yield found
    found.pool.close()
    unix.connect(tmp_path, COUNTER + ALIVE, 1).close()
    attendant.join()
    for listener in listeners.values():
        unix.drop(listener)


def attend(listener: socket.socket) -> None:
    """Until somebody comes who asks for nothing."""
    while True:
        connection, _ = listener.accept()
        line = Line(connection)
        asked = 0
        try:
            while True:
                line.receive()
                line.receive()
                asked += 1
                connection.sendall(wire.response("200 OK", [], b"fine"))
        except unix.Gone:
            connection.close()
        if not asked:
            return


def test_all_are_asked_before_anyone_is_waited_for(lines: Lines) -> None:
    """Three that are frozen take the time of one, and the fourth is heard although its turn comes last."""
    began = time.monotonic()

    answers = lines.ask_all([*FROZEN, ALIVE], wire.request("ask", {}), 0.5)

    assert answers == {ALIVE: b"fine"}
    assert 0.5 <= time.monotonic() - began < 1.0


def test_who_is_known_to_be_frozen_is_given_less(lines: Lines) -> None:
    lines.ask_all(FROZEN, wire.request("ask", {}), 0.5)
    began = time.monotonic()

    answers = lines.ask_all([*FROZEN, ALIVE, "gone-gon"], wire.request("ask", {}), 0.5)

    assert answers == {ALIVE: b"fine"}
    assert time.monotonic() - began < 0.4


def test_a_line_serves_again(lines: Lines) -> None:
    """So that asking every second costs no connections."""
    lines.ask_all([ALIVE], wire.request("ask", {}), 0.5)
    line = lines.pool.take(ALIVE)
    assert line is not None
    lines.pool.keep(ALIVE, line)

    assert lines.ask_all([ALIVE], wire.request("ask", {}), 0.5) == {ALIVE: b"fine"}
    assert lines.pool.take(ALIVE) is line
    line.close()
