"""What other processes ask of the leader: by rows in the journal and a ring, never by talking to it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from onduty import Context, OnDutyError, Outcome
from onduty._runtime.asked import MOST_AT_ONCE
from onduty._runtime.lanes import TAKEN_AHEAD
from onduty._runtime.pool import EAGER_THREADS
from onduty.clock import SECOND
from onduty.errors import StoreUnavailable
from onduty.events import Advice, TaskPaused, TaskResumed
from onduty.journal import Dynamic, Request, RunRecord
from onduty.journal.entries import Again, Claim, Entry, Finish
from support.stage import Stage, tick
from support.waiting import eventually

_numbers = itertools.count(1)


def trigger(stage: Stage, task: str, key: str | None = None, **kwargs: Any) -> str:
    wanted = Request(f"ask-{next(_numbers)}", "trigger", task, stage.clock.now(), json.dumps(kwargs), key)
    return stage.ask(wanted)


def cancel(stage: Stage, task: str, target: str | None = None) -> None:
    stage.ask(Request(f"ask-{next(_numbers)}", "cancel", task, stage.clock.now(), target=target))


def ended(stage: Stage, run_id: str) -> Outcome | None:
    record = stage.journal.get(run_id)
    return record.outcome if record else None


def test_triggers_queue_in_order_and_each_runs_once(stage: Stage) -> None:
    """However many come at once, and with the arguments that came with each."""
    seen: list[int] = []

    @stage.duty.task
    def export(number: int) -> int:
        seen.append(number)
        return number * 2

    stage.begin()
    ids = [trigger(stage, "export", number=number) for number in range(450)]
    eventually(lambda: ended(stage, ids[-1]))

    assert seen == list(range(450))
    record = stage.journal.get(ids[7])
    assert record is not None
    assert (record.outcome, record.result, json.loads(record.kwargs)) == (Outcome.SUCCEEDED, "14", {"number": 7})
    assert stage.journal.requests() == []


def test_a_long_queue_waits_in_the_journal(stage: Stage) -> None:
    """A few are claimed ahead, however many are asked for: they are what memory holds, and what the next leader reads.

    All are counted, and another task's are not held up by them.
    """
    go = threading.Event()
    seen: list[int] = []

    @stage.duty.task
    def export(number: int) -> None:
        go.wait(20)
        seen.append(number)

    @stage.duty.task
    def other() -> None: ...

    stage.begin()
    ids = [trigger(stage, "export", number=number) for number in range(300)]
    quick = trigger(stage, "other")
    eventually(lambda: ended(stage, quick))

    def counted() -> int:
        stage.clock.advance(1)
        return int(stage.schedulers[-1].snapshot()["export"]["waiting"])

    eventually(lambda: counted() == 299)
    assert len(stage.journal.unfinished()) == 1 + TAKEN_AHEAD
    go.set()
    eventually(lambda: ended(stage, ids[-1]))

    assert seen == list(range(300))
    assert counted() == 0


def test_what_ends_while_the_queue_is_read_makes_room_in_the_same_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn is a transaction, so the fuller it is the less a run costs."""
    go, claimed = threading.Event(), list[int]()
    read, write = stage.journal.requests, stage.journal.write

    @stage.duty.task(concurrency=300)
    def export() -> None:
        go.wait(20)

    ids = [trigger(stage, "export") for _ in range(2 * MOST_AT_ONCE)]

    def read_slowly(*which: Any) -> list[Request]:
        if claimed:
            go.set()
            eventually(lambda: len(stage.schedulers[-1]._inbox) == MOST_AT_ONCE or len(claimed) > 1)
        return read(*which)

    def write_and_count(term: int, entries: Sequence[Entry]) -> list[bool]:
        if claims := sum(isinstance(entry, Claim) for entry in entries):
            claimed.append(claims)
        return write(term, entries)

    monkeypatch.setattr(stage.journal, "requests", read_slowly)
    monkeypatch.setattr(stage.journal, "write", write_and_count)
    stage.begin()
    eventually(lambda: ended(stage, ids[-1]))

    assert claimed == [MOST_AT_ONCE, MOST_AT_ONCE]


