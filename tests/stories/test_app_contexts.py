"""Each run has an app context of its own, and in a service each turn has: nothing of a request's kind is held asleep.

Real Flask apps and the engine they were given, its own election and threads; no server, a journal in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g

from onduty import Context, OnDuty, RunFailed
from support.waiting import eventually

AWHILE, LONG = 0.01, 60


@pytest.fixture
def duty() -> OnDuty:
    return OnDuty(journal="memory")


@contextmanager
def on_duty(duty: OnDuty, *apps: Flask) -> Iterator[None]:
    """The apps' engines at work, as in a worker that has just begun to serve; stopped when left."""
    with ExitStack() as stopped:
        for app in apps:
            duty.init_app(app, dir=Path(app.instance_path))
            (engine,) = app.extensions["onduty"].values()
            stopped.callback(engine.stop)
            engine.start()
        yield


def app_named(name: str, folder: Path) -> Flask:
    return Flask(name, instance_path=str(folder / name))


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return app_named("shop", tmp_path)


def told_by_teardown(app: Flask) -> list[Any]:
    """What the app's teardown functions were handed, once per context that was left."""
    told: list[Any] = []
    app.teardown_appcontext(told.append)
    return told


def marks() -> int:
    """How often this was asked within one ``g``."""
    g.marks = g.get("marks", 0) + 1
    return int(g.marks)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_each_run_of_a_task_has_a_fresh_app_context(duty: OnDuty, app: Flask, kind: str) -> None:
    """``current_app`` is the app, ``g`` is empty, and teardown functions run at its end: also of pooled threads."""
    torn_down = told_by_teardown(app)
    seen: list[tuple[str, int, int]] = []

    def look() -> None:
        seen.append((current_app.name, marks(), marks()))

    if kind == "def":
        duty.every(seconds=AWHILE, name="task")(look)
    else:

        @duty.every(seconds=AWHILE, name="task")
        async def alook() -> None:
            await asyncio.sleep(0)
            look()

    with on_duty(duty, app):
        eventually(lambda: len(seen) > 9)

    assert set(seen) == {("shop", 1, 2)}
    assert torn_down == [None] * len(seen)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_teardown_is_told_what_a_run_raised(duty: OnDuty, app: Flask, kind: str) -> None:
    """As after a failed request: a session is rolled back, not committed."""
    torn_down = told_by_teardown(app)
    error = ValueError("the import failed")

    if kind == "def":

        @duty.every(hours=1)
        def task() -> None:
            raise error

    else:

        @duty.every(hours=1)
        async def atask() -> None:
            raise error

    with on_duty(duty, app):
        eventually(lambda: torn_down)

    assert torn_down == [error]


def as_service(duty: OnDuty, kind: str, seen: list[Any], seconds: float) -> None:
    """A service that looks at its context before, between and after its sleeps."""

    def look() -> None:
        seen.append((current_app.name, marks(), marks()))

    if kind == "def":

        @duty.service
        def service(ctx: Context) -> None:
            look()
            while ctx.sleep(seconds):
                look()
            look()

    else:

        @duty.service
        async def aservice(ctx: Context) -> None:
            look()
            while await ctx.asleep(seconds):
                look()
            look()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_each_turn_of_a_service_has_a_fresh_app_context(duty: OnDuty, app: Flask, kind: str) -> None:
    """``g`` is new after each sleep, the last one too, and each turn's teardown functions have run."""
    torn_down = told_by_teardown(app)
    seen: list[Any] = []
    as_service(duty, kind, seen, AWHILE)

    with on_duty(duty, app):
        eventually(lambda: len(seen) > 9)

    assert set(seen) == {("shop", 1, 2)}
    assert torn_down == [None] * len(seen)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_service_that_sleeps_holds_no_app_context(duty: OnDuty, app: Flask, kind: str) -> None:
    """Its turn is torn down when the sleep begins, not when it ends; told to stop, it has one for its last words."""
    torn_down = told_by_teardown(app)
    seen: list[Any] = []
    as_service(duty, kind, seen, LONG)

    with on_duty(duty, app):
        eventually(lambda: torn_down, what="teardown in mid-sleep")
        assert len(seen) == 1

    assert len(seen) == len(torn_down) == 2


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_task_keeps_its_app_context_while_it_sleeps(duty: OnDuty, app: Flask, kind: str) -> None:
    """A task is one piece of work, however long: what it began in ``g`` is there after the sleep."""
    torn_down = told_by_teardown(app)
    seen: list[int] = []

    if kind == "def":

        @duty.every(hours=1)
        def task(ctx: Context) -> None:
            seen.append(marks())
            ctx.sleep(AWHILE)
            seen.append(marks())

    else:

        @duty.every(hours=1)
        async def atask(ctx: Context) -> None:
            seen.append(marks())
            await ctx.asleep(AWHILE)
            seen.append(marks())

    with on_duty(duty, app):
        eventually(lambda: torn_down)

    assert seen == [1, 2]
    assert torn_down == [None]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_two_apps_on_one_duty_each_get_their_own_context(duty: OnDuty, tmp_path: Path, kind: str) -> None:
    """A module-level ``duty`` and an app factory: the same service runs once for each app, within that app."""
    apps = [app_named("shop", tmp_path), app_named("desk", tmp_path)]
    torn_down = {app.name: told_by_teardown(app) for app in apps}
    seen: list[tuple[str, int, int]] = []
    as_service(duty, kind, seen, AWHILE)

    with on_duty(duty, *apps):
        eventually(lambda: all(len(told) > 4 for told in torn_down.values()))

    names = [name for name, *_ in seen]
    assert set(seen) == {("shop", 1, 2), ("desk", 1, 2)}
    assert {name: len(told) for name, told in torn_down.items()} == {name: names.count(name) for name in torn_down}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_context_that_the_function_opened_itself_is_left_alone(duty: OnDuty, app: Flask, kind: str) -> None:
    """It sleeps inside, as it wished, and its ``g`` is kept; outside again, the next sleep begins a new turn."""
    torn_down = told_by_teardown(app)
    seen: list[tuple[str, int]] = []

    if kind == "def":

        @duty.service
        def service(ctx: Context) -> None:
            seen.append(("ours", marks()))
            with app.app_context():
                seen.append(("its own", marks()))
                ctx.sleep(AWHILE)
                seen.append(("its own", marks()))
            seen.append(("ours", marks()))
            ctx.sleep(AWHILE)
            seen.append(("ours", marks()))

    else:

        @duty.service
        async def aservice(ctx: Context) -> None:
            seen.append(("ours", marks()))
            with app.app_context():
                seen.append(("its own", marks()))
                await ctx.asleep(AWHILE)
                seen.append(("its own", marks()))
            seen.append(("ours", marks()))
            await ctx.asleep(AWHILE)
            seen.append(("ours", marks()))

    with on_duty(duty, app):
        eventually(lambda: len(torn_down) == 3)

    assert seen == [("ours", 1), ("its own", 1), ("its own", 2), ("ours", 2), ("ours", 1)]


