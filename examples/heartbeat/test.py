"""A heartbeat pushed over Socket.IO from a background loop, under gunicorn with two workers: one loop, every client.

gunicorn --bind 0.0.0.0:8000 --workers 2 --worker-class gevent --preload test:gunicorn_app
"""

from __future__ import annotations

import os

from flask import Flask
from flask_socketio import SocketIO

from onduty import Context, OnDuty

app = Flask(__name__)
socketio = SocketIO(app, async_mode=os.environ.get("ASYNC_MODE", "gevent"), cors_allowed_origins="*")
duty = OnDuty(app, socketio=socketio)  # an emit reaches the clients of both workers


@duty.service
def background_task(ctx: Context) -> None:
    """Runs on one worker; when that one goes away, on another."""
    ctx.log.info("the background task has started")
    while ctx.sleep(float(os.environ.get("EVERY", "5"))):
        socketio.emit("background_task_response", {"data": "Background Task Result"})


@app.get("/")
def index() -> str:
    return "the heartbeat is sent by one of the workers\n"


gunicorn_app = app

if __name__ == "__main__":
    socketio.run(app, port=8000)
