"""As ``sio_app``, for asyncio workers: ``socketio.AsyncServer`` in front of a plain ASGI app, with the same paths."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import socketio

from onduty import Context, OnDuty

FOLDER = Path(os.environ.get("PROBE_FOLDER", "."))
LOOPS: list[asyncio.AbstractEventLoop] = []


class OwnManager(socketio.AsyncManager):
    """A client manager of the app's own."""


sio = socketio.AsyncServer(
    async_mode=os.environ.get("ASYNC_MODE", "asgi"),
    client_manager=OwnManager() if os.environ.get("OWN_MANAGER") else None,
    cors_allowed_origins=["http://good.example"],
    max_http_buffer_size=10_000_000,
)


async def site(scope: Any, receive: Any, send: Any) -> None:
    """The paths beside Socket.IO's."""
    if scope["type"] == "lifespan":
        LOOPS.append(asyncio.get_running_loop())
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    answer = await PATHS[scope["path"]](**dict(parse_qsl(scope["query_string"].decode())))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": answer.encode()})


async def index() -> str:
    return str(os.getpid())


async def emit_some(
    event: str = "tick", count: str = "1", size: str = "0", binary: str = "", room: str | None = None
) -> str:
    filling: Any = os.urandom(int(size)) if binary else "x" * int(size)
    for number in range(int(count)):
        data = {"n": number, "filling": filling} if filling else {"n": number}
        await sio.emit(event, data, to=room)
    return "emitted"


async def call(sid: str) -> str:
    return json.dumps(await sio.call("question", {"n": 1}, to=sid, timeout=5), separators=(",", ":"))


async def enter(sid: str, room: str) -> str:
    await sio.enter_room(sid, room)
    return "entered"


async def kick(sid: str) -> str:
    await sio.disconnect(sid)
    return "kicked"


async def status() -> str:
    # It asks other workers, and each of them answers on its own loop.
    return json.dumps(await asyncio.to_thread(duty.status))


PATHS: dict[str, Any] = {
    "/": index,
    "/emit": emit_some,
    "/call": call,
    "/enter": enter,
    "/kick": kick,
    "/status": status,
}
app = socketio.ASGIApp(sio, site)
duty = OnDuty(app, socketio=app if os.environ.get("ORDER") == "late" else sio, name="site")


def wanted(event: str) -> range:
    """As many numbers as the file of that name says, once."""
    try:
        count = int((FOLDER / event).read_text())
    except (FileNotFoundError, ValueError):
        return range(0)
    (FOLDER / event).unlink()
    return range(count)


@duty.service
async def stream(ctx: Context) -> None:
    while await ctx.asleep(0.02):
        for number in wanted("stream"):
            await sio.emit("stream", {"n": number})


@duty.service
def threaded(ctx: Context) -> None:
    while ctx.sleep(0.02):
        for number in wanted("threaded"):
            asyncio.run_coroutine_threadsafe(sio.emit("threaded", {"n": number}), LOOPS[0])


@sio.event
async def echo(sid: str, data: Any) -> Any:
    return data


@sio.event
async def who(sid: str) -> int:
    return os.getpid()


@sio.event
async def join(sid: str, room: str) -> str:
    await sio.enter_room(sid, room)
    return room


@sio.event
async def how(sid: str) -> list[str]:
    """What this client's first request said."""
    environ = sio.get_environ(sid)
    return [str(environ.get(key)) for key in ("REMOTE_ADDR", "HTTP_COOKIE", "wsgi.url_scheme")]