def test_async_services_on_one_loop_do_not_share_their_contexts(duty: OnDuty, app: Flask) -> None:
    """They take turns in one thread, each within its own ``g``."""
    seen: list[tuple[str, str]] = []
    failed: list[RunFailed] = []
    duty.on(RunFailed)(failed.append)

    async def service(ctx: Context, name: str) -> None:
        while True:
            g.name = name
            await asyncio.sleep(0)  # the other one's turn
            seen.append((name, g.name))
            if not await ctx.asleep(0):
                return

    @duty.service
    async def one(ctx: Context) -> None:
        await service(ctx, "one")

    @duty.service
    async def two(ctx: Context) -> None:
        await service(ctx, "two")

    with on_duty(duty, app):
        eventually(lambda: {name for name, _ in seen[20:]} == {"one", "two"})

    assert set(seen) == {("one", "one"), ("two", "two")}
    assert failed == []


def test_an_async_service_may_sleep_in_a_child_task(duty: OnDuty, app: Flask) -> None:
    """Waiting for a message *or* the end of the term: the child's sleep leaves the turn of the service alone."""
    torn_down = told_by_teardown(app)
    seen: list[Any] = []

    @duty.service
    async def listen(ctx: Context) -> None:
        messages: asyncio.Queue[str] = asyncio.Queue()
        messages.put_nowait("hello")
        while not ctx.stopping:
            term = asyncio.ensure_future(ctx.asleep(LONG))
            message = asyncio.ensure_future(messages.get())
            done, _ = await asyncio.wait([term, message], return_when=asyncio.FIRST_COMPLETED)
            seen.append((current_app.name, marks(), message in done))
            if term in done:
                seen.append(term.result())
            for one in {term, message} - done:
                one.cancel()

    with on_duty(duty, app):
        eventually(lambda: seen)

    assert seen == [("shop", 1, True), ("shop", 2, False), False]
    assert torn_down == [None]


def test_a_helper_thread_of_a_service_may_sleep_too(duty: OnDuty, app: Flask) -> None:
    """With a copy of the service's context, as libraries make one: the service's own turn is left alone."""
    torn_down = told_by_teardown(app)
    seen: list[Any] = []

    @duty.service
    def service(ctx: Context) -> None:
        with ThreadPoolExecutor(1) as pool:
            seen.append((current_app.name, marks()))
            seen.append(pool.submit(copy_context().run, ctx.sleep, AWHILE).result())
            seen.append((current_app.name, marks()))
        ctx.sleep(LONG)

    with on_duty(duty, app):
        eventually(lambda: torn_down)
        assert seen == [("shop", 1), True, ("shop", 2)]
        assert torn_down == [None]
