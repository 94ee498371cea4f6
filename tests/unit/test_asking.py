"""What is asked of a journal that can't answer, and of a run that it has forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onduty import ArgumentError, Context, DeclarationError, NotOnDuty, OnDuty, OnDutyError
from onduty.events import Advice
from support.shortage import no_free_descriptor


def app(environ: Any, start_response: Any) -> list[bytes]:
    return []


def test_a_run_whose_journal_was_deleted_is_unknown(tmp_path: Path) -> None:
    """So is one whose row was pruned; and nobody waits for it for ever."""
    duty = OnDuty(app, name="shop", dir=tmp_path)

    @duty.task
    def export() -> None: ...

    run = export.trigger()
    assert (run.status, run.outcome, run.wait(timeout=0)) == ("queued", None, None)
    for file in tmp_path.glob("shop/journal.sqlite3*"):
        file.unlink()

    assert (run.status, run.outcome, run.wait()) == ("unknown", None, None)
    assert duty.get_run(run.id) is None


def test_what_is_written_down_is_no_failure_though_nobody_can_be_told(tmp_path: Path) -> None:
    """Who asked again for what had raised would have it twice."""
    duty = OnDuty(app, name="shop", dir=tmp_path)
    said: list[str] = []
    duty.on(Advice)(lambda event: said.append(event.text))

    @duty.task
    def export(number: int) -> None: ...

    def asks(number: int) -> str:
        run = export.trigger(number)
        export.options(key=f"user-{number}").trigger(number)
        export.schedule(f"room-{number}", every=3600, kwargs={"number": number})
        export.pause()
        run.cancel()
        return run.id

    asks(1)  # opens the journal, and imports what it needs
    assert all("nobody is on duty" in one for one in said)
    said.clear()
    with no_free_descriptor():
        run_id = asks(2)

    assert [one.key for one in export.schedules()] == ["room-1", "room-2"]
    assert f"nobody can be told of run {run_id} of export (Too many open files)" in said[0]
    assert len(said) == 5
    assert all("nobody can be told" in one for one in said)


def test_a_run_that_waits_to_be_taken_is_known(tmp_path: Path) -> None:
    """It has no row yet; by its handle, or by its id."""
    duty = OnDuty(app, name="shop", dir=tmp_path)

    @duty.task
    def export(number: int) -> None: ...

    run = export.trigger(3)
    found = duty.get_run(run.id)

    assert found is not None
    for one in (run, found):
        assert (one.task, one.kwargs, one.status, one.slot) == ("export", {"number": 3}, "queued", None)
    assert export.runs() == []


def test_a_run_of_a_task_that_is_not_declared_here_is_known(tmp_path: Path) -> None:
    """Of a worker with newer or older code, which may be asked for it, too."""
    duty = OnDuty(app, name="shop", dir=tmp_path)

    @duty.task
    def export(number: int) -> None: ...

    run_id = export.trigger(3).id
    found = OnDuty(app, name="shop", dir=tmp_path).get_run(run_id)

    assert found is not None
    assert (found.task, found.kwargs, found.status) == ("export", {"number": 3}, "queued")
    found.cancel()
    assert [one.target for one in duty.engine().journal_to_write().requests(kind="cancel")] == [run_id]


def test_with_a_journal_in_memory_nobody_but_the_worker_on_duty_can_be_asked(tmp_path: Path) -> None:
    """What others ask for would be kept where nobody looks."""
    duty = OnDuty(app, name="shop", dir=tmp_path, journal="memory")

    @duty.task
    def export() -> None: ...

    for ask in (export.trigger, export.pause, export.resume, export.cancel, lambda: export.schedule("k", every=5)):
        with pytest.raises(NotOnDuty, match=r"memory.*any worker"):
            ask()


def test_nobody_waits_for_a_run_on_an_event_loop(tmp_path: Path) -> None:
    """All of the loop's other work would stand still, the run's own perhaps among it."""
    duty = OnDuty(app, name="shop", dir=tmp_path)

    @duty.task
    def export() -> None: ...

    run = export.trigger()

    async def view() -> None:
        with pytest.raises(OnDutyError, match=r"await asyncio\.to_thread"):
            run.wait(0.1)
        assert await asyncio.to_thread(run.wait, timedelta(milliseconds=1)) is None

    asyncio.run(view())


def test_a_number_beyond_all_measure_is_the_most_there_is(tmp_path: Path) -> None:
    """Not an error of the machine's arithmetic."""
    duty = OnDuty(app, name="shop", dir=tmp_path)

    @duty.task
    def export() -> None: ...

    run = export.trigger()
    for file in tmp_path.glob("shop/journal.sqlite3*"):  # so it is unknown, and not waited for
        file.unlink()

    assert run.wait(10**400) is None
    assert export.runs(10**30) == []


def test_a_slip_is_named_with_what_to_write_instead(tmp_path: Path) -> None:
    duty = OnDuty(app, name="shop", dir=tmp_path)

    @duty.task
    def export() -> None: ...

    for ask, said in (
        (lambda: export.runs(limit="a"), "limit='a'"),  # type: ignore[arg-type]
        (lambda: export.runs(limit=0), "limit=0"),
        (lambda: export.trigger().wait(float("nan")), "timeout=nan.*seconds"),
        (lambda: export.schedule("k", every=5, kwargs=[1]), r"kwargs=\[1\].*by name"),  # type: ignore[arg-type]
        (lambda: export.trigger().wait("x"), "timeout='x'.*seconds"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ArgumentError, match=said):
            ask()
    with pytest.raises(DeclarationError, match=r"every\(\), cron\(\) and service\(\)"):
        duty.task(on="every_worker")(export)
    ctx = Context.for_test()
    with pytest.raises(ArgumentError, match="half"):
        ctx.progress("half")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="keys"):
        ctx.state = {"seen": 3}  # type: ignore[assignment]
    with pytest.raises(AttributeError, match="keys"):
        print(ctx.state.seen)
