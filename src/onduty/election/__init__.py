"""The port to the way of asking: may this process lead?

Losing is an ordinary answer (``False``). Not knowing is an error (``StoreUnavailable``), and whoever does not know
behaves as a standby.
"""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
from datetime import datetime
from typing import NamedTuple, Protocol

from onduty.process import ProcessId

__all__ = ["Election", "Leader", "Tenure"]


class Leader(NamedTuple):
    """Who is on duty: one tenure. ``since`` is UTC."""

    host: str
    pid: int
    term: int
    since: datetime


class Tenure(NamedTuple):
    """What is remembered of the last one who won. ``clean``: it let go by itself. ``since``: microseconds UTC.

    ``reserved_until``, microseconds UTC: until then it may have run slots whose rows a power cut took; with ``gap``,
    slots whose rows could not be written.
    ``row``: the number of the newest row that its journal had.
    """

    process: ProcessId
    term: int
    since: int
    clean: bool
    reserved_until: int = 0
    gap: bool = False
    row: int = 0


class Election(Protocol):
    """One candidate's side of an election. Not thread-safe, but for :meth:`still_mine`: one thread asks."""

    def campaign(self) -> bool:
        """Ask once, at once. ``True``: we hold it until :meth:`resign`, or until :meth:`still_mine` says no."""

    def last(self) -> Tenure | None:
        """The present or the last tenure; ``None``: none is remembered. Raises ``StoreUnavailable``: not known."""

    def began(self, term: int, since: int, until: int = 0, gap: bool = False, row: int = 0) -> None:
        """Write down, for good, who leads, and under which term; the others as in :meth:`reserve`."""

    def reserve(self, until: int, gap: bool, row: int) -> None:
        """Write down, for good, what the next leader reads as ``reserved_until``, ``gap`` and ``row``.

        For the thread that :meth:`began` has started, and after it has ended for ours. Raises ``StoreUnavailable``.
        """

    def still_mine(self) -> bool:
        """Whether what was won is still held. Cheap: asked before every batch of claims."""

    def resign(self, until: int | None = None, row: int | None = None) -> None:
        """Let go. Harmless when nothing is held.

        ``until``: no slot later than that was run, so nothing beyond it stays reserved. Without ``row``, the one that
        was said last counts.
        """

    @property
    def is_new(self) -> bool:
        """Whether the last campaign had to make what it won: an older leader may not know yet that it lost it."""

    @property
    def is_intact(self) -> bool:
        """``False``: this process lost the means to take part, such as its descriptors, for good."""

    def is_held_by(self, process: ProcessId) -> bool:
        """Whether that process holds it, as far as can be seen from here: certain when true."""

    def heirs(self) -> tuple[int, ...] | None:
        """The pids that keep it held and have not won it themselves, as far as they can be seen from here.

        ``None``: whoever holds it has won it.
        """
