"""What can't work is refused with its remedy, what won't work well is said, and all else passes in silence."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask_socketio
import pytest
from flask import Flask
from flask_socketio import SocketIO
from socketio import Client, Server, WSGIApp

from onduty import ConfigError, OnDuty
from onduty import events as ev
from onduty._runtime.lifecycle import lifecycle
from onduty.socketio.checks import Surroundings, forsaken, refusals, warnings
from onduty.socketio.reminder import forgotten

GOOD = Surroundings(
    server="gunicorn gthread",
    workers=4,
    http2=False,
    async_mode="threading",
    patched=False,
    gevent_websocket=False,
    python_socketio="5.14.2",
)

ASYNC = replace(GOOD, server="gunicorn asgi", async_mode="asgi", is_async=True, has_loop=True)


@pytest.mark.parametrize(
    "here",
    [
        GOOD,
        replace(GOOD, server="gunicorn gevent", async_mode="gevent", patched=True),
        replace(GOOD, server="gunicorn gevent", async_mode="threading", patched=True),
        replace(GOOD, python_socketio="5.18.1"),
        replace(GOOD, python_socketio="6.0.0rc1"),
        replace(GOOD, server="Werkzeug", workers=None),
        replace(GOOD, server="gunicorn gevent", async_mode="gevent", patched=True, workers=1, gevent_websocket=True),
        replace(GOOD, server="gevent", workers=None, async_mode="gevent"),
        ASYNC,
        replace(ASYNC, server="gunicorn UvicornWorker", http2=True),
    ],
)
def test_what_works_is_let_pass_in_silence(here: Surroundings) -> None:
    assert (refusals(here), warnings(here)) == ([], [])


@pytest.mark.parametrize(
    ("here", "remedy"),
    [
        (replace(GOOD, python_socketio="5.13.0"), 'pip install -U "python-socketio>=5.14.2"'),
        (replace(GOOD, python_socketio="5.14.1"), 'pip install -U "python-socketio>=5.14.2"'),
        (replace(GOOD, async_mode="gevent", patched=True, gevent_websocket=True), "pip uninstall gevent-websocket"),
        (replace(GOOD, async_mode="gevent"), 'async_mode="threading"'),
        (replace(GOOD, server="gunicorn gevent", patched=True, sleeps_for_all=True), "leave out --preload"),
        (replace(ASYNC, async_mode="aiohttp"), 'socketio.AsyncServer(async_mode="asgi")'),
        (replace(ASYNC, server="gunicorn gthread", has_loop=False), "gunicorn -k asgi"),
        (replace(ASYNC, server="", has_loop=False), "uvicorn_worker.UvicornWorker"),
    ],
)
def test_what_would_lose_sessions_or_emits_is_refused(here: Surroundings, remedy: str) -> None:
    """One sentence, with what to type."""
    (sentence,) = refusals(here)

    assert remedy in sentence


@pytest.mark.parametrize(
    ("here", "remedy"),
    [
        (replace(GOOD, server="gunicorn sync"), "-k gthread --threads 100"),
        (replace(GOOD, http2=True), "leave h2 out of --http-protocols"),
        (replace(GOOD, async_mode="eventlet"), 'async_mode="threading"'),
    ],
)
def test_what_works_otherwise_than_expected_is_said(here: Surroundings, remedy: str) -> None:
    assert refusals(here) == []
    (sentence,) = warnings(here)
    assert remedy in sentence


def test_a_forgotten_socketio_is_named_with_the_line_to_type() -> None:
    assert "OnDuty(app, socketio=socketio)" in str(forgotten({"socketio": SimpleNamespace(server_options={})}, 4, []))


@pytest.mark.parametrize(
    ("extensions", "workers"),
    [
        ({}, 4),
        ({"socketio": SimpleNamespace(server_options={})}, 1),
        ({"socketio": SimpleNamespace(server_options={})}, None),
        ({"socketio": SimpleNamespace(server_options={"message_queue": "redis://"})}, 4),
        ({"socketio": SimpleNamespace(server_options={"client_manager": object()})}, 4),
    ],
)
def test_nobody_is_reminded_who_needs_no_reminding(extensions: dict[str, Any], workers: int | None) -> None:
    """No Socket.IO, one worker, or a message queue of their own."""
    assert forgotten(extensions, workers, []) is None


def test_who_forgot_is_reminded_once_however_often_this_worker_goes_on_duty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the worker on duty alone, and not again at each take-over."""
    app = Flask("forgetful")
    app.extensions["socketio"] = SimpleNamespace(server_options={})
    duty = OnDuty(app, dir=tmp_path)
    heard: list[ev.Advice] = []
    duty.on(ev.Advice)(heard.append)
    monkeypatch.setattr(lifecycle, "workers", 4)

    for term in (1, 2):
        duty._events.emit(ev.TermBegan(0, "forgetful", term))

    assert ["OnDuty(app, socketio=socketio)" in advice.text for advice in heard] == [True]


def test_nobody_is_reminded_whose_socketio_another_duty_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one may have been given what is inside of it, too."""
    monkeypatch.setattr(lifecycle, "workers", 4)
    app = Flask("shared")
    socketio = SocketIO(app)
    heard: list[ev.Advice] = []
    for given in (None, socketio.server):
        duty = OnDuty(app, socketio=given, dir=tmp_path, name=f"with {given is not None}")
        duty.on(ev.Advice)(heard.append)
        if given is None:
            reminded = duty
    other = Flask("other")
    SocketIO(other)
    forgetful = OnDuty(other, dir=tmp_path)
    forgetful.on(ev.Advice)(heard.append)

    reminded._events.emit(ev.TermBegan(0, "with False", 1))
    forgetful._events.emit(ev.TermBegan(0, "other", 1))

    assert [one.app for one in heard] == ["other"]


def test_an_app_whose_socketio_went_to_another_app_is_told() -> None:
    """The last one is not, nor an app that only has its work here."""
    socketio = SocketIO()
    first, last, neither = Flask("first"), Flask("last"), Flask("neither")
    socketio.init_app(first)
    assert forsaken(first, socketio) is None

    socketio.init_app(last)

    assert "('first', of first) hear no emit" in str(forsaken(first, socketio))
    assert [forsaken(app, socketio) for app in (last, neither, lambda: None)] == [None, None, None]
    assert forsaken(first, socketio.server) is None


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (flask_socketio, r"is a module: give the object that SocketIO\(app\) has made"),
        (SocketIO, "is no flask_socketio.SocketIO"),
        ("socketio", "'socketio' is no flask_socketio.SocketIO"),
        (Client(), "socketio.client.Client object at .* is no flask_socketio.SocketIO"),
    ],
)
def test_what_is_no_socketio_is_refused_where_it_is_given(tmp_path: Path, given: object, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        OnDuty(Flask("mistaken"), socketio=given, dir=tmp_path)


@pytest.mark.parametrize("given", [SocketIO(), Server(async_mode="threading"), WSGIApp(Server(async_mode="threading"))])
def test_what_has_a_server_inside_may_be_given_as_it_is(tmp_path: Path, given: object) -> None:
    """Also a SocketIO without an app yet."""
    OnDuty(Flask("given"), socketio=given, dir=tmp_path)


def test_an_emitter_without_python_socketio_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra, and a script that only emits has perhaps never heard of it."""
    monkeypatch.setitem(sys.modules, "socketio", None)
    monkeypatch.delitem(sys.modules, "onduty.socketio.bus", raising=False)

    with pytest.raises(ImportError, match=r"pip install 'onduty\[socketio\]'"):
        importlib.import_module("onduty.socketio.bus")
