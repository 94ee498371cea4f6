"""The asyncio twin: ``socketio.AsyncServer`` on gunicorn's ``asgi`` worker, on ``uvicorn_worker`` and on uvicorn.

The promises are those of ``onduty.socketio``. What differs is how a session is brought to its owner: ASGI knows no
descriptor that could be handed over, so polls and WebSockets alike are *relayed*, as events, over a Unix stream to the
owner and back. A relayed client therefore notices the end of the worker it came in by, and comes back.

Everything here runs on the server's loop, which never waits for another worker; the mesh keeps its own thread, and so
takes in what others emit also while a handler has the loop for itself.
"""
