"""Fixtures for pytest. In the ``conftest.py`` of your tests::

    pytest_plugins = ["onduty.testing.pytest"]

``duty_testing`` takes the app from your fixture ``app``; if yours has another name, or you would rather give the
``OnDuty``, define ``duty_app``. Named by hand, and not found by pytest through an entry point: that one would load
onduty into each test session on the machine, and before coverage can measure your own modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from onduty.testing import ManualClock, Rehearsal, use


@pytest.fixture
def manual_clock() -> ManualClock:
    """Where time begins in ``duty_testing``; define it anew to begin elsewhere, or give it to ``Context.for_test``."""
    return ManualClock()


@pytest.fixture
def duty_app(request: pytest.FixtureRequest) -> Any:
    """The app, or the ``OnDuty``, that ``duty_testing`` uses: the fixture ``app``, unless you define this one."""
    return request.getfixturevalue("app")


@pytest.fixture
def duty_testing(duty_app: Any, manual_clock: ManualClock) -> Iterator[Rehearsal]:
    """``onduty.testing.use(app)`` around the test."""
    with use(duty_app, clock=manual_clock) as rehearsal:
        yield rehearsal
