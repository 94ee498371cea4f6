"""For tests of applications that use onduty, and for our own: time that moves only when told."""

from __future__ import annotations

from onduty.testing.clock import ManualClock

__all__ = ["ManualClock"]
