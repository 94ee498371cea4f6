"""Facts and those who listen to them."""

from __future__ import annotations

import copy
import pickle

import pytest

from onduty.events import Events, RunEvent, TermBegan, TermEnded


def test_a_fact_is_made_by_place_or_by_name_and_never_in_part() -> None:
    """As type checkers are told."""
    by_place, by_name = TermBegan(1, "shop", 7), TermBegan(1, app="shop", term=7)

    assert vars(by_place) == vars(by_name) == {"at": 1, "app": "shop", "term": 7}
    assert repr(by_place) == "TermBegan(at=1, app='shop', term=7)"
    assert vars(pickle.loads(pickle.dumps(by_place))) == vars(copy.deepcopy(by_place)) == vars(by_place)  # noqa: S301
    for wrong in ({}, {"term": 7, "terms": 8}):
        with pytest.raises(TypeError, match="TermBegan"):
            TermBegan(1, "shop", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_listener_that_fails_keeps_nobody_else_from_hearing(error: type[BaseException]) -> None:
    """Not even by ``sys.exit()``, which would end the loop that told it."""
    events, heard = Events(), []

    def fail(event: TermBegan) -> None:
        raise error

    events.subscribe(TermBegan, fail)
    events.subscribe(TermBegan, heard.append)

    events.emit(TermBegan(1, "shop", 7))

    assert len(heard) == 1


def test_who_listens_to_a_parent_hears_its_children_only() -> None:
    events = Events()
    events.subscribe(RunEvent, print)

    assert not events.wants(TermEnded)
