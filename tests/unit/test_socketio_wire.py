"""What workers say to each other survives every way of being cut, and nonsense is recognised as such."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onduty.socketio import wire
from onduty.socketio.wire import NotOurs, Splitter


@given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.integers(1, 40), max_size=60))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    """A stream has no borders but those we draw."""
    stream = b"".join(wire.frame(payload) for payload in payloads)
    splitter, found = Splitter(), []

    for cut in [*cuts, len(stream)]:
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]

    assert found == payloads


def test_a_length_nobody_would_send_ends_the_stream() -> None:
    """Before anything of that size is waited for."""
    with pytest.raises(NotOurs):
        Splitter().feed(struct.pack(">I", wire.LONGEST + 1))


def test_a_request_takes_the_strings_along_and_nothing_else() -> None:
    """All that the client said, in any letters; no stream, no socket, no object of the server's."""
    strings = {"PATH_INFO": "/\xe4\u2713\udce4", "HTTP_COOKIE": 'a="b"', "HTTP_ORIGIN": ""}
    environ = {**strings, "wsgi.input": object(), "wsgi.version": (1, 0)}
    splitter = Splitter()

    head, body = splitter.feed(wire.request("poll", environ, b"\x00body"))

    assert wire.read_request(head) == ("poll", strings)
    assert body == b"\x00body"


def test_a_nul_in_a_request_says_nothing_else_than_the_client_said() -> None:
    """A path may have one, decoded from ``%00``: nobody adds a cookie to somebody's request by it."""
    environ = {"PATH_INFO": "/socket.io/\0HTTP_COOKIE\0stolen=1", "HTTP_ORIGIN": "http://good.example"}

    head, _ = Splitter().feed(wire.request("poll", environ))

    assert wire.read_request(head) == ("poll", {"HTTP_ORIGIN": "http://good.example"})


def test_a_nul_in_a_response_is_an_error_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="NUL"):
        wire.response("200 OK", [("Set-Cookie", "a=1\0Set-Cookie")], b"")


def test_a_response_comes_back_whole() -> None:
    """Repeated headers stay repeated, in order."""
    headers = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

    head, body = Splitter().feed(wire.response("200 OK", headers, b""))

    assert wire.read_response(head) == ("200 OK", headers)
    assert body == b""


@pytest.mark.parametrize("token", ["abcdefgh", None])
def test_a_hello_says_who_it_is(token: str | None) -> None:
    """Or that it is nobody who could be answered."""
    (payload,) = Splitter().feed(wire.hello(token))

    assert wire.read_hello(payload) == token


DEEP = b"[" * 50_000
"""Python's parser gives up on it with an error of its own, and a mesh that ended for it would stay ended."""


@pytest.mark.parametrize("payload", [b"", b"\x80\x04pickle", b"[]", b"1", b'{"from": 1}', DEEP])
def test_nonsense_is_not_a_hello(payload: bytes) -> None:
    with pytest.raises(NotOurs):
        wire.read_hello(payload)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"poll\0name", b"dig", b"poll\0\xff\0", DEEP])
def test_nonsense_is_not_a_request(payload: bytes) -> None:
    with pytest.raises(NotOurs):
        wire.read_request(payload)


@pytest.mark.parametrize("payload", [b"", b"{}", b'["200 OK"]', b"200 OK\0name", b"200\xff", DEEP])
def test_nonsense_is_not_a_response(payload: bytes) -> None:
    with pytest.raises(NotOurs):
        wire.read_response(payload)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.request", "body": bytes(range(256)), "more_body": True},
        {"type": "http.request"},
        {"type": "http.response.start", "status": 200, "headers": [[b"set-cookie", b"a=\xe4"], [b"set-cookie", b""]]},
        {"type": "http.response.body", "body": b""},
        {"type": "websocket.accept", "subprotocol": "one", "headers": []},
        {"type": "websocket.receive", "text": "\u00e4\u2713\x00"},
        {"type": "websocket.send", "bytes": b"\x00\xff"},
        {"type": "websocket.close", "code": 1012, "reason": "\u00e4"},
        {"type": "websocket.disconnect", "code": 1006},
    ],
)
def test_an_asgi_message_comes_over_as_it_is(message: dict[str, Any]) -> None:
    """Bytes stay bytes, text text; it reads as a late event where a request was expected."""
    head, body = Splitter().feed(wire.event(message))

    assert wire.read_event(head, body) == message
    assert wire.is_late(head)
    assert not wire.is_over(head)


def test_a_message_may_say_both_of_its_bulky_parts_and_mean_one() -> None:
    """As python-engineio does: the other one is ``None``."""
    head, body = Splitter().feed(wire.event({"type": "websocket.send", "bytes": None, "text": "x"}))

    assert wire.read_event(head, body) == {"type": "websocket.send", "text": "x"}


def test_of_a_scope_goes_over_what_the_client_asked() -> None:
    """And nothing that belongs to this process: no state, no application, no extension we could not honour."""
    asked = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "path": "/socket.io/\u00e4",
        "raw_path": b"/socket.io/\xc3\xa4",
        "query_string": b"sid=1",
        "headers": [[b"cookie", b"a=\xff"], [b"cookie", b"b"]],
        "client": ("127.0.0.1", 1234),
        "server": ("unix.sock", None),
        "subprotocols": ["one"],
    }

    (_, body) = Splitter().feed(wire.request("relay", {}, wire.scope({**asked, "state": object(), "extensions": {}})))

    assert wire.read_scope(body) == asked


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"O",
        b"{}",
        b'{"event": []}',
        b'{"event": {"type": 1}}',
        b'{"event": {"type": "x"}, "bulk": "path"}',
        b'{"event": {"type": "x", "y": {"latin-1": 1}}}',
        b'{"event": {"type": "x", "y": {"latin-1": "\\u2713"}}}',
    ],
)
def test_nonsense_is_not_an_event(payload: bytes) -> None:
    with pytest.raises(NotOurs):
        wire.read_event(payload, b"")


def test_text_that_is_none_is_not_an_event() -> None:
    head, _ = Splitter().feed(wire.event({"type": "websocket.send", "text": ""}))

    with pytest.raises(NotOurs):
        wire.read_event(head, b"\xff")


def test_what_is_over_says_so() -> None:
    head, _ = Splitter().feed(wire.OVER)

    assert wire.is_over(head)
