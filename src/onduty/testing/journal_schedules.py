"""What every journal promises of schedules: a mark for each, plans, eras, and tasks that get another name."""

from __future__ import annotations

from typing import Any

from onduty.journal import Dynamic, Journal, Mark, Outcome, Request
from onduty.journal.entries import Entry, Era, Finish, Passed, Renamed, Seen
from onduty.process import ProcessId
from onduty.testing.journal_parts import NOW, OTHER, begun, claim, found, keyed, passed, trigger


class SchedulesContract:
    """Each test is one promise of ``onduty.journal.Journal``."""

    durable = True

    def reopen(self, journal: Any, me: ProcessId) -> Journal:
        """The same store, seen by another process."""
        raise NotImplementedError

    def test_each_schedule_of_a_task_has_its_own_slots(self, journal: Journal) -> None:
        """The same slot of two schedules is two slots; of one, it is claimed once."""
        term = begun(journal)

        entries = [claim("a", 10), claim("b", 10, schedule="room-1"), claim("c", 10, schedule="room-2")]
        assert journal.write(term, entries) == [True] * 3
        assert journal.write(term, [claim("d", 10, schedule="room-1"), passed("p", 5, 9, "room-2")]) == [False] * 2
        assert journal.write(term, [claim("e", 5, schedule="room-3"), passed("q", 11, 12, "room-2")]) == [True] * 2
        assert journal.marks() == {
            ("task", ""): Mark(10, None),
            ("task", "room-1"): Mark(10, None),
            ("task", "room-2"): Mark(12, None),
            ("task", "room-3"): Mark(5, None),
        }

    def test_runs_of_all_schedules_are_the_task_s_history(self, journal: Journal) -> None:
        """Told apart by their schedule, read and pruned together."""
        term = begun(journal)
        journal.write(term, [claim("a", 1), claim("b", 1, schedule="x"), claim("c", None, schedule="y"), claim("d", 2)])
        journal.write(term, [Finish(run, Outcome.SUCCEEDED, NOW) for run in "abcd"])

        assert [(run.run_id, run.schedule) for run in journal.recent("task", 3)] == [("d", ""), ("c", "y"), ("b", "x")]
        assert journal.prune(keep_runs=2, before=0) == 2
        assert [run.run_id for run in journal.recent("task")] == ["d", "c"]
        assert journal.prune(keep_runs=2, before=0) == 0

    def test_a_claim_repeated_for_another_schedule_is_another_claim(self, journal: Journal) -> None:
        """The same run id is taken then."""
        term = begun(journal)
        journal.write(term, [claim("a", 10, schedule="x")])

        assert journal.write(term, [claim("a", 10), claim("a", 10, schedule="x")]) == [False, True]

    def test_each_schedule_has_its_own_state(self, journal: Journal) -> None:
        """And the task's own state is none of theirs."""
        term = begun(journal)
        journal.set_state(term, "task", '{"n":1}')
        journal.set_state(term, "task", '{"n":2}', "room-1")

        assert [journal.state("task", key) for key in ("", "room-1", "room-2")] == ['{"n":1}', '{"n":2}', "{}"]

    def test_a_plan_is_kept_with_the_mark(self, journal: Journal) -> None:
        """And learnt by a mark that has none, which stays where it is: nothing has changed then."""
        term = begun(journal)

        assert journal.write(term, [Seen("task", 7, plan="every 5s"), Seen("task", 9, plan="every 5s")]) == [
            True,
            False,
        ]
        journal.write(term, [claim("a", 5, task="other")])
        assert journal.write(term, [Seen("other", 9, plan="at 5"), Seen("other", 9)]) == [False, False]
        assert journal.marks() == {("task", ""): Mark(7, "every 5s"), ("other", ""): Mark(5, "at 5")}

    def test_another_plan_moves_the_mark_forward(self, journal: Journal) -> None:
        """So that slots of the new schedule in the past are not taken for missed; it never moves back."""
        term = begun(journal)
        journal.write(term, [Seen("task", 7, "room-1", "every 5s")])

        assert journal.write(term, [Seen("task", 20, "room-1", "every 9s")]) == [True]
        assert journal.marks() == {("task", "room-1"): Mark(20, "every 9s")}
        assert journal.write(term, [Seen("task", 15, "room-1", "every 3s")]) == [True]
        assert journal.marks() == {("task", "room-1"): Mark(20, "every 3s")}
        assert journal.write(term, [claim("a", 20, schedule="room-1"), claim("b", 21, schedule="room-1")]) == [
            False,
            True,
        ]

    def test_a_schedule_dropped_and_made_again_begins_where_it_is_made(self, journal: Journal) -> None:
        """What it would have run in between was wanted by nobody, so it was not missed."""
        term = begun(journal)
        room = Dynamic("task", "room-1", '{"every":5}', "{}", NOW)
        journal.put_schedule(room)
        journal.write(term, [Seen("task", 7, "room-1", "every 5s"), claim("a", 10, schedule="room-1")])
        journal.drop_schedule("task", "room-1")
        journal.put_schedule(room)

        assert journal.marks() == {("task", "room-1"): Mark(10, "")}
        assert journal.write(term, [Seen("task", 90, "room-1", "every 5s")]) == [True]
        assert journal.marks() == {("task", "room-1"): Mark(90, "every 5s")}

    def test_what_a_term_begins_with_is_read_in_one_go(self, journal: Journal) -> None:
        """The same as is answered one by one."""
        assert journal.opening() == ({}, journal.revision(), {}, [], set(), [])
        term = begun(journal)
        journal.put_schedule(Dynamic("task", "room-1", '{"every":5}', "{}", NOW))
        journal.set_paused("task", NOW)
        journal.request(trigger("c"))
        journal.request(Request("d", "cancel", "other", NOW))
        journal.write(term, [claim("a", 10), claim("b", 20), Finish("a", Outcome.SUCCEEDED, NOW)])

        found = journal.opening()

        assert (found.marks, found.revision, found.paused) == (journal.marks(), journal.revision(), journal.paused())
        assert (found.schedules, found.unfinished) == (journal.schedules(), journal.unfinished())
        assert found.asked_of == journal.asked_of() == {("trigger", "task"), ("cancel", "other")}
        assert [run.run_id for run in found.unfinished] == ["b"]
        assert journal.write(term, [claim("e", 30)]) == [True], "nothing is left open"

    def test_a_clock_set_back_begins_a_new_era(self, journal: Journal) -> None:
        """Slots later than the new mark are claimed anew, once; without an era they would stay closed."""
        term = begun(journal)
        journal.write(term, [claim(f"r{slot}", slot) for slot in (10, 20, 30)])
        journal.write(term, [claim("other", 30, schedule="x")])

        assert journal.write(term, [Era("task", 30), Era("task", 40), Era("unheard of", 1)]) == [False] * 3
        assert journal.write(term, [Era("task", 15), Era("task", 15)]) == [True, False]
        assert journal.write(term, [claim("n1", 10), claim("n2", 20), claim("n3", 20)]) == [False, True, False]
        assert journal.write(term, [passed("p", 21, 30), claim("n4", 30)]) == [True, False]
        assert journal.marks() == {("task", ""): Mark(30, None, 30), ("task", "x"): Mark(30, None)}
        assert [run.run_id for run in journal.recent()] == ["p", "n2", "other", "r30", "r20", "r10"]

    def test_a_clock_set_right_again_goes_on_where_it_was(self, journal: Journal) -> None:
        """What lies before has been decided; that very instant is known for as long as the task is."""
        term = begun(journal)
        journal.write(term, [claim("a", 100), Era("task", 15), claim("b", 20), Era("task", 5), claim("c", 6)])
        assert journal.marks() == {("task", ""): Mark(6, None, 100)}

        assert journal.write(term, [Era("task", 99), Era("task", 100), Era("task", 100)]) == [False, True, False]
        assert journal.write(term, [claim("d", 100), claim("e", 101)]) == [False, True]

    def test_an_era_whose_answer_was_lost_opens_no_slot_again(self, journal: Journal) -> None:
        """The whole batch is written once more, as it was."""
        term = begun(journal)
        journal.write(term, [claim("old", 100), claim("old-x", 100, schedule="x")])
        batch: list[Entry] = [Era("task", 15), passed("p", 20, 30), claim("n", 40)]
        batch += [Era("task", 15, "x"), claim("x", 40, schedule="x")]

        assert [journal.write(term, batch) for _ in range(2)] == [[True] * 5] * 2
        assert journal.marks() == {("task", ""): Mark(40, None, 100), ("task", "x"): Mark(40, None, 100)}
        journal.begin_term(0, NOW)
        refused = [claim("again", 40), claim("again-p", 30), claim("again-x", 40, schedule="x")]
        assert journal.write(journal.term(), refused) == [False] * 3

    def test_a_renamed_task_takes_all_along(self, journal: Journal) -> None:
        """Its marks, states, history, successes, and what has been asked of it."""
        term = begun(journal)
        journal.write(
            term, [Seen("old", 7, plan="every 5s"), Seen("old", 8, "x"), keyed("a", "v1", task="old", once=True)]
        )
        journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW), keyed("b", "k", task="old")])
        journal.set_state(term, "old", '{"n":1}', "x")
        journal.request(trigger("r", task="old"))
        journal.set_paused("old", NOW)
        journal.put_schedule(Dynamic("old", "x", "{}", "{}", NOW))

        assert journal.write(term, [Renamed("old", "new"), Renamed("old", "new")]) == [True, False]

        assert journal.marks() == {("new", ""): Mark(7, "every 5s"), ("new", "x"): Mark(8, None)}
        assert (journal.state("new", "x"), journal.state("old", "x")) == ('{"n":1}', "{}")
        assert [run.run_id for run in journal.recent("new")] == ["b", "a"]
        assert journal.recent("old") == []
        assert journal.successes("new") == {"v1"}
        assert [wanted.task for wanted in journal.requests()] == ["new"]
        assert journal.paused() == {("new", ""): NOW}
        assert [(one.task, one.key) for one in journal.schedules()] == [("new", "x")]
        assert journal.request(trigger("again", "k", task="new")) == "b"
        assert journal.write(term, [claim("c", 7, task="new"), claim("d", 8, task="new")]) == [False, True]

    def test_an_old_name_may_begin_a_new_life(self, journal: Journal) -> None:
        """Nothing of the old one is left under it, whoever remembers it: not in the next term of another process."""
        term = begun(journal)
        journal.write(term, [claim("a", 10, task="old")])
        if self.durable:
            other = self.reopen(journal, OTHER)
            other.write(begun(other), [claim("b", 11, task="old")])
            term = begun(journal)
        entries: list[Entry] = [claim("x", None, task="old"), Renamed("old", "new"), claim("c", 5, task="old")]
        assert journal.write(term, entries) == [True] * 3
        if self.durable:
            assert other.write(begun(other), [claim("d", 6, task="old")]) == [True]
            assert other.marks() == {("new", ""): Mark(11, None), ("old", ""): Mark(6, None)}
            other.close()
            return
        assert journal.marks() == {("new", ""): Mark(10, None), ("old", ""): Mark(5, None)}

    def test_a_name_that_has_its_own_life_is_not_overwritten(self, journal: Journal) -> None:
        """After going back to an older version of the code, and forth again. A name that took nothing along has one."""
        term = begun(journal)
        journal.set_state(term, "new", '{"kept":1}')
        journal.set_state(term, "old", "{}")

        entries = [Renamed("old", "new"), Renamed("unheard of", "newer"), Renamed("old", "newer")]
        assert journal.write(term, entries) == [False, True, False]
        assert journal.state("old") == "{}"
        assert journal.state("new") == '{"kept":1}'

    def test_what_was_asked_of_the_new_name_stands(self, journal: Journal) -> None:
        """It was asked by those who know the newer code."""
        term = begun(journal)
        journal.write(term, [Seen("old", 7)])
        for task, spec in (("old", "1"), ("new", "2")):
            journal.put_schedule(Dynamic(task, "x", spec, "{}", NOW))
            journal.set_paused(task, NOW + int(spec))

        assert journal.write(term, [Renamed("old", "new")]) == [True]
        assert [one.spec for one in journal.schedules()] == ["2"]
        assert journal.paused() == {("new", ""): NOW + 2}

    def test_a_range_that_passed_says_why(self, journal: Journal) -> None:
        """As skipped, missed or lost."""
        term = begun(journal)
        for number, outcome in enumerate((Outcome.SKIPPED, Outcome.MISSED, Outcome.LOST), 1):
            journal.write(term, [Passed(f"{number}", "task", number, number, 1, outcome, NOW, why=f"because {number}")])

        told = [(run.outcome, run.error) for run in journal.recent()]
        assert told == [(Outcome.LOST, "because 3"), (Outcome.MISSED, "because 2"), (Outcome.SKIPPED, "because 1")]
        assert journal.unfinished() == []
        assert found(journal, "1").attempt == 0
