"""Lines to the counters of others, on real sockets: who does not answer costs the same, however many they are."""

from __future__ import annotations

import errno
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from onduty.socketio import unix, wire
from onduty.socketio.lines import Line, Lines
from onduty.socketio.patience import waits
from onduty.socketio.peers import COUNTER
from support.owner import OWNER, SLEEPS, STOPS, computes, owner_that, sleeps

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
        except (unix.Gone, BrokenPipeError):  # or it no longer waits
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


def test_who_is_silent_when_asked_may_be_busy_and_is_not_frozen(tmp_path: Path) -> None:
    """A question is answered in half a second or not at all; a client's request waits for as long as it always does."""
    owner = unix.listen(tmp_path, COUNTER + ALIVE)
    attendant = threading.Timer(0.8, attend, (owner,))  # seconds in which it computes
    lines = Lines(tmp_path, patience=30)
    assert lines.ask_all([ALIVE], wire.request("ask", {}), 0.1) == {}
    with pytest.raises(unix.Wedged):
        lines.exchange(ALIVE, wire.request("wake", {}), 0.1)

    attendant.start()

    assert lines.exchange(ALIVE, wire.request("poll", {}), 30)[1] == b"fine"
    lines.pool.close()
    unix.connect(tmp_path, COUNTER + ALIVE, 1).close()
    attendant.join()
    unix.drop(owner)


def test_who_answers_is_not_frozen_any_more(lines: Lines) -> None:
    lines.pool.is_frozen(ALIVE)

    lines.exchange(ALIVE, wire.request("poll", {}), 30)

    assert not lines.pool.is_suspected(ALIVE)


@pytest.mark.parametrize("does", [SLEEPS, STOPS], ids=["sleeps", "stopped"])
def test_who_does_nothing_and_does_not_read_is_frozen(
    does: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = Lines(tmp_path, patience=0.5)

    with owner_that(does, tmp_path):
        for _ in range(2):
            with pytest.raises(unix.Wedged):
                lines.exchange(OWNER, wire.request("poll", {}), 30)

    assert lines.pool.is_suspected(OWNER)
    assert [one.message.split(":")[0] for one in caplog.records] == [f"worker {OWNER} is frozen"]


def test_who_computes_is_waited_for_and_is_not_frozen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Four times as long as one that does nothing."""
    lines = Lines(tmp_path, patience=0.5)

    with owner_that(computes(2, then=wire.response("200 OK", [], b"fine")), tmp_path):
        assert lines.exchange(OWNER, wire.request("poll", {}), 30)[1] == b"fine"

    lines.pool.close()
    assert caplog.records == []


def test_who_was_found_frozen_and_computes_now_is_waited_for(tmp_path: Path) -> None:
    lines = Lines(tmp_path, patience=0.5)
    lines.pool.is_frozen(OWNER)

    with owner_that(computes(1, then=wire.response("200 OK", [], b"fine")), tmp_path):
        assert lines.exchange(OWNER, wire.request("poll", {}), 30)[1] == b"fine"

    assert not lines.pool.is_suspected(OWNER)
    lines.pool.close()


def test_who_was_found_frozen_and_is_not_seen_gets_less_until_it_answers(lines: Lines) -> None:
    lines.pool.is_frozen(ALIVE)
    less = sum(lines.pool.waits(ALIVE))

    lines.pool.is_awake(ALIVE)

    assert less < sum(lines.pool.waits(ALIVE)) == lines.pool.patience


def test_without_a_free_descriptor_nobody_is_called_frozen(tmp_path: Path) -> None:
    """What the owner does can't be seen then: in doubt it is busy, and has four times the patience here."""
    lines = Lines(tmp_path, patience=0.5)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    with owner_that(sleeps(2, then=wire.response("200 OK", [], b"fine")), tmp_path):
        lines.pool.keep(OWNER, lines.line(OWNER))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            assert lines.exchange(OWNER, wire.request("poll", {}), 30)[1] == b"fine"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    lines.pool.close()


def test_a_time_in_which_the_whole_machine_stood_still_makes_nobody_frozen() -> None:
    """Ours ends with the others' time to read: what they answer then is waited for."""

    class StoodStill:
        waits = 0

        def settimeout(self, seconds: float) -> None:
            self.seconds = seconds

        def recv(self, size: int) -> bytes:
            self.waits += 1
            if self.waits == 1:
                time.sleep(1)
                raise TimeoutError
            return b"an answer"[:size]

    line = Line(cast("socket.socket", StoodStill()))

    assert line.next(waits(0.5, unix.UNKNOWN)) == b"an answer"


def test_lines_to_the_dead_are_closed_when_one_to_the_living_is_opened(lines: Lines, tmp_path: Path) -> None:
    """Nobody may come again for their sessions, and workers are recycled for weeks."""
    dead = unix.listen(tmp_path, COUNTER + OWNER)
    idle = [lines.line(OWNER, is_new=True) for _ in range(3)]
    for line in idle:
        lines.pool.keep(OWNER, line)
    unix.drop(dead)
    (tmp_path / (COUNTER + OWNER)).unlink()

    lines.line(ALIVE).close()

    assert [line.connection.fileno() for line in idle] == [-1, -1, -1]


def test_a_line_that_answers_when_its_owner_was_forgotten_is_not_kept(lines: Lines) -> None:
    """Several wait on it when it leaves, and one of them hears first that its name has gone."""
    line = lines.line(ALIVE)
    lines.pool.forget(ALIVE)

    lines.pool.keep(ALIVE, line)

    assert line.connection.fileno() == -1


def test_a_folder_that_cannot_be_looked_into_is_not_empty(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new line may have taken the last descriptor; the others are still of use."""
    idle = lines.line(ALIVE)
    lines.pool.keep(ALIVE, idle)
    monkeypatch.setattr("os.listdir", refuse)

    lines.line(FROZEN[0]).close()

    assert lines.pool.take(ALIVE) is idle
    idle.close()


def refuse(place: Path) -> list[str]:
    raise OSError(errno.EMFILE, "Too many open files", str(place))


def test_a_line_serves_again(lines: Lines) -> None:
    """So that asking every second costs no connections."""
    lines.ask_all([ALIVE], wire.request("ask", {}), 0.5)
    line = lines.pool.take(ALIVE)
    assert line is not None
    lines.pool.keep(ALIVE, line)

    assert lines.ask_all([ALIVE], wire.request("ask", {}), 0.5) == {ALIVE: b"fine"}
    assert lines.pool.take(ALIVE) is line
    line.close()
