"""Every client of every worker: Socket.IO on ``gunicorn -w N`` without a sticky balancer and without a message queue.

Two promises, kept among the processes that share a folder:

* **A session is served by its owner**, the worker that created it, whichever worker its next request reaches. The
  session id begins with a token of its owner (``ids``); polls are forwarded, WebSockets handed over (``routing``), or
  both relayed between asyncio workers (``asgi``).
* **An emit reaches every client of every worker**, in the order of its emitter, at most once (``bus``).

Not promised: that an emit reaches a client which is just reconnecting, because its worker died or left; and that a
worker which does not read for long (frozen, overloaded) gets everything: what its outboxes do not hold is dropped for
that worker, counted, logged and shown in ``status()``. An emitter is never held up.

``ids``, ``wire``, ``peers`` and ``checks`` hold the decisions and the formats and do no I/O.
"""
