"""The ways in which a program serves its app by itself, by name."""

from __future__ import annotations

from flask import Flask


def serve(app: Flask, way: str, port: int) -> None:
    """Serve on loopback until told to stop."""
    if way in ("run", "debug"):
        app.run(port=port, debug=way == "debug")
    elif way.startswith("socketio"):
        from flask_socketio import SocketIO

        _, mode, *debug = way.split("-")
        socketio = SocketIO(app, async_mode=mode)
        socketio.run(app, port=port, debug=bool(debug), allow_unsafe_werkzeug=True)
    elif way == "waitress":
        import waitress

        waitress.serve(app, listen=f"127.0.0.1:{port}")
    elif way == "waitress-two-sockets":
        import waitress

        waitress.serve(app, listen=f"127.0.0.1:{port} [::1]:{port}")
    elif way == "wsgiref":
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", port, app).serve_forever()
    else:
        raise ValueError(f"no way to serve is called {way!r}")
