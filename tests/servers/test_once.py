"""One leader at any time, every slot once, none forgotten: whatever is done to a gunicorn server."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from onduty._runtime import policy
from support.leadership import gaps
from support.once_site import OnceSite, children, load
from support.processes import ask, is_living, stop
from support.waiting import eventually, throughout

LOAD_SECONDS = 30.0 if os.environ.get("ONDUTY_LONG") else 15.0


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


def seen_by_another(site: OnceSite, leader: int) -> dict[str, Any] | None:
    """The status of a worker that is not ``leader``; ``None``: the connection was taken by that one, or by none."""
    try:
        status: dict[str, Any] = json.loads(ask(site.port, "/status", timeout=1)[1])
    except OSError:
        return None
    return status if status["pid"] != leader else None


@pytest.mark.parametrize(
    ("kind", "options", "kills"), [("gthread", [], 20), ("gevent", ["--preload"], 5)], ids=["gthread", "gevent"]
)
def test_a_killed_leader_is_followed_by_one_other(site: OnceSite, kind: str, options: list[str], kills: int) -> None:
    """
    kill -9 at random moments, some of them within milliseconds of the last take-over: one worker goes on each time,
    never two at once, and each slot of the grid ran once or stands in the journal as lost or missed.
    """
    dice = random.Random(f"kill -9 {kind}")
    with site.gunicorn(kind, *options, workers=3) as server:
        killed: list[int] = []
        for _ in range(kills):
            leader = site.leads(but=killed)
            time.sleep(dice.uniform(0, 0.25))  # the moment is what varies, nothing is waited for
            os.kill(leader, signal.SIGKILL)
            killed.append(leader)
        site.leads(but=killed)
        site.all_goes_on()
        site.end(server)

    found = site.check()
    assert [tenure.pid for tenure in found[:kills]] == killed


def test_whoever_is_left_goes_on_when_two_others_die_with_the_leader(site: OnceSite) -> None:
    """The last of four. Perhaps the leader's end does not wake it, if those two were next: it looks by itself."""
    with site.gunicorn("gthread", "--graceful-timeout", "3") as server:
        leader = site.leads()
        standbys = [pid for pid in children(server) if pid != leader]
        at = time.monotonic_ns()
        for pid in (leader, *standbys[:2]):
            os.kill(pid, signal.SIGKILL)
        follower = site.leads(but=[leader])
        assert time.monotonic_ns() - at < 10_000_000_000
        assert follower not in standbys[:2]
        site.all_goes_on()
        site.end(server)

    site.check()


def test_a_reload_hands_over_at_once_though_old_workers_are_kept_busy(site: OnceSite) -> None:
    """
    HUP five times, while each generation still answers requests of 4 s: the case that stops every recipe whose lock
    belongs to the process. An old worker lets go at once, and a new one goes on; never two, no slot forgotten.
    """
    with site.gunicorn("gthread") as server, load(site, *["/slow"] * 4, "/", "/"):
        generations = [site.leads()]
        for _ in range(5):
            old = children(server)
            site.busy(old)
            hung_up = time.monotonic_ns()
            server.signal(signal.SIGHUP)
            generations.append(site.leads(but=[*old, *generations]))
            assert time.monotonic_ns() - hung_up < 20_000_000_000
        assert any(is_living(pid) for pid in old), "the old generation was to be busy still"
        site.all_goes_on()
        site.end(server)

    assert len(set(generations)) == 6
    assert max(gaps(site.check())) < 3


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_reload_leaves_no_hole_while_the_new_workers_import(site: OnceSite, kind: str) -> None:
    """
    gunicorn tells the old workers to leave when the new ones have only begun to import an app that takes two seconds
    for it: the leader stays on duty until one of them can go on. When the server ends, nobody is waited for.
    """
    with site.gunicorn(kind, "--graceful-timeout", "30", PROBE_IMPORT_SECONDS="2") as server:
        leader = site.leads()
        old = children(server)
        server.signal(signal.SIGHUP)
        site.leads(but=old)
        eventually(lambda: not is_living(leader), what="the old leader has ended")
        site.all_goes_on()
        site.all_serve(server)
        told = time.monotonic_ns()
        site.end(server)

    assert time.monotonic_ns() - told < policy.MOST_PATIENCE * 1e9
    assert max(gaps(site.check())) < 1


