"""What the Socket.IO benchmarks share: the app that is served, clients that cost next to nothing, the other programs.

``polls``, ``echo``, ``emits`` and ``crowd`` beside this folder are the benchmarks themselves.
"""

from __future__ import annotations

APP = "benchmarks.socketio.app:app"
