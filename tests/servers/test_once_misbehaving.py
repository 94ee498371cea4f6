"""Runs that raise, hang, exit, fork, leave children behind or close everything: the leader's loop and lock survive."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from onduty.journal import Outcome
from support.leadership import Fact, gaps
from support.once_site import OnceSite, children, load
from support.processes import ask, is_living
from support.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


def standby_knows(site: OnceSite) -> int | None:
    """The term that the standby believes in; ``None``: the leader answered."""
    status = json.loads(ask(site.port, "/status")[1])
    return None if status["leading"] else (status["leader"] or {}).get("term")


def outcome_of(site: OnceSite, deed: Fact) -> Outcome | None:
    return next((row.outcome for row in site.rows("mischief") if row.run_id == deed["run"]), None)


@pytest.mark.parametrize(("kind", "options"), [("gthread", []), ("gevent", ["--preload"])], ids=["gthread", "gevent"])
def test_a_run_that_raises_exits_or_forks_does_not_end_the_term(site: OnceSite, kind: str, options: list[str]) -> None:
    """
    An exception and ``sys.exit`` are a failed run and no more; a forked child that returns from its run ends there,
    and one that goes on runs nothing of its parent's, greenlets or threads.
    Children that outlive a killed leader, forked or started with ``close_fds=False``, keep neither lock nor hub:
    another worker goes on at once.
    """
    with site.gunicorn(kind, *options) as server:
        leader = site.leads()
        term = site.goes_on("beat", pid=leader)["term"]
        for deed in ("fail", "leave"):
            done = site.do(deed)
            eventually(lambda run=done: outcome_of(site, run) is Outcome.FAILED, what=f"{deed} is a failed run")
            site.all_goes_on(pid=leader, term=term)
        site.do("fork and return")
        (child,) = eventually(lambda: site.facts("returning"), what="the child has told")
        eventually(lambda: not is_living(child["pid"]), what="the child has ended")
        site.do("fork and sleep")
        (sleeper,) = eventually(lambda: site.facts("sleeper"), what="the child has told")
        eventually(lambda: not is_living(sleeper["pid"]), what="the sleeping child has ended")
        assert [fact["kind"] for fact in site.facts() if fact["pid"] == sleeper["pid"]] == ["sleeper"]
        site.all_goes_on(pid=leader, term=term)

        killed = []
        for number, deed in enumerate(("fork", "spawn"), start=1):
            eventually(lambda: len(children(server)) == 2, what="there is a standby again")
            assert site.do(deed)["pid"] == leader
            heir = eventually(lambda count=number: site.facts("heir")[count - 1 :], what="the child has told")[0]
            os.kill(leader, signal.SIGKILL)
            killed.append(leader)
            leader = site.leads(but=killed)
            assert is_living(heir.get("child", heir["pid"]))
        site.all_goes_on()
        site.end(server)

    found = site.check()
    assert [tenure.pid for tenure in found[:2]] == killed
    assert max(gaps(found[:3])) < 3


@pytest.mark.parametrize(("kind", "options"), [("gthread", []), ("gevent", ["--preload"])], ids=["gthread", "gevent"])
def test_a_run_that_closes_all_descriptors_costs_the_term_and_no_slot(
    site: OnceSite, kind: str, options: list[str]
) -> None:
    """
    The lock went with the descriptors, and nobody was asked: the leader notices within about a second and steps down,
    if its server survives that at all. Work goes on, no slot runs twice, none is forgotten.
    """
    # Its worker no longer hears its master, who kills it after the graceful time-out.
    with site.gunicorn(kind, *options, "--graceful-timeout", "3", ONDUTY_GRACE="1") as server:
        site.leads()
        for _ in range(2):
            term = site.do("close all")["term"]
            eventually(lambda old=term: site.goes_on("beat")["term"] > old, 20, what="a new term")
            site.all_goes_on()
        site.end(server)

    site.check(overlap=1.5)


def test_a_folder_deleted_while_everything_runs_is_made_anew(site: OnceSite) -> None:
    """Lock, hub and journal went with it. One of the workers goes on, in a later term than any before."""
    with site.gunicorn("gthread") as server:
        for _ in range(2):
            term = site.goes_on("beat")["term"]
            # With all records gone, a number begins at the present second: the standby is to have heard of this one.
            eventually(lambda now=term: standby_knows(site) == now, 20, what="the standby knows who leads")
            shutil.rmtree(site.duty_folder)
            eventually(lambda old=term: site.goes_on("beat")["term"] > old, 30, what="a later term")
            site.all_goes_on()
        site.end(server)


def test_a_service_that_hangs_is_not_started_twice_while_its_process_lives(site: OnceSite) -> None:
    """
    On HUP the old leader lets go after its grace, though a service does not end: the other work goes on in a new
    worker at once, and the hung service there only when the old process, kept by a request of 4 s, has died.
    """
    (site.folder / "hang").touch()
    with site.gunicorn("gthread", ONDUTY_GRACE="0.5") as server:
        leader = site.leads()
        site.goes_on("hanging", pid=leader)
        old = children(server)
        with load(site, *["/slow"] * 12):
            site.busy([leader])
            server.signal(signal.SIGHUP)
            site.leads(but=old)
            site.goes_on("slot", task="tick")
            assert is_living(leader)
            assert {fact["pid"] for fact in site.facts("stubborn")} == {leader}
            site.goes_on("hanging", pid=leader)
            eventually(lambda: not is_living(leader), 20, what="the old leader has died")
        (site.folder / "hang").unlink()
        site.goes_on("slot", task="tock")
        eventually(lambda: len(site.facts("stubborn")) == 2, what="the service runs in the new worker")
        site.end(server)

    first, second = site.facts("stubborn")
    assert max(fact["t"] for fact in site.facts("hanging") if fact["pid"] == leader) < second["t"]
    assert {row.run_id: row.outcome for row in site.rows("stubborn")}[first["run"]] is Outcome.LOST
    site.check()
