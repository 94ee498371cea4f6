"""A stage for each story, empty again when it is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.stage import Stage
from support.waiting import eventually


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    for scheduler in stage.schedulers:
        scheduler.close("the test is over", 0)
        eventually(lambda scheduler=scheduler: scheduler.is_over)
