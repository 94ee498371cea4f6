"""``async def`` work lives on the server's own loop where there is one, and on one private loop elsewhere."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from onduty.journal import Outcome
from support.leadership import Fact
from support.once_site import OnceSite, children
from support.processes import ask
from support.waiting import eventually

LAST_WORDS = "2"  # seconds, longer than a server with nothing to do takes by itself to end


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


def of_a_request(site: OnceSite, pid: int) -> Fact:
    """Ask for ``/loop`` until worker ``pid`` answers; what it told."""
    eventually(lambda: ask(site.port, "/loop") == (200, str(pid)), 20, what=f"an answer of {pid}")
    return site.facts("request")[-1]


def of_the_runs(site: OnceSite, pid: int) -> list[Fact]:
    """What the async service and the async task on duty tell, now."""
    return [site.goes_on("heard", pid=pid), site.goes_on("fetched", pid=pid)]


def places(facts: list[Fact]) -> set[tuple[int, int]]:
    return {(fact["loop"], fact["thread"]) for fact in facts}


def has_ended_in_order(site: OnceSite, leader: int) -> bool:
    """The service on duty came to its last line before its process ended, and its row says that it was told to."""
    (run,) = [fact["run"] for fact in site.facts("last line") if fact["pid"] == leader]
    (row,) = [row for row in site.rows("listen") if row.run_id == run]
    return row.outcome is Outcome.STOPPED


@pytest.mark.parametrize("kind", ["asgi", "uvicorn_worker.UvicornWorker"])
def test_under_asgi_they_run_on_the_loop_that_serves_the_app(site: OnceSite, kind: str) -> None:
    """
    On the very loop, and in the thread, of a request handler in the same worker. When the leader is killed another
    worker goes on, on its own loop; SIGTERM lets the service come to its last line, while that loop still turns.
    """
    with site.gunicorn(kind, app="support.once_async:asgi", LAST_WORDS=LAST_WORDS) as server:
        first = site.leads()
        assert places(of_the_runs(site, first)) == places([of_a_request(site, first)])

        site.is_ready(2)
        os.kill(first, signal.SIGKILL)
        second = site.leads(but=[first])
        assert places(of_the_runs(site, second)) == places([of_a_request(site, second)])

        site.is_ready(3)
        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0

    assert has_ended_in_order(site, second)
    assert {fact["app"] for fact in site.facts("heard") + site.facts("fetched")} == {"support.once_app"}
    site.check()


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_under_wsgi_they_share_one_private_loop(site: OnceSite, kind: str) -> None:
    """
    In a thread of ours, or a greenlet, while requests are free to use loops of their own beside it; SIGTERM lets the
    service come to its last line.
    """
    with site.gunicorn(kind, app="support.once_async:app", LAST_WORDS=LAST_WORDS) as server:
        leader = site.leads()
        runs, request = of_the_runs(site, leader), of_a_request(site, leader)
        runs += of_the_runs(site, leader)
        assert len(places(runs)) == 1
        assert {fact["thread_name"] for fact in runs} == {"onduty-asyncio"}
        assert request["loop"] != runs[0]["loop"]

        site.is_ready(2)
        assert len(children(server)) == 2
        server.signal(signal.SIGTERM)
        assert server.wait(20) == 0

    assert has_ended_in_order(site, leader)
    assert {fact["app"] for fact in site.facts("heard") + site.facts("fetched")} == {"support.once_app"}
    site.check()
