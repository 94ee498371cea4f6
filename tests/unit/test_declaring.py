"""What is refused where it is declared, and what a declaration keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from onduty import ArgumentError, Context, DeclarationError, DuplicateTask, OnDuty, RunFailed, UnknownTask
from onduty.calls import Call


def needs(user_id: int) -> int:
    return user_id


def plain() -> str:
    return "done"


def with_context(ctx: Context, user_id: int = 3) -> int:
    return user_id


def looks(ctx: Context) -> None: ...


def context_second(user_id: int, ctx: Context) -> None: ...


class Thing:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda duty: duty.every(seconds=0)(plain), "0"),
        (lambda duty: duty.every(seconds=-5)(plain), "-5"),
        (lambda duty: duty.every(seconds=float("nan"))(plain), "nan"),
        (lambda duty: duty.every()(plain), "how often"),
        (lambda duty: duty.every(plain), "how often.*seconds=5.*above plain"),
        (lambda duty: duty.cron(plain), r'needs a line: @duty.cron\("0 3 \* \* \*"\) above plain'),
        (lambda duty: duty.at(plain), r"needs an instant: @duty.at\(datetime.* above plain"),
        (lambda duty: duty.once(plain), r'needs a key: @duty.once\(key="v7"\) above plain'),
        (lambda duty: duty.once(), "key=None"),
        (lambda duty: duty.service(retries=3)(looks), r"service\(retries=\).*begins again by itself"),
        (lambda duty: duty.on("RunFailed")(plain), "RunFailed.*type of event"),
        (lambda duty: duty.on(int)(plain), "int.*type of event"),
        (lambda duty: duty.on(RunFailed)(lambda: None), "one argument, the event"),
        (lambda duty: duty.on(RunFailed)(asyncio.sleep), "can't listen.*plain function"),
        (lambda duty: duty.on(RunFailed)(7), "7.*can't listen"),
        (lambda duty: duty.every(seconds=5, jitter=6)(plain), "jitter=6"),
        (lambda duty: duty.every(seconds=5, timeout=0)(plain), "timeout=0"),
        (lambda duty: duty.every(seconds=5, retries=-1)(plain), "retries=-1"),
        (lambda duty: duty.every(seconds=5, backoff=timedelta.max)(plain), r"backoff=.* must be at most .*a century"),
        (lambda duty: duty.every(seconds=5, timeout=10**400)(plain), r"timeout=10{39}.* must be at most .*a century"),
        (lambda duty: duty.every(seconds=5, concurrency=0)(plain), "concurrency=0"),
        (lambda duty: duty.task(context_second), "has a parameter ctx: it takes the context, so let it be the first"),
        (lambda duty: duty.task(Thing.method), "has a parameter self: it is a method"),
        (lambda duty: duty.every(seconds=5, missed="never")(plain), "'never'.*'once', 'skip', 'all'"),
        (lambda duty: duty.every(seconds=5, overlap="both")(plain), "'both'"),
        (lambda duty: duty.every(seconds=5, retry=3)(plain), "retry= is not an option here; did you mean retries="),
        (
            lambda duty: duty.every(days=1)(plain),
            r"days= is not an option here; say hours=24 .* every\(timedelta\(days=1",
        ),
        (lambda duty: duty.every(seconds=5)("plain"), "'plain'"),
        (lambda duty: duty.every(seconds=5)(needs), "needs user_id"),
        (lambda duty: duty.every(seconds=5)(lambda: None), 'name="..."'),
        (lambda duty: duty.every(second=5)(plain), "second= is not an option here; did you mean seconds="),
        (lambda duty: duty.cron("99 * * * *")(plain), "99"),
        (lambda duty: duty.cron("0 0 30 2 *")(plain), "never comes due"),
        (lambda duty: duty.cron("0 3 * * *", timezone="Asia/Shanghia")(plain), "Asia/Shangh"),
        (lambda duty: duty.at(datetime(2030, 1, 1))(plain), "time ?zone"),  # noqa: DTZ001  # naive on purpose
        (lambda duty: duty.service(plain), "while ctx.sleep"),
        (lambda duty: duty.task(print and (lambda *, x: (yield x)), name="g"), "generator"),
    ],
)
def test_what_can_not_work_is_refused_where_it_is_declared(declare: Callable[[OnDuty], Any], said: str) -> None:
    """The message names the value and the remedy, and nothing is registered."""
    duty = OnDuty()

    with pytest.raises(Exception, match=said) as refused:
        declare(duty)

    assert type(refused.value).__module__ == "onduty.errors"
    assert duty.tasks == []


def test_a_name_is_taken_once_and_another_is_offered() -> None:
    """Like a Flask endpoint."""
    duty = OnDuty()
    duty.task(plain)

    with pytest.raises(DuplicateTask, match=r'name="test_declaring\.plain"'):
        duty.every(seconds=5)(plain)

    duty.every(seconds=5, name="test_declaring.plain")(plain)
    assert [task.name for task in duty.tasks] == ["plain", "test_declaring.plain"]


def test_the_decorated_function_stays_callable_as_itself() -> None:
    """A declaration takes nothing away."""
    duty = OnDuty()

    assert duty.every(timedelta(minutes=1))(plain)() == "done"
    assert duty.task(needs)(7) == 7
    assert duty.task(name="other")(needs)(user_id=8) == 8


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "json"),
    [
        (needs, (3,), {}, '{"user_id":3}'),
        (needs, (), {"user_id": 3}, '{"user_id":3}'),
        (with_context, (), {}, "{}"),
        (with_context, (5,), {}, '{"user_id":5}'),
    ],
)
def test_a_run_s_arguments_are_bound_by_name_without_the_context(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], json: str
) -> None:
    """Checked where the run is asked for, not where it fails."""
    assert Call(function).bind(args, kwargs) == json


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "user_id"),
        ((1, 2), {}, "too many"),
        ((), {"user": 1}, "no argument named 'user'; did you mean 'user_id'"),
        ((), {"zz": 1}, "no argument named 'zz'$"),
        (({1, 2},), {}, "JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any], said: str) -> None:
    """With the signature, or the value that is not JSON."""
    with pytest.raises(ArgumentError, match=said):
        Call(needs).bind(args, kwargs)


def test_of_arguments_the_one_that_is_not_json_is_named_and_none_is_shown() -> None:
    """The error goes into a log; what is beside it, and itself, may be a password."""

    def send(url: str, password: Any) -> None: ...

    with pytest.raises(ArgumentError, match=r"argument 'password'.*bytes") as refused:
        Call(send).bind((), {"url": "hidden-1", "password": b"hidden-2"})
    assert "hidden" not in str(refused.value)


def test_an_unknown_task_is_told_with_those_there_are() -> None:
    """The usual cause is a spelling."""
    duty = OnDuty()
    duty.task(plain)

    with pytest.raises(UnknownTask, match=r"'plian'.*plain"):
        duty._registry.get("plian")


def test_a_service_takes_the_context_by_name_or_by_annotation() -> None:
    """Both are how people write it."""
    duty = OnDuty()

    assert duty.service(looks).call.takes_context
    assert duty.service(name="other")(lambda ctx: None).call.takes_context


def test_a_second_decorator_on_a_task_is_refused_with_what_to_do() -> None:
    """People stack ``every`` on ``task`` to trigger it as well; each task can be."""
    duty = OnDuty()
    task = duty.task(plain)

    with pytest.raises(DuplicateTask, match="one decorator is enough"):
        duty.every(seconds=5)(task)


@pytest.mark.parametrize("key", ["", 3, "\ud800"])
def test_a_key_is_text_that_any_store_takes(key: Any) -> None:
    """Half a character, as some file names hold, is none."""
    with pytest.raises(ArgumentError, match="a key is text"):
        OnDuty().task(plain).options(key=key)


def test_names_that_change_places_are_refused() -> None:
    """None of them could be renamed first; each would silently keep what the other had."""
    duty = OnDuty(name="shop")
    duty.task(name="a", was="b")(looks)
    duty.task(name="c", was="a")(looks)

    with pytest.raises(DeclarationError, match="a third name"):
        duty.task(name="b", was="c")(looks)
    duty.task(name="b", was="d")(looks)
