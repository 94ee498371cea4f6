"""``once_app`` with ``async def`` work that tells on which loop it runs; ``asgi`` for ASGI workers, ``app`` for WSGI.

Facts: ``heard`` by the service ``listen``, ``fetched`` by the task ``fetch``, ``request`` by whoever asks for
``/loop``, and ``last line`` when ``listen`` has put its things in order.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from asgiref.wsgi import WsgiToAsgi
from flask import current_app

from onduty import Context
from support.once_app import EVERY, app, duty, tell

LAST_WORDS = float(os.environ.get("LAST_WORDS", "0"))
"""Seconds that ``listen`` needs when it is told to end."""


def where() -> dict[str, Any]:
    return {
        "loop": id(asyncio.get_running_loop()),
        "thread": threading.get_ident(),
        "thread_name": threading.current_thread().name,
    }


@duty.service
async def listen(ctx: Context) -> None:
    while await ctx.asleep(0.05):
        tell("heard", term=ctx.term, app=current_app.name, **where())
    await asyncio.sleep(LAST_WORDS)
    tell("last line", term=ctx.term, run=ctx.run_id)


@duty.every(seconds=EVERY)
async def fetch(ctx: Context) -> None:
    await asyncio.sleep(0)
    tell("fetched", term=ctx.term, app=current_app.name, **where())


@app.get("/loop")
def loop_of_its_own() -> str:
    """As a WSGI app does that calls async code."""

    async def look() -> None:
        await asyncio.sleep(0)
        tell("request", **where())

    asyncio.run(look())
    return str(os.getpid())


_by_way_of_wsgi = WsgiToAsgi(app)  # knows no lifespan and says so, as many apps do


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/loop":
        tell("request", **where())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    else:
        await _by_way_of_wsgi(scope, receive, send)
