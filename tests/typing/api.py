"""Read by mypy and pyright, never run: what they must accept, and what they must refuse.

A mark on a line says that the checker of that name must object to it; a mark that is not needed is an error too.
"""

from __future__ import annotations

from datetime import timedelta

from onduty import Context, OnDuty, Run, RunFailed
from onduty.testing import ManualClock, use

duty = OnDuty()


@duty.service
def collector(ctx: Context) -> None:
    while ctx.sleep(1):
        ctx.state["seen"] = 1


@duty.service(name="other", on="every_worker")
async def warmer(ctx: Context) -> None:
    while await ctx.asleep(1):
        pass


@duty.every(seconds=5, missed="skip")
def push() -> str:
    return "pushed"


@duty.every(timedelta(minutes=5))
def tidy(ctx: Context) -> None: ...


@duty.cron("0 3 * * *", timezone="Asia/Shanghai")
async def report(ctx: Context, day: str = "today") -> None: ...


@duty.task
def export(ctx: Context, user_id: int, fast: bool = False) -> int:
    return user_id


@duty.task(name="resize", retries=3)
def resize(width: int) -> None: ...


@duty.on(RunFailed)
def alert(event: RunFailed) -> None:
    print(event.error)


run: Run = export.trigger(user_id=3)
export.trigger(3, fast=True)
resize.trigger(width=3)
push.trigger()
report.trigger(day="monday")
text: str = push()
collector(Context.for_test(state={"seen": 4}, sleeps=3, clock=ManualClock()))
width: int = export(Context.for_test(), 3)
slept: list[float] = Context.for_test().slept
with use(duty) as t:
    runs: list[Run] = t.run_due() + t.miss(report, 3) + t.advance(hours=24) + t.advance(timedelta(days=1))
    last: Run = t.turns(collector, 3)

export.trigger(user_id="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
export.trigger()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
export.trigger(3, slow=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
resize.trigger("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
push.trigger(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
number: int = push()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
Context.for_test(sleep=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Context.for_test(sleeps="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def endless() -> None: ...


duty.service(endless)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
