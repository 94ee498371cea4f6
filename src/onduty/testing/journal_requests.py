"""What every journal promises of what people ask for: triggers, cancellations, pauses and dynamic schedules."""

from __future__ import annotations

from typing import Any

from onduty.journal import Dynamic, Journal, Outcome, Request
from onduty.journal.entries import Answered, Begin, Finish
from onduty.process import ProcessId
from onduty.testing.journal_parts import NOW, OTHER, begun, claim, found, keyed, trigger


class RequestsContract:
    """Each test is one promise of ``onduty.journal.Journal``."""

    durable = True

    def reopen(self, journal: Any, me: ProcessId) -> Journal:
        """The same store, seen by another process."""
        raise NotImplementedError

    def test_requests_wait_in_order(self, journal: Journal) -> None:
        """Before the first term as well: nobody need be on duty."""
        wanted = [
            Request("b", "trigger", "task", NOW, '{"user":3}', "k"),
            Request("a", "cancel", "task", NOW, target="b"),
            Request("c", "trigger", "other", NOW - 5),
        ]

        assert [journal.request(one) for one in wanted] == ["b", "a", "c"]
        assert journal.requests() == wanted
        assert journal.requests(["task", "new"]) == wanted[:2]
        assert journal.requests({"other", "task"}, 1) == wanted[:1]
        assert journal.requests([]) == []
        assert (journal.asked("a"), journal.asked("d")) == (wanted[1], None)

    def test_requests_are_found_by_task_and_kind(self, journal: Journal) -> None:
        """The oldest of one task, what was asked for before another request, and which tasks have any."""
        asked = [trigger("a"), trigger("b", task="other"), trigger("c"), trigger("d"), trigger("e", task="third")]
        cancels = [Request("f", "cancel", "task", NOW, target="c"), Request("g", "cancel", "idle", NOW)]
        for one in (*asked[:3], cancels[0], *asked[3:], cancels[1]):
            journal.request(one)

        assert [one.id for one in journal.requests(["task"], 2, "trigger")] == ["a", "c"]
        assert [one.id for one in journal.requests(["task"], None, "trigger")] == ["a", "c", "d"]
        assert [one.id for one in journal.requests(["task"], 5, "trigger", before="f")] == ["a", "c"]
        assert [one.id for one in journal.requests(["task"], 1, "trigger", before="f")] == ["a"]
        assert journal.requests(["task"], None, "trigger", before="unknown") == []
        assert journal.requests(kind="cancel") == cancels
        assert journal.requests(["idle", "other"], None, "cancel") == cancels[1:]
        of_runs = {("trigger", task) for task in ("other", "task", "third")}
        assert journal.asked_of() == of_runs | {("cancel", "task"), ("cancel", "idle")}
        assert [journal.count_asked(task) for task in ("task", "other", "idle")] == [3, 1, 0]

        journal.write(begun(journal), [claim("b", None, task="other"), Answered("g")])
        assert journal.asked_of() == of_runs - {("trigger", "other")} | {("cancel", "task")}

    def test_a_request_becomes_a_run_once(self, journal: Journal) -> None:
        """In one step: the row is there and the request is gone. Asked for again under its id, nothing happens."""
        journal.request(trigger("a"))
        term = begun(journal)
        assert journal.request(trigger("a")) == "a"
        assert len(journal.requests()) == 1

        assert journal.write(term, [claim("a", None, begin=False)]) == [True]
        assert journal.requests() == []
        assert journal.request(trigger("a")) == "a"
        journal.write(term, [Begin("a", 1, NOW), Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.request(trigger("a")) == "a"
        assert journal.requests() == []

    def test_a_claim_of_a_slot_answers_no_request(self, journal: Journal) -> None:
        """Only what was asked for is answered."""
        term = begun(journal)
        journal.request(trigger("a"))

        assert journal.write(term, [claim("b", None), claim("c", 10)]) == [True, True]
        assert [wanted.id for wanted in journal.requests()] == ["a"]

    def test_a_refused_claim_leaves_its_request(self, journal: Journal) -> None:
        """The leader has the last word, by answering it."""
        term = begun(journal)
        journal.write(term, [keyed("done", "v7", once=True), Finish("done", Outcome.SUCCEEDED, NOW)])
        journal.request(trigger("a", "v7"))

        assert journal.write(term, [keyed("a", "v7", once=True)]) == [False]
        assert [wanted.id for wanted in journal.requests()] == ["a"]
        assert journal.write(term, [Answered("a"), Answered("a")]) == [True, False]
        assert journal.requests() == []

    def test_a_key_is_requested_once_until_it_has_run(self, journal: Journal) -> None:
        """Who asks again is told of the one that is requested, queued or running."""
        term = begun(journal)
        assert [journal.request(trigger(run, "k")) for run in "ab"] == ["a", "a"]
        assert len(journal.requests()) == 1

        journal.write(term, [keyed("a", "k", begin=False)])
        assert journal.request(trigger("c", "k")) == "a"
        journal.write(term, [Begin("a", 1, NOW)])
        assert journal.request(trigger("d", "k")) == "a"
        assert journal.requests() == []
        journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.request(trigger("e", "k")) == "e"

    def test_what_is_to_be_cancelled_before_it_begins_answers_no_key(self, journal: Journal) -> None:
        """Requested or queued; whoever asks again wants a run. One that has begun is the answer until it ends."""
        term = begun(journal)
        journal.request(trigger("a", "k"))
        journal.request(Request("other", "cancel", "task", NOW, target="z"))
        assert journal.request(trigger("b", "k")) == "a"
        journal.request(Request("c", "cancel", "task", NOW, target="a"))
        assert [journal.request(trigger(run, "k")) for run in "de"] == ["d", "d"]
        journal.request(Request("f", "cancel", "task", NOW))
        assert [journal.request(trigger(run, "k")) for run in "gh"] == ["g", "g"]

        journal.write(term, [*map(Answered, ("a", "other", "c", "d", "f")), keyed("g", "k", begin=False)])
        assert journal.request(trigger("i", "k")) == "g"
        journal.request(Request("j", "cancel", "task", NOW, target="g"))
        assert journal.request(trigger("i", "k")) == "i"
        journal.write(term, [Answered("i"), Begin("g", 1, NOW)])
        assert journal.request(trigger("l", "k")) == "g"

    def test_another_key_or_task_or_none_is_another_request(self, journal: Journal) -> None:
        """And a cancellation is none of a trigger's."""
        asked = [trigger("a", "k"), trigger("b", "l"), trigger("c", "k", "other"), trigger("d"), trigger("e")]

        assert [journal.request(one) for one in asked] == list("abcde")
        assert journal.request(Request("f", "cancel", "task", NOW, key="k", target="a")) == "f"
        assert len(journal.requests()) == 6

    def test_a_pause_is_a_level(self, journal: Journal) -> None:
        """Of a task's own schedule or of another; since the first time it was asked for."""
        journal.set_paused("task", NOW)
        journal.set_paused("task", NOW + 5)
        journal.set_paused("task", NOW + 7, "room-1")
        assert journal.paused() == {("task", ""): NOW, ("task", "room-1"): NOW + 7}

        journal.set_paused("task", None)
        journal.set_paused("task", None)
        assert journal.paused() == {("task", "room-1"): NOW + 7}

    def test_a_dynamic_schedule_is_made_changed_and_dropped(self, journal: Journal) -> None:
        """By task and key."""
        room = Dynamic("task", "room-2", '{"every":5}', '{"room":2}', NOW)
        others = [Dynamic("task", "room-1", "{}", "{}", NOW), Dynamic("other", "room-2", "{}", "{}", NOW)]
        for one in (room, *others, room._replace(spec='{"every":9}', at=NOW + 1)):
            journal.put_schedule(one)

        assert journal.schedules("task") == [others[0], room._replace(spec='{"every":9}', at=NOW + 1)]
        assert journal.schedules() == [others[1], *journal.schedules("task")]
        assert [journal.drop_schedule("task", "room-2"), journal.drop_schedule("task", "room-2")] == [True, False]
        assert journal.schedules("task") == [others[0]]

    def test_the_revision_changes_with_whatever_is_asked_for(self, journal: Journal) -> None:
        """And only then: a leader looks at it many times a second, and at the rest only when it changed."""
        room = Dynamic("task", "room-1", "{}", "{}", NOW)
        seen = [journal.revision()]
        for ask in (
            lambda: journal.request(trigger("a", "k")),
            lambda: journal.set_paused("task", NOW),
            lambda: journal.put_schedule(room),
            lambda: journal.put_schedule(room._replace(spec="[]")),
            lambda: journal.drop_schedule("task", "room-1"),
            lambda: journal.set_paused("task", None),
        ):
            ask()
            seen.append(journal.revision())
        assert seen == sorted(set(seen))

        journal.request(trigger("a", "k"))
        journal.request(trigger("b", "k"))
        journal.set_paused("task", None)
        journal.drop_schedule("task", "room-1")
        journal.write(begun(journal), [claim("x", 10), keyed("a", "k")])
        assert journal.revision() == seen[-1]

    def test_pruning_leaves_what_was_asked_for(self, journal: Journal) -> None:
        """However old it is."""
        room = Dynamic("task", "room-1", "{}", "{}", 1)
        journal.request(trigger("a"))
        journal.set_paused("task", 1)
        journal.put_schedule(room)
        begun(journal)

        assert journal.prune(0, NOW * 2) == 0
        assert ([one.id for one in journal.requests()], journal.schedules()) == (["a"], [room])
        assert journal.paused() == {("task", ""): 1}

    def test_what_one_process_asks_for_another_one_reads(self, journal: Journal) -> None:
        """And answers."""
        if not self.durable:
            return
        term = begun(journal)
        other = self.reopen(journal, OTHER)
        try:
            before = journal.revision()
            other.request(trigger("a", "k"))
            other.set_paused("task", NOW)
            assert journal.revision() != before
            assert [wanted.id for wanted in journal.requests()] == ["a"]
            assert journal.write(term, [keyed("a", "k")]) == [True]
            assert (other.requests(), found(other, "a").key) == ([], "k")
            assert other.request(trigger("b", "k")) == "a"
        finally:
            other.close()
