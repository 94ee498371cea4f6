"""What every journal promises, as tests: subclass :class:`JournalContract`, give it a ``journal`` fixture, run.

The fixture answers an opened journal of the process ``ME``. ``reopen`` answers another view of the same store, as
another process would have it; a journal that forgets with its process says so with ``durable = False``.
"""

from __future__ import annotations

import threading
from typing import Any

from onduty.errors import TermLost
from onduty.journal import Journal, Mark, Outcome, RunRecord
from onduty.journal.entries import Begin, Claim, Entry, Finish, Lost, Seen
from onduty.process import ProcessId
from onduty.testing.journal_parts import ME, NOW, OTHER, begun, claim, found, passed, refuses
from onduty.testing.journal_requests import RequestsContract
from onduty.testing.journal_runs import RunsContract
from onduty.testing.journal_schedules import SchedulesContract

__all__ = ["ME", "NOW", "OTHER", "JournalContract"]


class JournalContract(SchedulesContract, RunsContract, RequestsContract):
    """Each test is one promise of ``onduty.journal.Journal``."""

    durable = True

    def reopen(self, journal: Any, me: ProcessId) -> Journal:
        """The same store, seen by another process."""
        raise NotImplementedError("a durable journal's test class says how to open it again")

    def test_the_first_term_is_the_present_second_and_the_next_is_one_more(self, journal: Journal) -> None:
        """Counting from 1 would make a resource fenced by an older term refuse us for ever."""
        assert journal.term() == 0

        assert journal.begin_term(0, NOW) == NOW // 1_000_000
        assert journal.begin_term(0, NOW) == NOW // 1_000_000 + 1

    def test_a_term_goes_beyond_the_floor(self, journal: Journal) -> None:
        """What the lock file remembers counts, should the journal have been lost."""
        assert journal.begin_term(41, NOW) == 42
        assert journal.begin_term(7, NOW) == 43

    def test_no_term_is_0_even_at_the_beginning_of_time(self, journal: Journal) -> None:
        """0 means that there was none; a clock moved by hand may stand at the epoch."""
        assert [journal.begin_term(0, 0), journal.begin_term(0, 0)] == [1, 2]
        assert journal.term() == 2

    def test_a_slot_is_claimed_once(self, journal: Journal) -> None:
        """The second claim of a slot is refused, in the same batch and later."""
        term = journal.begin_term(0, NOW)

        assert journal.write(term, [claim("a", 10), claim("b", 10)]) == [True, False]
        assert journal.write(term, [claim("c", 10)]) == [False]

    def test_the_mark_only_moves_forward(self, journal: Journal) -> None:
        """A slot before the mark is never claimed again, pruned or not."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10)])

        assert journal.write(term, [claim("b", 9)]) == [False]
        assert journal.marks() == {("task", ""): Mark(10, None)}

    def test_a_claim_whose_answer_was_lost_is_accepted_again(self, journal: Journal) -> None:
        """The same run id under the same term is the same claim."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10), claim("free", None)])

        assert journal.write(term, [claim("a", 10), claim("free", None)]) == [True, True]
        assert len(journal.recent()) == 2

    def test_a_refused_claim_moves_no_mark(self, journal: Journal) -> None:
        """A run id that is taken is refused for another slot or task: it is not the same claim."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10)])

        assert journal.write(term, [claim("a", 11), claim("a", 10, task="other"), claim("a", None)]) == [False] * 3
        assert journal.marks() == {("task", ""): Mark(10, None)}
        assert journal.write(term, [claim("b", 11)]) == [True]

    def test_a_claim_of_an_older_term_is_not_the_same_claim(self, journal: Journal) -> None:
        """The next leader may not start what its predecessor was given, though it knows the run's id."""
        journal.write(journal.begin_term(0, NOW), [claim("a", 10)])
        term = journal.begin_term(0, NOW)

        assert journal.write(term, [claim("a", 10)]) == [False]

    def test_a_run_without_a_slot_moves_no_mark(self, journal: Journal) -> None:
        """Services and triggered runs: any number of them."""
        term = journal.begin_term(0, NOW)

        assert journal.write(term, [claim("a", None), claim("b", None)]) == [True, True]
        assert journal.marks() == {}
        assert [record.slot for record in journal.recent()] == [None, None]

    def test_of_many_threads_one_gets_the_slot(self, journal: Journal) -> None:
        """Claims are decided one after the other, whoever asks."""
        term = journal.begin_term(0, NOW)
        accepted: list[bool] = []

        def claim_all(name: int) -> None:
            for slot in range(20):
                accepted.extend(journal.write(term, [claim(f"{name}-{slot}", slot + 1)]))

        threads = [threading.Thread(target=claim_all, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert journal.marks() == {("task", ""): Mark(20, None)}
        slots = [record.slot for record in journal.recent(limit=200)]
        assert len(slots) == len(set(slots)) == sum(accepted)

    def test_an_older_term_is_refused_but_may_tell_how_its_runs_ended(self, journal: Journal) -> None:
        """That is the fence; a run that outlived its leader is still recorded."""
        old = journal.begin_term(0, NOW)
        journal.write(old, [claim("a", 10)])
        journal.begin_term(0, NOW)

        for refused in ([claim("b", 11)], [Seen("new", 1)], [Lost("a", NOW)], [passed("p", 11, 12)]):
            refuses(journal, old, refused)
        refuses(journal, old, [Finish("a", Outcome.SUCCEEDED, NOW)])

        assert found(journal, "a").outcome is Outcome.SUCCEEDED
        assert journal.marks() == {("task", ""): Mark(10, None)}

    def test_a_run_ends_once(self, journal: Journal) -> None:
        """The first outcome stands."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10)])

        ended = Finish("a", Outcome.FAILED, NOW + 5, error="ValueError: no", result=None)
        assert journal.write(term, [ended, Finish("a", Outcome.SUCCEEDED, NOW + 6)]) == [True, False]
        assert (found(journal, "a").error, found(journal, "a").ended_at) == ("ValueError: no", NOW + 5)

    def test_a_queued_run_begins_once_and_is_tried_again_once(self, journal: Journal) -> None:
        """An attempt is a compare-and-set on the number before it."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10, begin=False)])

        assert found(journal, "a").attempt == 0
        assert journal.write(term, [Begin("a", 1, NOW), Begin("a", 1, NOW + 1)]) == [True, False]
        assert journal.write(term, [Begin("a", 3, NOW), Begin("a", 2, NOW)]) == [False, True]
        journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.write(term, [Begin("a", 3, NOW)]) == [False]

    def test_a_row_tells_the_whole_story(self, journal: Journal) -> None:
        """Who, when, with what, and how it ended; the start is that of the last attempt."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [Claim("a", "task", 10, NOW, begin=False, kwargs='{"user":3}')])
        queued = found(journal, "a")
        journal.write(term, [Begin("a", 1, NOW + 1)])
        journal.write(term, [Begin("a", 2, NOW + 2), Finish("a", Outcome.SUCCEEDED, NOW + 3, result='"done"')])

        assert (queued.attempt, queued.started_at, queued.ended_at, queued.outcome) == (0, None, None, None)
        assert found(journal, "a") == RunRecord(
            run_id="a",
            task="task",
            slot=10,
            first_slot=10,
            slots=1,
            term=term,
            attempt=2,
            process=ME,
            created_at=NOW,
            started_at=NOW + 2,
            ended_at=NOW + 3,
            outcome=Outcome.SUCCEEDED,
            kwargs='{"user":3}',
            result='"done"',
            error=None,
        )
        assert journal.get("unheard of") is None

    def test_a_queued_run_is_taken_over_by_the_next_leader(self, journal: Journal) -> None:
        """From then on it is of the new term."""
        journal.write(journal.begin_term(0, NOW), [claim("a", None, begin=False)])
        term = journal.begin_term(0, NOW)

        assert [record.attempt for record in journal.unfinished()] == [0]
        assert journal.write(term, [Begin("a", 1, NOW)]) == [True]
        assert found(journal, "a").term == term

    def test_unfinished_rows_come_oldest_first(self, journal: Journal) -> None:
        """Queued and running ones alike, of all tasks; ranges of slots have ended."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("c", None), passed("p", 1, 5), claim("b", 9, begin=False), claim("a", 10)])
        journal.write(term, [Finish("c", Outcome.STOPPED, NOW), claim("x", 1, task="other")])

        assert [record.run_id for record in journal.unfinished()] == ["b", "a", "x"]

    def test_a_range_of_slots_is_one_row_and_moves_the_mark(self, journal: Journal) -> None:
        """A million missed slots are told in one row."""
        term = journal.begin_term(0, NOW)

        assert journal.write(term, [passed("p", 10, 1_000_000), passed("q", 5, 20)]) == [True, False]
        record = found(journal, "p")
        assert (record.first_slot, record.slot, record.slots) == (10, 1_000_000, 999_991)
        assert record.outcome is Outcome.MISSED
        assert journal.marks() == {("task", ""): Mark(1_000_000, None)}

    def test_a_task_that_waits_for_its_first_slot_is_remembered(self, journal: Journal) -> None:
        """Else the next leader would take it for new, and forget a slot due in between."""
        term = journal.begin_term(0, NOW)

        assert journal.write(term, [Seen("task", 7), Seen("task", 9)]) == [True, False]
        assert journal.marks() == {("task", ""): Mark(7, None)}
        assert journal.recent() == []

    def test_how_far_it_has_come_only_grows(self, journal: Journal) -> None:
        """By terms, and by rows; an older copy of it is known by that."""
        assert journal.newest() == (0, 0)
        term = begun(journal)
        assert journal.newest() == (term, 0)
        journal.write(term, [claim("a", 10), passed("p", 11, 12)])
        come = journal.newest()
        journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.newest() == come
        journal.write(term, [claim("b", 13)])
        assert journal.newest().row > come.row

    def test_a_lost_run_has_its_outcome_from_the_next_leader(self, journal: Journal) -> None:
        """And only if it has none yet."""
        journal.write(journal.begin_term(0, NOW), [claim("a", 10), claim("b", 11)])
        term = journal.begin_term(0, NOW)
        journal.write(term, [Finish("b", Outcome.SUCCEEDED, NOW)])

        assert [record.run_id for record in journal.unfinished()] == ["a"]
        assert journal.write(term, [Lost("a", NOW), Lost("b", NOW)]) == [True, False]
        assert found(journal, "a").outcome is Outcome.LOST
        assert journal.unfinished() == []

    def test_a_lost_run_that_shall_run_again_is_queued(self, journal: Journal) -> None:
        """For this leader or the next; under the term of neither it has ended."""
        journal.write(journal.begin_term(0, NOW), [claim("a", 10)])
        term = journal.begin_term(0, NOW)

        assert journal.write(term, [Lost("a", NOW + 5, again=True), Lost("b", NOW, again=True)]) == [True, False]
        assert (found(journal, "a").outcome, found(journal, "a").retry_at) == (None, NOW + 5)
        term = journal.begin_term(0, NOW)
        batch: list[Entry] = [Lost("a", NOW, again=True), Begin("a", 2, NOW)]
        assert journal.write(term, batch) == [True, True]
        assert journal.write(term, batch) == [False, True]  # said again, for the answer was lost
        assert found(journal, "a").retry_at is None

    def test_recent_rows_come_newest_first(self, journal: Journal) -> None:
        """Of one task or of all, and no more than asked for."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 1), claim("x", 1, task="other"), claim("b", 2), claim("c", 3)])

        assert [record.run_id for record in journal.recent("task", 2)] == ["c", "b"]
        assert [record.run_id for record in journal.recent()] == ["c", "b", "x", "a"]
        assert journal.recent("unheard of") == []

    def test_pruning_keeps_marks_and_what_still_runs(self, journal: Journal) -> None:
        """A pruned slot can't be claimed again."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim(f"r{slot}", slot) for slot in range(1, 11)])
        journal.write(term, [Finish(f"r{slot}", Outcome.SUCCEEDED, NOW + slot) for slot in range(1, 10)])

        assert journal.prune(keep_runs=4, before=0) == 6
        assert journal.prune(keep_runs=4, before=0) == 0
        assert journal.prune(keep_runs=4, before=NOW + 9) == 2
        assert [record.run_id for record in journal.recent()] == ["r10", "r9"]
        assert journal.write(term, [claim("again", 3)]) == [False]

    def test_pruning_counts_back_from_the_newest_row(self, journal: Journal) -> None:
        """An old run that is still going on does not cost a newer one its row."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("old", 1), claim("b", 2), claim("c", 3)])
        journal.write(term, [Finish("b", Outcome.SUCCEEDED, NOW), Finish("c", Outcome.SUCCEEDED, NOW)])

        assert journal.prune(keep_runs=2, before=0) == 0
        assert journal.prune(keep_runs=1, before=0) == 1
        assert [record.run_id for record in journal.recent()] == ["c", "old"]

    def test_pruning_goes_in_steps(self, journal: Journal) -> None:
        """So that a large clean-up holds up nobody's claim."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim(f"{n}", n, task=f"task {n % 2}") for n in range(1, 2501)])
        journal.write(term, [Finish(f"{n}", Outcome.SUCCEEDED, NOW) for n in range(1, 2501)])

        steps = list(iter(lambda: journal.prune(keep_runs=5, before=0), 0))

        assert (sum(steps), max(steps) <= 1000) == (2490, True)
        assert [record.run_id for record in journal.recent(limit=20)] == [f"{n}" for n in range(2500, 2490, -1)]
        assert journal.marks() == {("task 0", ""): Mark(2500, None), ("task 1", ""): Mark(2499, None)}

    def test_state_is_kept_and_fenced(self, journal: Journal) -> None:
        """An older term's assignment is refused and changes nothing."""
        old = journal.begin_term(0, NOW)
        assert journal.state("task") == "{}"
        journal.set_state(old, "task", '{"seen":1}')
        term = journal.begin_term(0, NOW)

        try:
            journal.set_state(old, "task", '{"seen":2}')
        except TermLost:
            pass
        else:
            raise AssertionError("an older term changed the state")

        assert journal.state("task") == '{"seen":1}'
        journal.set_state(term, "task", '{"seen":3}')
        assert journal.state("task") == '{"seen":3}'

    def test_it_may_be_opened_and_closed_again(self, journal: Journal) -> None:
        """Both are harmless twice, and what was written stays."""
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10)])

        journal.open(ME)
        journal.close()
        journal.close()
        journal.open(ME)

        assert journal.term() == term
        assert journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW)]) == [True]

    def test_another_process_sees_it_all_and_can_not_end_our_runs(self, journal: Journal) -> None:
        """A journal that forgets with its process has no other to show."""
        if not self.durable:
            return
        term = journal.begin_term(0, NOW)
        journal.write(term, [claim("a", 10)])

        other = self.reopen(journal, OTHER)
        try:
            assert other.term() == term
            assert other.write(term, [Finish("a", Outcome.SUCCEEDED, NOW)]) == [False]
            assert found(other, "a").process == ME
        finally:
            other.close()