def test_no_task_s_queue_starves_another_s(stage: Stage) -> None:
    """A look takes so many at most, and the next one begins with those that had no turn."""

    @stage.duty.task(overlap="cancel")
    def always_has_room() -> None: ...

    @stage.duty.task
    def other() -> None: ...

    ids = [trigger(stage, "always_has_room") for _ in range(1000)]
    late = trigger(stage, "other")
    stage.begin()
    eventually(lambda: ended(stage, ids[-1]) and ended(stage, late))

    rows = [row.run_id for row in reversed(stage.journal.recent(None, 2000))]
    assert rows.index(late) < 500


def test_what_was_cancelled_does_not_begin_in_the_next_term(stage: Stage) -> None:
    """Queued, waiting for its next attempt, or asked for; and who took the key since has its run."""
    begun: list[str] = []

    @stage.duty.task(retries=1, backoff=60)
    def export(ctx: Context) -> None:
        begun.append(ctx.run_id)

    now, old = stage.clock.now(), stage.journal.begin_term(0, stage.clock.now())
    failed = [Claim("tried", "export", None, now), Again("tried", 1, now, now, "no")]
    stage.journal.write(old, [Claim("queued", "export", None, now, begin=False, key="k"), *failed])
    asked = trigger(stage, "export")
    for one in ("queued", "tried", asked):
        cancel(stage, "export", one)
    new = trigger(stage, "export", "k")
    assert new != "queued"
    stage.begin()
    eventually(lambda: ended(stage, new) is Outcome.SUCCEEDED)

    assert begun == [new]
    assert [ended(stage, one) for one in ("queued", "tried", asked)] == [
        Outcome.STOPPED,
        Outcome.FAILED,
        Outcome.STOPPED,
    ]
    assert stage.journal.requests() == []


def test_who_asks_with_a_key_after_a_cancel_has_a_run(stage: Stage) -> None:
    """Though one that was cancelled has begun meanwhile and has the key until it ends: then it is this one's turn."""
    go = threading.Event()
    begun: list[str] = []

    @stage.duty.task(concurrency=2)
    def export(ctx: Context) -> None:
        begun.append(ctx.run_id)
        go.wait(20)

    stage.begin()
    now = stage.clock.now()
    first = trigger(stage, "export", "k")
    eventually(lambda: begun)
    stage.journal.request(Request("late", "trigger", "export", now, key="m"))
    stage.journal.write(stage.schedulers[-1]._term.number, [Claim("its key", "export", None, now, key="m")])
    stage.ring()
    tick(stage, lambda: stage.schedulers[-1].beat > 5)
    assert [one.id for one in stage.journal.requests()] == ["late"]
    stage.journal.write(stage.schedulers[-1]._term.number, [Finish("its key", Outcome.SUCCEEDED, now)])
    go.set()
    tick(stage, lambda: ended(stage, "late"))

    assert begun == [first, "late"]
    assert stage.journal.requests() == []


def test_the_lane_of_a_schedule_that_was_dropped_while_it_ran_goes(stage: Stage) -> None:
    """One for each room or session: for weeks they would add up."""
    go = threading.Event()

    @stage.duty.task
    def export() -> None:
        go.wait(20)

    now = stage.clock.now()
    stage.journal.put_schedule(Dynamic("export", "room", '{"every": 1}', "{}", now))
    stage.begin()
    tick(stage, lambda: stage.rows("export", None))
    stage.journal.drop_schedule("export", "room")
    stage.ring()
    eventually(lambda: stage.schedulers[-1].snapshot()["export"]["schedules"]["room"]["next_slot"] is None)
    go.set()
    tick(stage, lambda: "schedules" not in stage.schedulers[-1].snapshot()["export"])


