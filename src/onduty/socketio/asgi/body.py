"""What a request brings along: its events, said once more, and a body whose length is known."""

from __future__ import annotations

from onduty.socketio.asgi.counter import Message, Receive, Scope


def beginning_with(first: Message, receive: Receive) -> Receive:
    """As ``receive``, with ``first`` before everything that comes."""
    waiting = [first]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def with_known_length(scope: Scope, receive: Receive, limit: int) -> tuple[Scope, Receive]:
    """Engine.io reads as many bytes as ``Content-Length`` says, so of a chunked body none. Say how many there are.

    A body that says so itself stays as it is; engine.io refuses it by its length where that is more than ``limit``.
    """
    if scope.get("method") != "POST" or any(name.lower() == b"content-length" for name, _ in scope["headers"]):
        return scope, receive
    body, more = bytearray(), True
    while more and len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return scope, beginning_with(message, receive)
        body += message.get("body") or b""
        more = bool(message.get("more_body"))
    length = (b"content-length", str(len(body)).encode())
    whole: Message = {"type": "http.request", "body": bytes(body), "more_body": False}
    return {**scope, "headers": [*scope["headers"], length]}, beginning_with(whole, receive)
