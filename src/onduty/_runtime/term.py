"""What one tenure is made of: handed to everything that acts in its name."""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
from collections.abc import Callable
from typing import NamedTuple

from onduty.clock import SECOND
from onduty.journal import Journal
from onduty.process import ProcessId

AHEAD = 2_000
"""Microseconds: see ``Term.ahead``."""


class Term(NamedTuple):
    """``number`` goes into every write; ``fencing`` is what runs are shown: the same, or 0 in every-worker work.

    ``holds``: asked before every batch of claims, whether the election is still ours.
    ``keep_runs`` of each task and ``keep_for`` microseconds of history are kept in the journal.
    ``may_linger``: the leader before us let go by itself, or nothing is known of it: its process may live.
    ``lost_until``: slots up to this one may have been run by it without a row.
    ``ahead``: microseconds before its slot at which a run may be claimed, if its task is idle; its thread holds it
    until the slot. So neither the journal nor the change of threads makes it late. A leader that dies in between leaves
    it *lost*.
    ``reserve``: note, where the next leader will look, that from now on runs may go without a row (or no more). It was
    done when the term began, with whether there was something in doubt.
    """

    app: str
    number: int
    fencing: int
    journal: Journal
    holds: Callable[[], bool]
    me: ProcessId
    may_linger: bool = False
    lost_until: int = 0
    reserve: Callable[[bool], None] = lambda gap: None
    keep_runs: int = 1000
    keep_for: int = 30 * 86_400 * SECOND
    ahead: int = AHEAD