def test_a_queue_is_cancelled_whole(stage: Stage) -> None:
    """However long it is; what is asked for afterwards runs."""
    begun: list[int] = []

    @stage.duty.task
    def export(ctx: Context, number: int) -> None:
        begun.append(number)
        while number == 0 and ctx.sleep(1):
            pass

    stage.begin()
    ids = [trigger(stage, "export", number=number) for number in range(700)]
    eventually(lambda: begun)
    cancel(stage, "export", ids[500])
    eventually(lambda: ended(stage, ids[500]) is Outcome.STOPPED)
    cancel(stage, "export", ids[500])
    cancel(stage, "export")
    last = trigger(stage, "export", number=1000)
    eventually(lambda: ended(stage, last) is Outcome.SUCCEEDED)

    assert begun == [0, 1000]
    assert {ended(stage, one) for one in ids} == {Outcome.STOPPED}
    assert stage.journal.requests() == []


def test_the_newest_replaces_a_queue_of_any_length(stage: Stage) -> None:
    """``overlap="cancel"``: nothing waits for a place."""
    seen: list[int] = []

    @stage.duty.task(overlap="cancel")
    def export(ctx: Context, number: int) -> None:
        while ctx.sleep(1) and number < 299:
            pass
        seen.append(number)

    ids = [trigger(stage, "export", number=number) for number in range(300)]
    stage.begin()
    tick(stage, lambda: ended(stage, ids[-1]) is Outcome.SUCCEEDED)

    assert seen[-1] == 299
    assert len(seen) <= 3
    assert {ended(stage, one) for one in ids[:-1]} <= {Outcome.STOPPED, Outcome.SKIPPED}


def test_slots_do_not_come_before_what_is_asked_for(stage: Stage) -> None:
    """As long as any of it waits: they are skipped, and it is never left behind."""
    seen: list[object] = []

    @stage.duty.every(seconds=1, overlap="queue")
    def export(ctx: Context) -> None:
        seen.append(ctx.slot)
        ctx.sleep(0.5)

    stage.begin_until("export", 1)
    ids = [trigger(stage, "export") for _ in range(50)]
    eventually(lambda: stage.journal.get(ids[0]))
    done = len(seen)
    tick(stage, lambda: ended(stage, ids[-1]))

    assert seen[done + 1 : done + 49] == [None] * 48


def test_a_request_waits_until_somebody_is_on_duty_and_for_code_that_knows_its_task(stage: Stage) -> None:
    """It is in the journal, and nobody takes it for another task's."""

    @stage.duty.task
    def export() -> None: ...

    run_id = trigger(stage, "export")
    trigger(stage, "of_a_newer_version")
    stage.begin()
    eventually(lambda: ended(stage, run_id))

    assert [one.task for one in stage.journal.requests()] == ["of_a_newer_version"]


def test_a_request_is_found_without_a_ring(stage: Stage) -> None:
    """Should the hub be gone: the leader looks each second."""

    @stage.duty.task
    def export() -> None: ...

    stage.begin()
    stage.journal.request(Request("unheard", "trigger", "export", stage.clock.now()))
    tick(stage, lambda: ended(stage, "unheard"))


def test_of_one_key_there_is_one_run_at_a_time(stage: Stage) -> None:
    """Asked for again while it is queued or running, the answer is that very run; later there is a new one."""
    go = threading.Event()

    @stage.duty.task
    def export() -> None:
        go.wait(20)

    stage.begin()
    first = trigger(stage, "export", key="user-3")
    eventually(lambda: stage.rows("export", None))
    assert trigger(stage, "export", key="user-3") == first
    other = trigger(stage, "export", key="user-4")
    assert other != first
    assert trigger(stage, "export", key="user-4") == other
    go.set()
    eventually(lambda: ended(stage, first) and ended(stage, other))

    assert trigger(stage, "export", key="user-3") != first


def test_a_run_can_be_cancelled_while_it_runs_and_while_it_waits(stage: Stage) -> None:
    """From anywhere, by its id, or all of a task's."""
    begun: list[str] = []

    @stage.duty.task
    def export(ctx: Context) -> None:
        begun.append(ctx.run_id)
        while ctx.sleep(1):
            pass

    stage.begin()
    ids = [trigger(stage, "export") for _ in range(4)]
    eventually(lambda: begun)
    cancel(stage, "export", ids[1])
    eventually(lambda: ended(stage, ids[1]) is Outcome.STOPPED)
    cancel(stage, "export", ids[0])
    eventually(lambda: ended(stage, ids[0]) is Outcome.STOPPED and len(begun) == 2)
    cancel(stage, "export")
    eventually(lambda: all(ended(stage, one) is Outcome.STOPPED for one in ids))

    assert begun == [ids[0], ids[2]]


