"""A client of the heartbeat that prints what it gets; start several, each is some worker's.

pip install "python-socketio[client]" && python client.py http://127.0.0.1:8000
"""

from __future__ import annotations

import sys

import socketio

client = socketio.Client()


@client.on("background_task_response")
def heard(message: dict[str, str]) -> None:
    print(message["data"], flush=True)


if __name__ == "__main__":
    client.connect(sys.argv[1])
    client.wait()