def test_the_only_worker_does_not_wait_for_one_that_comes_when_it_has_gone(site: OnceSite) -> None:
    """With one worker and ``--max-requests`` gunicorn starts the next one only after the end of this one."""
    with site.gunicorn("gthread", "--graceful-timeout", "30", "--max-requests", "3", workers=1) as server:
        leader = site.leads()
        told = time.monotonic_ns()
        with load(site, "/"):
            # Not when the next one leads: under this load it has to leave at once, and the one after it as well.
            eventually(lambda: leader in {fact["pid"] for fact in site.facts("end")}, 20, what="it leads no more")
        assert time.monotonic_ns() - told < policy.MOST_PATIENCE * 1e9
        site.leads(but=[leader])
        site.end(server)

    site.check()


def test_workers_that_serve_twenty_requests_each_hand_over_without_a_hole(site: OnceSite) -> None:
    """``--max-requests 20`` under load: workers come and go all the time, and the work goes from hand to hand."""
    with site.gunicorn("gthread", "--max-requests", "20", "--max-requests-jitter", "10") as server:
        site.leads()
        with load(site, "/") as statuses:
            throughout(lambda: not server.has_ended, LOAD_SECONDS, what="the server serves", interval=0.2)
        site.all_goes_on()
        site.end(server)

    assert len(site.check()) > 5
    assert set(statuses) == {200}


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_orphans_of_a_killed_master_do_not_lead_a_dead_server(site: OnceSite, kind: str) -> None:
    """
    The master is killed, and its workers, of which a sync one lives on for long, let go; the server that a supervisor
    starts in its place leads within seconds.
    """
    with site.gunicorn(kind) as first:
        site.leads()
        orphans = children(first)
        first.signal(signal.SIGKILL)
        with site.gunicorn(kind) as second:
            leader = site.leads(but=orphans, timeout=10)
            assert leader in children(second)
            site.all_goes_on()
            assert {fact["pid"] for fact in site.facts("end")} <= set(orphans)
            site.end(second)

    site.check()


def test_a_leader_that_is_frozen_and_released_goes_on_alone(site: OnceSite) -> None:
    """
    A stopped process keeps its lock: nobody else leads meanwhile. After ten seconds the standby says so, in the log and
    in its status, and that it turns again when it does. It goes on in its term, no slot forgotten.
    """
    with site.gunicorn("gthread") as server:
        leader = site.leads()
        stop(leader)
        stopped = time.monotonic_ns()
        try:
            eventually(lambda: f"pid {leader}, has been stopped for" in server.output(), 30, what="the standby says so")
            assert eventually(lambda: seen_by_another(site, leader), 20)["frozen_leader"] == "stopped"
            assert {fact["pid"] for fact in site.facts("begin")} == {leader}
        finally:
            os.kill(leader, signal.SIGCONT)
        eventually(lambda: f"pid {leader}, turns its loop again" in server.output(), what="and that it goes on")
        site.all_goes_on(pid=leader)
        site.end(server)

    assert site.leads(after=stopped) == leader
    assert len(site.check()) <= 2  # the other worker may have had a turn while the server ended


def test_a_leader_frozen_for_ten_seconds_is_replaced_where_that_was_asked_for(site: OnceSite) -> None:
    """``ONDUTY_FROZEN_LEADER=kill``: a standby kills the stopped leader after 10 s, no sooner, and goes on."""
    with site.gunicorn("gthread", ONDUTY_FROZEN_LEADER="kill") as server:
        leader = site.leads()
        site.all_goes_on()
        stop(leader)
        stopped = time.monotonic_ns()
        try:
            site.leads(but=[leader], timeout=25)
        finally:
            if is_living(leader):
                os.kill(leader, signal.SIGCONT)
        next_began = min(fact["t"] for fact in site.facts("begin") if fact["pid"] != leader)
        site.all_goes_on()
        site.end(server)

    assert 9 < (next_began - stopped) / 1e9 < 20
    site.check()