def test_a_request_and_its_cancellation_are_taken_in_order(stage: Stage) -> None:
    """Both written while nobody was on duty: it never begins."""
    begun: list[int] = []

    @stage.duty.task
    def export(number: int) -> None:
        begun.append(number)

    first = trigger(stage, "export", "a", number=0)
    cancel(stage, "export", first)
    busy = trigger(stage, "export", "a", number=1)
    unwanted = [trigger(stage, "export", number=number) for number in (2, 3)]
    cancel(stage, "export", unwanted[0])
    stage.begin()
    eventually(lambda: ended(stage, busy) is Outcome.SUCCEEDED and ended(stage, unwanted[1]) is Outcome.SUCCEEDED)

    assert begun == [1, 3]
    assert [ended(stage, one) for one in (first, unwanted[0])] == [Outcome.STOPPED, Outcome.STOPPED]
    assert stage.journal.requests() == []


def test_a_paused_task_is_not_due_and_its_slots_are_told_when_it_goes_on(stage: Stage) -> None:
    """As one range, skipped; what is triggered meanwhile runs all the same."""
    stage.hear(TaskPaused)
    stage.hear(TaskResumed)

    @stage.duty.every(seconds=1)
    def push() -> None: ...

    stage.begin_until("push", 2)
    stage.journal.set_paused("push", stage.clock.now())
    stage.ring()
    eventually(lambda: [type(one) for one in stage.heard] == [TaskPaused])
    done = len(stage.rows("push"))
    stage.clock.advance(10)
    by_hand = trigger(stage, "push")
    eventually(lambda: ended(stage, by_hand))
    stage.clock.advance(10)
    assert len(stage.rows("push")) <= done + 2, "a run claimed a moment before may still have come"

    stage.journal.set_paused("push", None)
    stage.ring()
    tick(stage, lambda: len(stage.rows("push")) >= done + 4)
    (skipped,) = stage.rows("push", Outcome.SKIPPED)
    assert skipped.error == "it was paused"
    assert 18 <= skipped.slots <= 21
    rows = [row for row in stage.journal.recent("push", 500) if row.slot is not None]
    first, last = min(row.first_slot or 0 for row in rows), max(row.slot or 0 for row in rows)
    assert sum(row.slots for row in rows) == (last - first) // SECOND + 1


def test_a_pause_outlives_the_term_and_is_said_again(stage: Stage) -> None:
    """A deploy does not end it; a service that is paused is not begun until it is resumed."""
    stage.hear(TaskPaused)
    turns: list[int] = []

    @stage.duty.service
    def collector(ctx: Context) -> None:
        turns.append(ctx.term)
        while ctx.sleep(1):
            pass

    first = stage.begin()
    eventually(lambda: turns)
    stage.journal.set_paused("collector", stage.clock.now())
    stage.ring()
    eventually(lambda: stage.rows("collector", Outcome.STOPPED))
    stage.end(first)
    second = stage.begin()
    eventually(lambda: len(stage.heard) == 2)
    tick(stage, lambda: second.beat > 5)
    assert len(turns) == 1

    stage.journal.set_paused("collector", None)
    stage.ring()
    eventually(lambda: turns == [first._term.number, second._term.number])


def test_a_dynamic_schedule_runs_with_its_arguments_and_its_own_state(stage: Stage) -> None:
    """Two of one task neither wait for nor overlap with each other."""
    seen: list[tuple[int, int]] = []

    @stage.duty.task
    def push(ctx: Context, room: int = 0) -> None:
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        seen.append((room, ctx.state["count"]))

    stage.begin()
    for room in (42, 43):
        spec = json.dumps({"every": 5})
        dynamic = Dynamic("push", f"room-{room}", spec, json.dumps({"room": room}), stage.clock.now())
        stage.journal.put_schedule(dynamic)
    stage.ring()
    tick(stage, lambda: len(seen) >= 6)

    for room in (42, 43):
        assert [count for one, count in seen if one == room][:3] == [1, 2, 3]
    assert {row.schedule for row in stage.rows("push")} == {"room-42", "room-43"}
    assert json.loads(stage.journal.state("push", "room-42"))["count"] >= 3
    assert stage.journal.state("push") == "{}"


