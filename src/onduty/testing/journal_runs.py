"""What every journal promises of a run on its way: keys, the wait for another attempt, progress and log."""

from __future__ import annotations

from typing import Any

from onduty.journal import Journal, Outcome
from onduty.journal.entries import Again, Answered, Begin, Claim, Entry, Era, Finish, Lost, Note, Renamed
from onduty.process import ProcessId
from onduty.testing.journal_parts import ME, NOW, OTHER, begun, claim, found, keyed, refuses, trigger


class RunsContract:
    """Each test is one promise of ``onduty.journal.Journal``."""

    durable = True

    def reopen(self, journal: Any, me: ProcessId) -> Journal:
        """The same store, seen by another process."""
        raise NotImplementedError

    # Keys

    def test_a_key_is_in_progress_once(self, journal: Journal) -> None:
        """Queued or running; of another task or after its end it is free. A refused one moves no mark."""
        term = begun(journal)

        assert journal.write(term, [keyed("a", "k", begin=False), keyed("b", "k"), keyed("c", "other")]) == [
            True,
            False,
            True,
        ]
        assert journal.write(term, [keyed("d", "k", task="other"), Claim("e", "task", 5, NOW, key="k")]) == [
            True,
            False,
        ]
        assert journal.marks() == {}
        journal.write(term, [Begin("a", 1, NOW)])
        assert journal.write(term, [keyed("f", "k")]) == [False]
        journal.write(term, [Finish("a", Outcome.FAILED, NOW)])
        assert journal.write(term, [keyed("g", "k"), Lost("g", NOW), keyed("h", "k")]) == [True] * 3
        assert (found(journal, "h").key, found(journal, "h").once) == ("k", False)

    def test_a_key_waits_for_its_next_attempt_as_well(self, journal: Journal) -> None:
        """It is still queued then."""
        term = begun(journal)
        journal.write(term, [keyed("a", "k"), Again("a", 1, NOW + 9, NOW, "no")])

        assert journal.write(term, [keyed("b", "k")]) == [False]

    def test_once_means_one_success_for_ever(self, journal: Journal) -> None:
        """A failure may be tried again; after a success the key is taken, pruned or not, in any term."""
        term = begun(journal)
        journal.write(term, [keyed("a", "v7", once=True), Finish("a", Outcome.FAILED, NOW)])
        assert journal.write(term, [keyed("b", "v7", once=True)]) == [True]
        assert journal.successes("task") == set()
        journal.write(term, [Finish("b", Outcome.SUCCEEDED, NOW)])
        assert journal.prune(0, NOW + 1) == 2

        term = begun(journal)
        assert journal.write(term, [keyed("c", "v7", once=True), keyed("d", "v8", once=True)]) == [False, True]
        assert (found(journal, "d").key, found(journal, "d").once) == ("v8", True)
        assert (journal.successes("task"), journal.successes("other")) == ({"v7"}, set())

    def test_a_success_without_once_leaves_the_key_free(self, journal: Journal) -> None:
        """``options(key=…)`` is about what is in progress."""
        term = begun(journal)
        journal.write(term, [keyed("a", "k"), Finish("a", Outcome.SUCCEEDED, NOW)])

        assert journal.write(term, [keyed("b", "k", once=True)]) == [True]
        assert journal.successes("task") == set()

    def test_the_success_of_a_run_that_outlived_its_leader_counts(self, journal: Journal) -> None:
        """The next leader must not run it again."""
        old = begun(journal)
        journal.write(old, [keyed("a", "v7", once=True)])
        term = begun(journal)
        refuses(journal, old, [Finish("a", Outcome.SUCCEEDED, NOW)])

        assert journal.successes("task") == {"v7"}
        assert journal.write(term, [keyed("b", "v7", once=True)]) == [False]

    # Attempts

    def test_a_failed_attempt_waits_for_the_next(self, journal: Journal) -> None:
        """Without an outcome, until it begins again; what went wrong is told meanwhile, and no longer in the end."""
        term = begun(journal)
        journal.write(term, [claim("a", 10)])

        assert journal.write(term, [Again("a", 1, NOW + 9, NOW + 1, "ValueError: no")]) == [True]
        waiting = found(journal, "a")
        assert (waiting.attempt, waiting.retry_at, waiting.error) == (1, NOW + 9, "ValueError: no")
        assert (waiting.outcome, waiting.ended_at) == (None, None)
        assert [run.run_id for run in journal.unfinished()] == ["a"]

        assert journal.write(term, [Begin("a", 2, NOW + 9)]) == [True]
        assert (found(journal, "a").attempt, found(journal, "a").retry_at) == (2, None)
        assert journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW + 10)]) == [True]
        assert found(journal, "a").error is None

    def test_the_next_attempt_is_set_once_for_each(self, journal: Journal) -> None:
        """Another attempt's number is refused, and so is a row that has ended; a lost answer is given again."""
        term = begun(journal)
        journal.write(term, [claim("a", 10)])

        assert journal.write(term, [Again("a", 2, NOW, NOW, None), Again("b", 1, NOW, NOW, None)]) == [False, False]
        again = Again("a", 1, NOW + 9, NOW, "no")
        assert journal.write(term, [again, again]) == [True, True]
        journal.write(term, [Begin("a", 2, NOW)])
        assert journal.write(term, [again]) == [False]
        journal.write(term, [Finish("a", Outcome.FAILED, NOW)])
        assert journal.write(term, [Again("a", 2, NOW, NOW, None)]) == [False]

    def test_a_beginning_whose_answer_was_lost_is_accepted_again(self, journal: Journal) -> None:
        """Else nobody would begin it: its row says that it runs. Another beginning of that attempt is refused."""
        term = begun(journal)
        journal.write(term, [claim("a", 10, begin=False), claim("b", 11), Again("b", 1, NOW, NOW, "no")])

        for begin in (Begin("a", 1, NOW), Begin("b", 2, NOW)):
            assert journal.write(term, [begin]) == [True]
            assert journal.write(term, [begin, begin._replace(at=NOW + 1)]) == [True, False]
        journal.write(term, [Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.write(term, [Begin("a", 1, NOW)]) == [False]

    def test_a_run_given_up_while_it_waits_no_longer_waits(self, journal: Journal) -> None:
        """It has ended."""
        term = begun(journal)
        for run, end in (("a", Finish("a", Outcome.FAILED, NOW)), ("b", Lost("b", NOW))):
            journal.write(term, [claim(run, None), Again(run, 1, NOW + 9, NOW, "no"), end])

            assert (found(journal, run).retry_at, found(journal, run).outcome) == (None, end_of(end))

    def test_a_waiting_run_is_begun_by_the_next_leader(self, journal: Journal) -> None:
        """Or ended: it is nobody's process's. What runs elsewhere is not ours to end, nor to try again."""
        if not self.durable:
            return
        term = begun(journal)
        runs = [claim("a", 1), claim("b", 2), claim("c", 3, begin=False), claim("d", 4), claim("e", 5)]
        journal.write(term, [*runs, Again("a", 1, NOW, NOW, "no"), Again("b", 1, NOW, NOW, "no")])
        other = self.reopen(journal, OTHER)
        try:
            term = begun(other)
            assert other.write(term, [Begin("a", 2, NOW), Again("a", 2, NOW, NOW, "no")]) == [True, True]
            ends = [Finish(run, Outcome.STOPPED, NOW) for run in "bcd"]
            assert other.write(term, ends) == [True, True, False]
            assert other.write(term, [Again("d", 1, NOW, NOW, "no")]) == [False]
            assert (found(other, "a").process, found(other, "d").process) == (OTHER, ME)
            other.write(term, [claim("q", 6, begin=False)])
            refuses(journal, term - 1, [Finish("q", Outcome.STOPPED, NOW), Finish("d", Outcome.SUCCEEDED, NOW)])
            assert (found(other, "q").outcome, found(other, "d").outcome) == (None, Outcome.SUCCEEDED)
        finally:
            other.close()

    # Progress and log

    def test_a_run_tells_how_far_it_has_come(self, journal: Journal) -> None:
        """The last note stands, also after its end; a log stays until another one replaces it."""
        term = begun(journal)
        journal.write(term, [claim("a", 10)])
        assert (found(journal, "a").progress, found(journal, "a").text, journal.log("a")) == (0.0, "", "[]")

        assert journal.write(term, [Note("a", 0.25, "a quarter", '["one"]'), Note("a", 0.5, "half")]) == [True, True]
        assert (found(journal, "a").progress, found(journal, "a").text, journal.log("a")) == (0.5, "half", '["one"]')
        journal.write(term, [Note("a", 1.0, "", '["one","two"]'), Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.write(term, [Note("a", 0.1, "late", "[]"), Note("b", 0.1, "", "[]")]) == [False, False]
        assert (found(journal, "a").progress, journal.log("a"), journal.log("b")) == (1.0, '["one","two"]', "[]")

    def test_a_pruned_run_takes_its_log_along(self, journal: Journal) -> None:
        """A run that gets its number, or its id, later has an empty one."""
        term = begun(journal)
        journal.write(term, [claim("a", 1), Note("a", 1.0, "", '["one"]'), Finish("a", Outcome.SUCCEEDED, NOW)])
        assert journal.prune(0, 0) == 1

        assert journal.log("a") == "[]"
        journal.write(term, [claim("a", 2)])
        assert journal.log("a") == "[]"

    # The fence

    def test_all_that_leaders_write_is_fenced(self, journal: Journal) -> None:
        """Of an older term nothing but the end of a run is accepted."""
        old = begun(journal)
        journal.write(old, [claim("a", 10)])
        journal.request(trigger("r"))
        term = begun(journal)

        refused: list[Entry] = [
            Again("a", 1, NOW, NOW, None),
            Note("a", 1.0, "", "[]"),
            Era("task", 5),
            Renamed("task", "new"),
        ]
        for entry in (*refused, Answered("r")):
            refuses(journal, old, [entry])
        assert (found(journal, "a").retry_at, found(journal, "a").progress) == (None, 0.0)
        assert [wanted.id for wanted in journal.requests()] == ["r"]
        assert journal.write(term, [*refused, Answered("r")]) == [True] * 5


def end_of(entry: Finish | Lost) -> Outcome:
    return entry.outcome if isinstance(entry, Finish) else Outcome.LOST
