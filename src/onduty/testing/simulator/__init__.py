"""Whole stories of workers, crashes and clocks, played in one thread, from a seed.

Several workers of one machine stand by, lead and step down; their processes are killed in the middle of a write, or
stopped and woken late; the lock is lost, the disk refuses, forgets to answer or is full, the clock is set, the power
cut, the journal restored from an older copy; meanwhile somebody triggers, cancels, pauses and schedules. The scheduler,
and all it decides with, is the one that runs in production. Replaced are the clock, the threads of the runs, the lock,
and the question whether a process lives.

In every story these promises are watched: a slot is claimed and run once; no slot, run or request vanishes; terms only
grow, and none but the newest writes; runs of a task do not overlap, also across terms; a once key succeeds once;
requests are run in order; and once faults have ended, everything goes on::

    >>> from onduty.testing.simulator import simulate
    >>> simulate(7).violation is None
    True

A seed that breaks a promise is a story: ``print(simulate(seed))``. For many: ``python -m onduty.testing.simulator``.

Not promised: that what it knows nothing of is right, such as threads, sockets, SQLite and real files. Those are tested
as they are.
"""

from __future__ import annotations

from onduty.testing.simulator.story import Story, simulate

__all__ = ["Story", "simulate"]