def test_a_dynamic_schedule_survives_the_term_can_be_changed_and_taken_away(stage: Stage) -> None:
    """Missed slots are caught up as ever; a changed schedule begins anew; once gone it is due no more."""
    seen: list[str] = []

    @stage.duty.task
    def push(word: str) -> None:
        seen.append(word)

    def put(every: int, word: str) -> None:
        one = Dynamic("push", "k", json.dumps({"every": every}), json.dumps({"word": word}), stage.clock.now())
        stage.journal.put_schedule(one)
        stage.ring()

    put(5, "first")
    before = stage.begin()
    tick(stage, lambda: len(seen) >= 2)
    stage.end(before)
    stage.clock.advance(60)
    stage.begin()
    tick(stage, lambda: stage.rows("push", Outcome.MISSED))
    put(2, "second")
    tick(stage, lambda: seen.count("second") >= 2)
    firsts = seen.count("first")
    assert stage.journal.drop_schedule("push", "k")
    stage.ring()
    tick(stage, lambda: len(stage.schedulers[-1].snapshot()["push"].get("schedules", {})) == 0)
    count = len(seen)
    stage.clock.advance(30)
    put(2, "third")
    tick(stage, lambda: "third" in seen)

    assert seen.count("first") == firsts
    assert seen[count:].count("second") == 0
    assert len(stage.rows("push", Outcome.MISSED)) == 1, "what was due while it was gone was due to nobody"


def test_what_is_to_succeed_once_is_tried_until_it_has_and_never_again(stage: Stage) -> None:
    """Per key, over all terms; a failure is tried again by the next leader."""
    tried: list[int] = []

    @stage.duty.once(key="v7")
    def migrate(ctx: Context) -> None:
        tried.append(ctx.term)
        if len(tried) == 1:
            raise RuntimeError("the table is locked")

    terms = []
    for outcome in (Outcome.FAILED, Outcome.SUCCEEDED, Outcome.SUCCEEDED):
        scheduler = stage.begin()
        terms.append(scheduler._term.number)
        eventually(lambda wanted=outcome: stage.rows("migrate", wanted))
        tick(stage, lambda one=scheduler: one.beat > 3)
        stage.end(scheduler)

    assert tried == terms[:2]


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ({1, 2}, "TypeError: Object of type set is not JSON serializable"),
        ("x" * 70_000, "70002 characters of JSON, and 65536 is the most"),
    ],
    ids=["a set", "too long"],
)
def test_a_result_that_can_not_be_kept_is_told_in_the_log(stage: Stage, returned: Any, why: str) -> None:
    """The run has succeeded all the same."""

    @stage.duty.every(hours=1)
    def collect() -> Any:
        return returned

    scheduler = stage.begin()
    tick(stage, lambda: stage.rows("collect", Outcome.SUCCEEDED))
    stage.end(scheduler)

    (row,) = stage.rows("collect")
    assert row.result is None
    assert [line[1:] for line in json.loads(stage.journal.log(row.run_id))] == [
        ["INFO", f"its result is not kept: {why}"]
    ]


def test_progress_and_log_are_kept_with_the_run_while_it_runs(stage: Stage) -> None:
    """Another worker can look, within a second; lines of any logger inside the run belong to it."""
    import logging

    go = threading.Event()

    @stage.duty.task
    def export(ctx: Context) -> None:
        ctx.progress(0.5, "half way")
        ctx.log.warning("looking at %s", "users")
        logging.getLogger("somebody.else").error("and that too")
        go.wait(20)
        ctx.log.warning("done")

    stage.begin()
    run_id = trigger(stage, "export")
    tick(stage, lambda: (record := stage.journal.get(run_id)) and record.progress == 0.5)
    record = stage.journal.get(run_id)
    assert record is not None
    assert record.text == "half way"
    go.set()
    eventually(lambda: ended(stage, run_id))

    assert [line[1:] for line in json.loads(stage.journal.log(run_id))] == [
        ["WARNING", "looking at users"],
        ["ERROR", "and that too"],
        ["WARNING", "done"],
    ]


