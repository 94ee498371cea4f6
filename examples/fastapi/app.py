"""A counter pushed to every browser, from FastAPI and python-socketio's AsyncServer, on as many workers as you like.

gunicorn --bind 0.0.0.0:8000 --workers 4 --worker-class uvicorn_worker.UvicornWorker app:app
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import socketio
from fastapi import FastAPI

from onduty import Context, OnDuty

api = FastAPI()
sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
app = socketio.ASGIApp(sio, api)
duty = OnDuty(app, socketio=sio, name="counter")


@duty.service
async def counter(ctx: Context) -> None:
    """Runs on one worker, on its loop; when that one goes away, on another, and goes on counting."""
    while await ctx.asleep(float(os.environ.get("EVERY", "1"))):
        ctx.state["n"] = ctx.state.get("n", -1) + 1
        await sio.emit("count", {"n": ctx.state["n"]})  # to the clients of all workers


@sio.event
async def add(sid: str, number: int) -> int:
    """A client says a number, and everybody hears of it, whichever worker they are connected to."""
    await sio.emit("added", {"by": sid, "number": number})
    return number


@api.get("/status")
async def status() -> dict[str, Any]:
    """Who is on duty, and how many clients each worker has. It asks the others, so it does so beside the loop."""
    return await asyncio.to_thread(duty.status)
