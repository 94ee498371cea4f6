"""Whether one more run may start."""

from __future__ import annotations

import pytest

from onduty._runtime.lanes import admit


@pytest.mark.parametrize(
    ("overlap", "in_progress", "waiting", "concurrency", "triggered", "verdict"),
    [
        (None, 0, 0, 1, False, "start"),
        (None, 1, 0, 1, False, "skip"),
        ("skip", 1, 0, 1, False, "skip"),
        ("queue", 1, 0, 1, False, "queue"),
        ("queue", 1, 1, 1, False, "skip"),
        ("cancel", 1, 0, 1, False, "cancel"),
        (None, 1, 0, 2, False, "start"),
        (None, 2, 0, 2, False, "skip"),
        (None, 1, 0, 1, True, "queue"),
        (None, 1, 50, 1, True, "queue"),
        ("skip", 1, 50, 1, True, "queue"),
        ("cancel", 1, 0, 1, True, "cancel"),
        ("queue", 0, 1, 1, True, "queue"),
    ],
)
def test_a_slot_waits_at_most_one_and_no_trigger_is_dropped(
    overlap: str | None, in_progress: int, waiting: int, concurrency: int, triggered: bool, verdict: str
) -> None:
    """The table of the docs, row by row; whoever waits is never overtaken."""
    assert (
        admit(
            overlap,  # type: ignore[arg-type]
            in_progress=in_progress,
            waiting=waiting,
            concurrency=concurrency,
            triggered=triggered,
        )
        == verdict
    )