def test_a_retry_goes_on_with_the_log_of_the_attempt_that_failed(stage: Stage) -> None:
    """In its term and, when its leader has died meanwhile, in the next; what failed is what one wants to read."""

    @stage.duty.task(retries=3, backoff=5)
    def export(ctx: Context) -> None:
        ctx.log.warning("attempt %d", ctx.attempt)
        if ctx.attempt < 4:
            raise RuntimeError("on purpose")

    def waits_after(attempt: int) -> bool:
        record = stage.journal.get(run_id)
        return record is not None and record.attempt == attempt and record.retry_at is not None

    scheduler = stage.begin()
    run_id = trigger(stage, "export")
    tick(stage, lambda: waits_after(2))
    stage.end(scheduler)
    stage.begin()
    tick(stage, lambda: ended(stage, run_id))

    assert [text for _, _, text in json.loads(stage.journal.log(run_id))] == [f"attempt {n}" for n in (1, 2, 3, 4)]


def test_what_a_run_says_while_others_wait_is_written_within_a_second(stage: Stage) -> None:
    """Nobody rings for it; the loop itself sleeps no longer than until then."""
    go = threading.Event()

    @stage.duty.task
    def export(ctx: Context) -> None:
        for number in range(1, 3):
            ctx.progress(number / 10)
            go.wait(20)
            go.clear()

    def progress() -> float:
        record = stage.journal.get(run_id)
        return record.progress if record else 0.0

    scheduler = stage.begin()
    run_id = trigger(stage, "export")
    tick(stage, lambda: progress() == 0.1)
    go.set()
    eventually(lambda: scheduler._noted)
    assert scheduler.until_next(1.0) <= scheduler._note_mono - stage.clock.mono()
    tick(stage, lambda: progress() == 0.2, seconds=0.25)
    go.set()
    eventually(lambda: ended(stage, run_id))


def test_a_context_is_of_no_use_when_its_run_has_ended(stage: Stage) -> None:
    """A thread that the run has left behind is told to end, even in mid-sleep, and writes nothing."""
    told: list[object] = []

    def left_behind(ctx: Context) -> None:
        told.append(ctx.sleep(1000))
        told.append(ctx.stopping)
        for write in (lambda: ctx.state.update(seen=1), lambda: ctx.progress(1)):
            try:
                write()
            except OnDutyError as error:
                told.append(str(error))

    @stage.duty.task
    def export(ctx: Context) -> None:
        threading.Thread(target=left_behind, args=(ctx,), daemon=True).start()
        ctx.state["seen"] = 0

    stage.begin()
    run_id = trigger(stage, "export")
    eventually(lambda: len(told) == 4)

    assert told[:2] == [False, True]
    assert all("has ended" in str(one) for one in told[2:])
    eventually(lambda: ended(stage, run_id) is Outcome.SUCCEEDED)
    assert json.loads(stage.journal.state("export")) == {"seen": 0}


