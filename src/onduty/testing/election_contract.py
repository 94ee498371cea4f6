"""What every election promises, as tests: subclass :class:`ElectionContract`, give it a ``candidate`` fixture, run.

The fixture answers a function that makes one more candidate, of the process ``ME``, for the one scope of the test; each
call is another candidate. ``crash`` makes a holder vanish as its death would: without a word.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from onduty.election import Election
from onduty.errors import StoreUnavailable
from onduty.process import this_process

ME = this_process()
NOW = 1_800_000_000_000_000

Candidates = Callable[[], Election]

__all__ = ["ME", "NOW", "Candidates", "ElectionContract"]


class ElectionContract:
    """Each test is one promise of ``onduty.election.Election``."""

    def crash(self, holder: Election) -> None:
        """``holder`` is gone, and what it held with it; nothing of its clean end is written."""
        raise NotImplementedError("an election's test class says how one of its holders dies")

    def test_one_of_two_wins_and_the_other_one_after_it_let_go(self, candidate: Candidates) -> None:
        """Losing is an answer, and the loser may ask again and again."""
        first, second = candidate(), candidate()

        assert (first.campaign(), second.campaign(), second.campaign()) == (True, False, False)
        first.resign()

        assert second.campaign()
        assert not first.campaign()
        second.resign()

    def test_of_many_that_ask_at_once_one_wins(self, candidate: Candidates) -> None:
        """Each in a thread of its own."""
        candidates = [candidate() for _ in range(8)]
        ready = threading.Barrier(len(candidates))
        won: list[Election] = []

        def ask(one: Election) -> None:
            ready.wait()
            if one.campaign():
                won.append(one)

        threads = [threading.Thread(target=ask, args=(one,)) for one in candidates]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(won) == 1
        for one in candidates:
            one.resign()

    def test_who_holds_it_knows_and_who_does_not_knows_too(self, candidate: Candidates) -> None:
        """Before, while and after; a holder that asks again still has it."""
        holder, standby = candidate(), candidate()
        assert not holder.still_mine()

        holder.campaign()
        standby.campaign()
        assert (holder.still_mine(), standby.still_mine()) == (True, False)
        assert holder.campaign()

        holder.resign()
        assert not holder.still_mine()

    def test_to_let_go_of_nothing_is_harmless(self, candidate: Candidates) -> None:
        """Before anything was won, twice, and by a loser: the holder still holds."""
        holder, standby = candidate(), candidate()
        holder.resign()
        holder.campaign()
        standby.campaign()

        standby.resign()
        standby.resign()

        assert holder.still_mine()
        holder.resign()
        holder.resign()

    def test_before_the_first_nobody_was_last(self, candidate: Candidates) -> None:
        """Nothing is made up."""
        assert candidate().last() is None

    def test_anybody_reads_who_leads_and_under_which_term(self, candidate: Candidates) -> None:
        """Written by the winner; the term is the floor of the next."""
        holder = candidate()
        holder.campaign()
        holder.began(41, NOW)

        told = candidate().last()

        assert told is not None
        assert (told.process, told.term, told.since, told.clean) == (ME, 41, NOW, False)
        assert (told.reserved_until, told.gap) == (0, False)
        holder.resign()

    def test_the_next_one_reads_that_the_last_let_go_by_itself(self, candidate: Candidates) -> None:
        """Then its runs may linger; the record stays otherwise."""
        holder, successor = candidate(), candidate()
        holder.campaign()
        holder.began(41, NOW)
        holder.reserve(NOW + 60, False, 7)
        holder.resign(NOW + 5, 9)

        told = successor.last()

        assert told is not None
        assert (told.term, told.clean, told.reserved_until, told.row) == (41, True, NOW + 5, 9)
        assert successor.campaign()
        successor.began(42, NOW + 1)
        told = candidate().last()
        assert told is not None
        assert (told.term, told.clean, told.row) == (42, False, 0)
        successor.resign()

    def test_a_dead_holder_is_followed_and_did_not_let_go_by_itself(self, candidate: Candidates) -> None:
        """However it dies."""
        holder, successor = candidate(), candidate()
        holder.campaign()
        holder.began(41, NOW)
        assert not successor.campaign()

        self.crash(holder)

        assert successor.campaign()
        told = successor.last()
        assert told is not None
        assert (told.term, told.clean) == (41, False)
        successor.resign()

    def test_what_is_reserved_is_for_the_next_to_read(self, candidate: Candidates) -> None:
        """Also after a death; a new tenure begins with its own."""
        holder, successor = candidate(), candidate()
        holder.campaign()
        holder.began(41, NOW)
        holder.reserve(NOW + 60, gap=True, row=7)
        self.crash(holder)

        told = successor.last()

        assert told is not None
        assert (told.term, told.reserved_until, told.gap, told.row) == (41, NOW + 60, True, 7)
        successor.campaign()
        successor.began(42, NOW + 1, NOW + 90, True, 8)
        told = candidate().last()
        assert told is not None
        assert (told.reserved_until, told.gap, told.row) == (NOW + 90, True, 8)
        successor.resign()

    def test_who_does_not_hold_it_writes_nothing(self, candidate: Candidates) -> None:
        """Neither who leads nor what is reserved."""
        idle = candidate()
        writes: list[Callable[[], None]] = [lambda: idle.began(41, NOW), lambda: idle.reserve(NOW, gap=False, row=0)]
        for write in writes:
            try:
                write()
            except StoreUnavailable:
                continue
            raise AssertionError("a candidate that holds nothing wrote into the record")
        assert candidate().last() is None

    def test_a_healthy_candidate_is_intact(self, candidate: Candidates) -> None:
        """Whether it holds or not."""
        holder, standby = candidate(), candidate()
        holder.campaign()
        standby.campaign()

        assert (holder.is_intact, standby.is_intact, candidate().is_intact) == (True, True, True)
        holder.resign()

    def test_who_has_won_is_no_heir(self, candidate: Candidates) -> None:
        """If it can be seen at all; nobody is once it has let go."""
        holder = candidate()
        holder.campaign()
        holder.began(41, NOW)
        assert not candidate().heirs()

        holder.resign()

        assert candidate().heirs() == ()
        assert not candidate().is_held_by(ME)
