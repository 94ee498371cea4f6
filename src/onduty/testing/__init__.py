"""For tests of applications that use onduty, and for our own: time that moves only when told."""

from __future__ import annotations

from onduty.testing.checker import Ran, check_facts, check_runs
from onduty.testing.clock import ManualClock
from onduty.testing.rehearsal import Rehearsal, use
from onduty.testing.report import RunReport

__all__ = ["ManualClock", "Ran", "Rehearsal", "RunReport", "check_facts", "check_runs", "use"]