def test_what_a_run_logs_can_not_fail_it(stage: Stage) -> None:
    """Neither what can't be shown, nor an exception that can't."""
    import logging

    class Unshown(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    @stage.duty.task
    def export() -> int:
        logging.getLogger("somebody.else").warning(Unshown())
        logging.getLogger("somebody.else").warning("it failed", exc_info=Unshown())
        return 1

    logging.raiseExceptions = False
    try:
        stage.begin()
        run_id = trigger(stage, "export")
        eventually(lambda: ended(stage, run_id))
    finally:
        logging.raiseExceptions = True

    assert ended(stage, run_id) is Outcome.SUCCEEDED
    assert [text for _, _, text in json.loads(stage.journal.log(run_id))] == [
        "Unshown (not shown: ValueError('no'))",
        "it failed (not shown: ValueError('no'))",
    ]


def test_what_a_newer_version_asks_for_is_left_to_it(stage: Stage) -> None:
    """It is no cancellation, of all runs at that."""

    @stage.duty.task
    def export(ctx: Context) -> None:
        ctx.sleep(0.5)

    stage.begin()
    stage.ask(Request("new", "postpone", "export", stage.clock.now()))
    run_id = trigger(stage, "export")
    stage.ask(Request("newer", "postpone", "export", stage.clock.now()))
    tick(stage, lambda: ended(stage, run_id))

    assert ended(stage, run_id) is Outcome.SUCCEEDED
    assert [one.id for one in stage.journal.requests()] == ["new", "newer"]


def test_a_very_long_sleep_is_a_sleep(stage: Stage) -> None:
    """Beyond what the machine's own waits take."""

    @stage.duty.task
    def export(ctx: Context) -> None:
        ctx.sleep(1e30)

    stage.begin()
    run_id = trigger(stage, "export")
    eventually(lambda: stage.rows("export", None))
    cancel(stage, "export", run_id)
    eventually(lambda: ended(stage, run_id) is Outcome.STOPPED)


def test_a_request_whose_key_is_in_progress_waits_on_though_the_journal_does_not_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for anything else meanwhile, so that nothing else would bring it to mind."""
    go, failed = threading.Event(), list[str]()
    get = stage.journal.get

    @stage.duty.task(was="old", concurrency=2)
    def export() -> None:
        go.wait(20)

    def get_or_fail(run_id: str) -> RunRecord | None:
        if run_id == by_old_name and not failed and threading.current_thread().name == "onduty-scheduler":
            failed.append(run_id)
            raise StoreUnavailable("the disk is busy")
        return get(run_id)

    stage.begin()
    first = trigger(stage, "export", "key")
    eventually(lambda: stage.rows("export", None))
    by_old_name = f"ask-{next(_numbers)}"
    monkeypatch.setattr(stage.journal, "get", get_or_fail)
    stage.ask(Request(by_old_name, "trigger", "old", stage.clock.now(), key="key"))
    tick(stage, lambda: failed)
    go.set()

    tick(stage, lambda: ended(stage, first) and ended(stage, by_old_name))


def test_as_many_run_at_once_as_may(stage: Stage) -> None:
    """Each of them waits for all the others."""
    all_here = threading.Barrier(64)

    @stage.duty.task(concurrency=64)
    def export() -> None:
        all_here.wait(30)

    stage.begin()
    ids = [trigger(stage, "export") for _ in range(64)]
    tick(stage, lambda: all(ended(stage, run_id) for run_id in ids))

    assert len(stage.rows("export")) == 64


def test_what_waits_for_a_thread_when_it_is_cancelled_never_begins(stage: Stage) -> None:
    """It has its row, and its place among those in progress; the pool had no thread for it yet."""
    go = threading.Event()
    seen: list[int] = []

    @stage.duty.task(concurrency=20)
    def export(number: int) -> None:
        seen.append(number)
        go.wait(20)

    stage.begin()
    ids = [trigger(stage, "export", number=number) for number in range(20)]
    eventually(lambda: len(seen) == EAGER_THREADS and len(stage.rows("export", None)) == 20)
    cancel(stage, "export", ids[-1])
    cancel(stage, "export")
    eventually(lambda: not stage.journal.requests())
    go.set()
    eventually(lambda: all(ended(stage, run_id) for run_id in ids))

    assert sorted(seen) == list(range(EAGER_THREADS))
    assert [ended(stage, run_id) for run_id in ids[EAGER_THREADS:]] == [Outcome.STOPPED] * (20 - EAGER_THREADS)


def test_what_is_asked_of_a_task_that_is_not_declared_is_told_once(stage: Stage) -> None:
    """It waits, or has no effect, and without a word nobody would know why."""
    stage.hear(Advice)

    @stage.duty.task(was="before")
    def export() -> None: ...

    stage.journal.put_schedule(Dynamic("gone", "k", '{"every": 2}', "{}", stage.clock.now()))
    stage.begin()
    for _ in range(3):
        trigger(stage, "elsewhere")
    eventually(lambda: len(stage.heard) == 2)
    stage.journal.set_paused("before", stage.clock.now())
    stage.schedulers[-1].ring()
    eventually(lambda: len(stage.heard) == 3)
    run_id = trigger(stage, "export")
    eventually(lambda: ended(stage, run_id))

    said = [one.text for one in stage.heard]
    assert [text.partition(":")[0] for text in said] == [
        "the worker on duty does not declare gone",
        "the worker on duty does not declare elsewhere",
        "the worker on duty does not declare before",
    ]
    assert "'k'" in said[0]
    assert "was='gone'" in said[0]
    assert "give each a name=" in said[1]
    assert said[2].endswith("its pause holds nothing up. It is export now: ask for it by that name")
    assert [one.task for one in stage.journal.requests()] == ["elsewhere"] * 3


def test_a_service_that_returns_is_told(stage: Stage) -> None:
    """Its loop was forgotten, most likely; it is not begun again in this term."""
    stage.hear(Advice)

    @stage.duty.service
    def collector(ctx: Context) -> None: ...

    stage.begin()

    eventually(lambda: stage.heard)
    assert "collector has returned" in stage.heard[0].text
    assert "while ctx.sleep(1)" in stage.heard[0].text


def test_a_service_that_ends_for_a_pause_without_looking_goes_on_when_resumed(stage: Stage) -> None:
    """It has not forgotten its loop."""
    begun: list[int] = []
    leave = threading.Event()

    @stage.duty.service
    def collector(ctx: Context) -> None:
        begun.append(1)
        leave.wait(20)

    stage.hear(TaskPaused)
    stage.begin()
    eventually(lambda: begun)
    stage.journal.set_paused("collector", stage.clock.now())
    stage.ring()
    eventually(lambda: stage.heard)
    stage.journal.set_paused("collector", None)
    stage.ring()
    leave.set()

    eventually(lambda: len(begun) == 2)


@pytest.mark.parametrize("by", ["old", "new"])
@pytest.mark.parametrize("has_run", ["neither", "the old one", "both"])
def test_what_is_asked_of_a_task_by_its_old_name_is_run_by_its_new_one(stage: Stage, has_run: str, by: str) -> None:
    """By a worker of before that still serves, too: in one order with what is asked by the new one, counted with it,
    refused by its key, and cancelled by either name.
    """
    stage.hear(Advice)
    seen: list[int] = []
    go = threading.Event()
    go.set()

    def export(number: int) -> None:
        go.wait(20)
        seen.append(number)

    def declare(**name: Any) -> None:
        stage.duty._registry._declared.clear()
        stage.duty.task(**name)(export)

    def run_once(task: str) -> None:
        first = stage.begin()
        run_id = trigger(stage, task, number=0)
        eventually(lambda: ended(stage, run_id))
        stage.end(first)
        seen.clear()

    if has_run != "neither":
        declare(name="old")
        run_once("old")
    declare(name="new", was="old")
    if has_run == "both":
        run_once("new")
    before = [trigger(stage, ["old", "new"][number % 2], number=number) for number in range(1, 4)]
    stage.begin()
    eventually(lambda: ended(stage, before[-1]))
    go.clear()
    keyed = trigger(stage, "new", key="k", number=4)
    eventually(lambda: stage.journal.get(keyed))
    same = trigger(stage, "old", key="k", number=5)
    others = [trigger(stage, ["old", "new"][number % 2], number=number) for number in range(30)]
    tick(stage, lambda: stage.schedulers[-1].snapshot()["new"]["waiting"] == 31)
    cancel(stage, "old", target=others[-1])
    eventually(lambda: ended(stage, others[-1]) is Outcome.STOPPED)
    cancel(stage, by)
    eventually(lambda: all(ended(stage, run_id) is Outcome.STOPPED for run_id in others))
    go.set()
    eventually(lambda: ended(stage, keyed))

    tick(stage, lambda: stage.journal.requests() == [])
    assert seen == [1, 2, 3, 4]
    assert ended(stage, same) is Outcome.STOPPED
    assert {one.task for one in stage.journal.recent(limit=100)} == {"new"}
    assert stage.heard == []
