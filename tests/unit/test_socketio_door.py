"""Sockets that come back: after a moment without descriptors or room, and after their folder was deleted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import queue
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onduty._runtime.aio import Tasks
from onduty.errors import ConfigError, DirectoryRefused, StoreUnavailable
from onduty.socketio import asgi, counter, door, mesh, unix, wire
from onduty.socketio.asgi.counter import Counter as LoopCounter
from onduty.socketio.bus import Emitter
from onduty.socketio.counter import Counter
from onduty.socketio.door import Door, passes
from onduty.socketio.half import Place
from onduty.socketio.ids import Ids
from onduty.socketio.lines import Lines
from onduty.socketio.mesh import Mesh, Seat
from onduty.socketio.sockets import Morgue
from support.waiting import eventually, throughout

ONE, TWO, THREE = "oneoneon", "twotwotw", "threethr"
Join = Callable[[str], "tuple[Mesh, queue.Queue[bytes]]"]
Serve = Callable[[], str]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks every 0.1 s."""
    for module in (door, mesh):
        monkeypatch.setattr(module, "LOOK_AGAIN", 0.1)
    for module in (counter, asgi.counter):
        monkeypatch.setattr(module, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(mesh, "_PAUSE", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """In a folder of its own, as it is in an app's; both are to be made again."""
    found = tmp_path / "app" / "socketio"
    door.make_folder(found)
    return found


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def join(folder: Path, said: list[str]) -> Iterator[Join]:
    joined = []

    def new(token: str) -> tuple[Mesh, queue.Queue[bytes]]:
        inbox: queue.Queue[bytes] = queue.Queue()
        made = Mesh(Seat(folder, token, lambda token, count: None, said.append), inbox)
        joined.append(made)
        made.start()
        return made, inbox

    yield new
    for one in joined:
        one.stop()
    eventually(lambda: all(one._door.listener is None for one in joined), what="the loops have ended")


@pytest.fixture(params=["threads", "loop"])
def serve(request: pytest.FixtureRequest, folder: Path, said: list[str]) -> Iterator[Serve]:
    """Starts a counter of either kind, and says its token."""
    ends: list[Callable[[], None]] = []
    # A server's loop is there before we are.
    loop = asyncio.new_event_loop() if request.param == "loop" else None

    def start() -> str:
        ids = Ids(lambda: "x")
        place: Any = Place(
            Seat(folder, ids.token, lambda *_: None, said.append),
            None,
            ids,
            Lines(folder),
            dict,
            lambda: None,
            lambda _: None,
        )
        ends.append(_threaded(place) if loop is None else _looped(place, loop))
        return ids.token

    yield start
    for end in ends:
        end()
    if loop is not None:
        loop.close()


def _threaded(place: Place) -> Callable[[], None]:
    made = Counter(place, lambda *_: [], lambda _: None, lambda _: None)
    made.start()
    return made.stop


def _looped(place: Place, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    made: Any = LoopCounter(place, None, None)  # type: ignore[arg-type]  # nobody is served in these tests
    made.start(Tasks(loop))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def end() -> None:
        made.unlist()
        asyncio.run_coroutine_threadsafe(cancel(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    return end


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """In this process no descriptor can be opened, while the block lasts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)  # the lowest number there is
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answers(folder: Path, token: str) -> bool:
    lines = Lines(folder)
    try:
        return json.loads(lines.exchange(token, wire.request("ask", {}), 5)[1]) == {}
    except OSError:
        return False
    finally:
        lines.pool.close()


def pass_it_on(one: Mesh, inbox: queue.Queue[bytes]) -> None:
    one.publish(wire.frame(b"news"), None)
    assert inbox.get(timeout=10) == b"news"


# Without descriptors


def test_a_moment_without_descriptors_does_not_end_the_mesh(join: Join, folder: Path, said: list[str]) -> None:
    """Who came in that moment is let in when it is over, and what stood goes on."""
    one, heard_by_one = join(ONE)
    two, heard_by_two = join(TWO)
    stranger = socket.socket(socket.AF_UNIX)
    with no_descriptors():
        stranger.connect(f"{folder}/bus.{ONE}")
        eventually(lambda: one._is_deaf, what="nobody can be let in")
        pass_it_on(one, heard_by_two)
        pass_it_on(two, heard_by_one)
        throughout(lambda: one._door.listener is not None, 0.3)  # while the folder can't be looked into

    stranger.sendall(wire.hello(None) + wire.frame(b"from outside"))
    assert heard_by_one.get(timeout=10) == b"from outside"
    stranger.close()
    three, _ = join(THREE)
    pass_it_on(three, heard_by_one)
    assert said == []


def test_a_moment_without_descriptors_does_not_end_a_counter(serve: Serve, folder: Path, said: list[str]) -> None:
    """Who came in that moment is answered when it is over, and so is whoever comes later."""
    token = serve()
    assert answers(folder, token)
    early = socket.socket(socket.AF_UNIX)
    with no_descriptors():
        early.connect(f"{folder}/counter.{token}")
        time.sleep(0.3)  # some looks of the counter's, none of which can be seen from here

    early.settimeout(10)
    early.sendall(wire.request("ask", {}))
    assert early.recv(1)
    early.close()
    assert answers(folder, token)
    assert said == []


def test_a_worker_that_starts_without_descriptors_joins_when_there_are_some(
    join: Join, serve: Serve, folder: Path, said: list[str]
) -> None:
    """It starts all the same, and says once for each socket why it can't be reached."""
    one, heard_by_one = join(ONE)
    with no_descriptors():
        two, heard_by_two = join(TWO)
        two.publish(wire.frame(b"to nobody"), None)
        token = serve()
        throughout(lambda: len(said) == 2, 0.3)
        assert said[0] == said[1]
        assert "Too many open files" in said[0]

    eventually(lambda: TWO in one.knows() and ONE in two.knows(), what="they have met")
    pass_it_on(one, heard_by_two)
    pass_it_on(two, heard_by_one)
    eventually(lambda: answers(folder, token))
    assert len(said) == 2


def test_without_descriptors_nobody_is_buried_until_there_are_some() -> None:
    with no_descriptors():
        morgue = Morgue()
        assert not morgue.is_open()

    assert morgue.is_open()
    morgue.close()


# Without room


def test_a_worker_that_starts_on_a_full_disk_joins_when_there_is_room(
    join: Join, serve: Serve, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves meanwhile, and mesh and counter say the same words, so that they can be told once."""
    one, heard_by_one = join(ONE)
    shutil.rmtree(folder)
    is_full = threading.Event()
    is_full.set()
    make, listen = Path.mkdir, unix.listen

    def mkdir(path: Path, *args: Any, **named: Any) -> None:
        if is_full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        make(path, *args, **named)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    token = serve()
    two, _ = join(TWO)
    eventually(lambda: len(said) == 3, what="mesh, counter and the mesh that was there")
    assert len(set(said)) == 1
    assert "No space left on device" in said[0]
    throughout(lambda: len(said) == 3, 0.3)

    monkeypatch.setattr(unix, "listen", lambda *_: full())  # a folder takes less than a socket
    is_full.clear()
    eventually(folder.is_dir)
    throughout(lambda: not list(folder.glob("[bc]*")), 0.3)
    monkeypatch.setattr(unix, "listen", listen)

    eventually(lambda: TWO in one.knows() and ONE in two.knows(), what="they have met")
    pass_it_on(two, heard_by_one)
    assert eventually(lambda: answers(folder, token))


def full() -> socket.socket:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def test_a_mistake_of_configuration_is_raised(tmp_path: Path, said: list[str]) -> None:
    """It would not go away by waiting."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="is not a folder"):
        Door(tmp_path / "file", "bus.x", 0, said.append).open()
    assert said == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.ENOSPC, ""), True),
        (StoreUnavailable(""), True),
        (OSError(errno.EACCES, ""), False),
        (OSError(errno.EBADF, ""), False),
        (ConfigError(""), False),
        (DirectoryRefused(""), False),
    ],
    ids=repr,
)
def test_what_passes_and_what_does_not(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_a_refused_folder_passes_as_its_cause_does() -> None:
    refusal = DirectoryRefused("")
    refusal.__cause__ = OSError(errno.EDQUOT, "")
    assert passes(refusal)
    refusal.__cause__ = OSError(errno.EROFS, "")
    assert not passes(refusal)


def test_a_socket_that_could_not_be_named_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the next attempt would find the name of its draft taken."""
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", lambda *_: full())
        with pytest.raises(OSError, match="quota"):
            unix.listen(folder, "bus.x")
    assert os.listdir(folder) == []

    unix.drop(unix.listen(folder, "bus.x"))


# Without the folder


@pytest.mark.parametrize("what", ["the app's folder", "the sockets' folder", "the sockets"])
def test_deleted_sockets_come_back(join: Join, serve: Serve, folder: Path, said: list[str], what: str) -> None:
    """Under the same names, for this user only; what stood goes on, and newcomers find everybody."""
    _, heard_by_one = join(ONE)
    two, _ = join(TWO)
    token = serve()
    before = set(os.listdir(folder))
    assert before == {f"bus.{ONE}", f"bus.{TWO}", f"counter.{token}"}
    if what == "the sockets":
        for name in before:
            (folder / name).unlink()
    else:
        shutil.rmtree(folder if what == "the sockets' folder" else folder.parent)
    pass_it_on(two, heard_by_one)

    eventually(lambda: set(unix.names(folder)) == before, what="all names are back")
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
    assert answers(folder, token)
    three, _ = join(THREE)
    assert set(three.knows()) == {ONE, TWO}
    pass_it_on(three, heard_by_one)
    assert said == []


def test_who_has_left_does_not_come_back(join: Join, folder: Path) -> None:
    one, _ = join(ONE)
    one.stop()
    shutil.rmtree(folder)

    throughout(lambda: not folder.exists(), 0.5)


def test_a_worker_whose_name_was_taken_while_it_left_does_not_put_it_back(folder: Path, said: list[str]) -> None:
    """``unlist`` is called by another thread, at any moment."""
    leaving = Door(folder, "bus.x", 0, said.append)
    leaving.open()
    leaving.unlist()

    leaving.mend()

    assert leaving.listener is None
    assert os.listdir(folder) == []


# Closed by somebody else


def test_a_counter_whose_descriptors_were_closed_gives_up(
    serve: Serve, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, and touches no file that has got the number since."""
    made: list[socket.socket] = []
    listen = unix.listen

    def listen_and_tell(*args: Any) -> socket.socket:
        made.append(listen(*args))
        return made[-1]

    monkeypatch.setattr(unix, "listen", listen_and_tell)
    token = serve()
    assert answers(folder, token)
    number = made[0].fileno()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, number)
    os.close(null)

    eventually(lambda: "no more" in caplog.text)

    assert caplog.text.count("no more") == 1
    os.close(number)


# From outside


def test_an_emitter_is_not_troubled_by_a_worker_that_ends_before_its_hello(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out, as any that has ended."""
    listener = unix.listen(folder, f"bus.{ONE}")
    connect = unix.connect

    def connect_at_the_last_moment(*args: Any) -> socket.socket:
        connection = connect(*args)
        unix.drop(listener)
        return connection

    monkeypatch.setattr(unix, "connect", connect_at_the_last_moment)
    emitter = Emitter(folder.parent)

    emitter.emit("news", {})
    emitter.emit("news", {})

    assert emitter.dropped == 0
    assert os.listdir(folder) == []
    emitter.close()


def test_an_emitter_that_reaches_nobody_says_so_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the folder it looked in: perhaps it is the wrong one. Again after it has met a worker."""
    emitter = Emitter(folder.parent)
    with caplog.at_level(logging.WARNING, "onduty"):
        emitter.emit("news", {})
        emitter.emit("news", {})
        listener = unix.listen(folder, f"bus.{ONE}")
        emitter.emit("news", {})
        (record,) = caplog.records
        assert f"an emit reaches nobody: no worker has its socket in {folder}; give the duty" in record.getMessage()
        unix.drop(listener)
        (folder / f"bus.{ONE}").unlink()
        emitter.emit("news", {})
    assert len(caplog.records) == 2
    emitter.close()
