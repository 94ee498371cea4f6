"""One Socket.IO among several duties and apps: wired once in a process, whoever comes first, until all have stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from socketio import Server

from onduty import events as ev
from onduty._runtime.lifecycle import Lifecycle, State
from onduty.clock import SystemClock
from onduty.errors import ConfigError
from onduty.socketio import crew as rooms
from onduty.socketio.crew import SocketCrew
from onduty.socketio.wiring import Wiring
from support.waiting import eventually

PLAIN, WIRED = 20, 28
"""How long a session id is: engine.io's own, and with the token of its owner."""


class Engine:
    """What a crew needs of one; ``refuses`` to start if it is told to."""

    def __init__(self, folder: Path, *, lead: bool = True, refuses: bool = False) -> None:
        self.settings: Any = SimpleNamespace(name=folder.name, lead=lead)
        self.folder = folder
        self.events = ev.Events()
        self.more: dict[str, Callable[[], Any]] = {}
        self.heard: list[str] = []
        self.events.subscribe(ev.Advice, lambda event: self.heard.append(event.text))
        self._refuses = refuses
        folder.mkdir(mode=0o700)

    def start(self) -> None:
        if self._refuses:
            raise ConfigError("an unusable setting")

    def leave(self) -> None: ...
    def stop(self) -> None: ...

    def goes_on_duty(self) -> None:
        self.events.emit(ev.TermBegan(0, self.settings.name, 1))

    def sockets(self) -> list[str]:
        place = self.folder / "socketio"
        return sorted(os.listdir(place)) if place.exists() else []


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lifecycle]:
    monkeypatch.setattr(rooms, "_wirings", {})
    life = Lifecycle()
    life.server = "gunicorn gthread"
    yield life
    life.stop("the test is over")


@pytest.fixture
def server() -> Server:
    return Server(async_mode="threading")


def enlist(life: Lifecycle, server: Server, engine: Any) -> SocketCrew:
    crew = SocketCrew(None, engine, server, life, SystemClock(), lambda: False)
    life.enlist(crew)
    return crew


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_in_which_folder_a_server_is_wired_does_not_depend_on_the_order(
    tmp_path: Path, life: Lifecycle, server: Server, order: tuple[str, str]
) -> None:
    """Two workers with their apps in another order would be two halves that do not know each other."""
    engines = {name: Engine(tmp_path / name) for name in order}
    crews = [enlist(life, server, engine) for engine in engines.values()]

    life.ready("serving")

    assert len(server.eio.generate_id()) == WIRED
    assert [bool(engines[name].sockets()) for name in ("one", "two")] == [True, False]
    seen = [crew.snapshot()["workers"] for crew in crews]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1


def test_two_that_are_made_at_once_in_a_worker_that_serves_wire_once(
    tmp_path: Path, life: Lifecycle, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is second waits until it stands: its first run may emit."""
    begin, is_waiting, begun = Wiring.begin, threading.Event(), []

    class Wakeup:
        def wait(self, seconds: float) -> None:
            is_waiting.set()
            time.sleep(seconds)

    def slowly(wiring: Wiring) -> None:
        assert is_waiting.wait(20)
        begin(wiring)
        begun.append(wiring)

    monkeypatch.setattr(Wiring, "begin", slowly)
    life.ready("serving")
    first, second = Engine(tmp_path / "one"), Engine(tmp_path / "two")
    thread = threading.Thread(target=enlist, args=(life, server, first))
    thread.start()
    eventually(lambda: rooms._wirings)
    monkeypatch.setattr(rooms, "Wakeup", Wakeup)
    crew = enlist(life, server, second)

    assert [one.stands for one in rooms._wirings.values()] == [True]
    thread.join(20)
    assert len(begun) == 1
    assert len(server.eio.generate_id()) == WIRED
    assert len(crew.snapshot()["workers"]) == 1


def test_it_ends_when_all_work_has_ended_also_that_of_others(tmp_path: Path, life: Lifecycle, server: Server) -> None:
    """A duty that was not given the Socket.IO emits through it all the same."""
    shared = Engine(tmp_path / "shared")
    enlist(life, server, shared)
    other: Any = Engine(tmp_path / "other")
    at_its_end: list[list[str]] = []
    other.stop = lambda: at_its_end.append(shared.sockets())
    life.enlist(other)
    life.ready("serving")

    life.stop("the worker is leaving")

    assert [len(names) for names in at_its_end] == [2]
    assert shared.sockets() == []


def test_who_is_refused_late_leaves_the_others_at_work(tmp_path: Path, life: Lifecycle, server: Server) -> None:
    """The caller has the error; the worker goes on, and ends as it would have."""
    good = Engine(tmp_path / "good")
    crew = enlist(life, server, good)
    life.ready("serving")

    with pytest.raises(ConfigError):
        enlist(life, server, Engine(tmp_path / "bad", refuses=True))

    assert life.state is State.READY
    assert len(crew.snapshot()["workers"]) == 1
    later = Engine(tmp_path / "later")
    assert len(enlist(life, server, later).snapshot()["workers"]) == 1
    life.stop("the worker is leaving")
    assert good.sockets() == []


def test_what_fails_to_be_wired_may_be_tried_again(
    tmp_path: Path, life: Lifecycle, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for what did not come."""
    life.ready("serving")
    with monkeypatch.context() as patch:
        patch.setattr(Wiring, "begin", lambda wiring: os.listdir(tmp_path / "missing"))
        with pytest.raises(FileNotFoundError):
            enlist(life, server, Engine(tmp_path / "first"))
    assert len(server.eio.generate_id()) == PLAIN

    enlist(life, server, Engine(tmp_path / "second"))

    assert len(server.eio.generate_id()) == WIRED


def test_one_of_those_that_may_lead_tells_what_there_is_to_tell(
    tmp_path: Path, life: Lifecycle, server: Server
) -> None:
    """Once, and not by one that never goes on duty, nor by each."""
    life.server, life.workers = "gunicorn sync", 4
    aside, teller, other = Engine(tmp_path / "a", lead=False), Engine(tmp_path / "b"), Engine(tmp_path / "c")
    for engine in (other, aside, teller):
        enlist(life, server, engine)
    life.ready("serving")

    for _ in range(2):
        for engine in (aside, other, teller):
            engine.goes_on_duty()

    assert aside.heard == other.heard == []
    (text,) = teller.heard
    assert "sync worker answers one request at a time" in text
