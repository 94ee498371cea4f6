"""What is asked for while a server is reloaded, its leader stopped, its journal read-only: each once, and all of it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.asking import each_once, ended, triggers, want
from support.disks import immutable
from support.once_site import OnceSite, children
from support.processes import ask, stop
from support.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


@pytest.mark.parametrize(("kind", "options"), [("gthread", []), ("gevent", ["--preload"])], ids=["gthread", "gevent"])
def test_a_storm_of_reloads_loses_no_request(site: OnceSite, kind: str, options: list[str]) -> None:
    """HUP ten times at random moments, also before the last one's workers serve."""
    dice = random.Random()
    with site.gunicorn(kind, *options, workers=3) as server:
        site.leads()
        site.is_ready(3)
        with triggers(site) as ids:
            for round_ in range(10):
                server.signal(signal.SIGHUP)
                time.sleep(dice.uniform(0, 1.0))  # not a wait for anything: the random moment
                eventually(lambda least=10 * (round_ + 1): len(ids) > least, 30, what="more requests")
        site.all_goes_on()
        eventually(lambda: all(ended(site, run_id) for run_id in ids), 30, what="all have ended")
        site.end(server)

    each_once(site, ids, "stopped")
    stopped = {row.run_id for row in site.rows("export") if row.outcome and row.outcome.value == "stopped"}
    assert stopped == {fact["run"] for fact in site.facts("cancelled")}, (
        "stopped are those that were told to, and ended"
    )
    site.check()


def test_a_leader_that_was_stopped_wakes_up_to_all_that_was_asked_for(site: OnceSite) -> None:
    """SIGSTOP for five seconds: nobody else leads, what the others are asked waits, and it goes on in its term."""
    with site.gunicorn("gthread", workers=3) as server:
        leader = site.leads()
        site.is_ready(3)
        term = site.goes_on("beat")["term"]
        _stop_between_two_writes(site, leader)
        try:
            with triggers(site, patience=0.5) as ids:
                time.sleep(5)  # what is tested: so long a stop
                eventually(lambda: len(ids) > 10, what="requests that others have taken")
        finally:
            os.kill(leader, signal.SIGCONT)
        site.all_goes_on(pid=leader, term=term)
        eventually(lambda: all(ended(site, run_id) for run_id in ids), 30, what="all have ended")
        site.end(server)

    each_once(site, ids)
    site.check()


def _stop_between_two_writes(site: OnceSite, leader: int) -> None:
    """In the middle of a transaction it would keep everybody from the journal: what is told then, others test."""

    def is_stopped() -> bool:
        stop(leader)
        with closing(sqlite3.connect(site.journal, timeout=0.5, isolation_level=None)) as other:
            try:
                other.execute("begin immediate")
            except sqlite3.OperationalError:
                os.kill(leader, signal.SIGCONT)
                return False
            other.execute("rollback")
        return True

    eventually(is_stopped, 30, what="stopped while it wrote nothing")


def test_a_run_that_does_not_listen_holds_up_its_own_task_only(site: OnceSite) -> None:
    """
    Over a reload it goes on in the old process, kept by a slow request. What is asked for meanwhile waits, though
    somebody else is on duty: with ``concurrency=1`` no two run. Then its outcome is told, and the others have their
    turn.
    """
    with site.gunicorn("gthread", "--graceful-timeout", "30", workers=2, ONDUTY_GRACE="0.5") as server:
        leader = site.leads()
        site.is_ready(2)
        old = children(server)
        deaf = want(site, "trigger", number=1, deaf=3)["answer"]
        eventually(lambda: site.facts("export"), what="it runs")
        with _slow_requests(site):
            site.busy([leader])
            server.signal(signal.SIGHUP)
            new = site.leads(but=old)
            waits = want(site, "trigger", number=2)["answer"]
            site.goes_on("slot", task="tick", pid=new)
            eventually(lambda: ended(site, deaf), 30, what="it has ended")
            site.goes_on("slot", task="tock", pid=new)
        eventually(lambda: ended(site, waits), 30, what="the next one has ended")
        site.end(server)

    first, second = site.facts("export")
    (heard,) = site.facts("heard")
    assert (first["run"], second["run"]) == (deaf, waits)
    assert heard["t"] < second["t"], "the second one began before the first had ended"
    outcomes = {row.run_id: row.outcome.value for row in site.rows("export") if row.outcome}
    assert outcomes == {deaf: "succeeded", waits: "succeeded"}
    site.check()


def test_a_journal_that_can_not_be_written_for_a_while_loses_no_run(site: OnceSite) -> None:
    """As on a disk that the kernel made read-only after an error. Runs go on, and have their rows once it can be."""
    with site.gunicorn("gthread") as server:
        site.leads()
        site.all_goes_on()
        for number in (1, 2):
            with immutable(site.journal, site.journal.with_name("journal.sqlite3-wal")):
                eventually(lambda times=number: server.output().count("runs go on") == times, 30, what="it is said")
                site.all_goes_on()
            eventually(lambda times=number: server.output().count("answers again") == times, 30, what="it is said")
        site.end(server)

    site.check()


@contextmanager
def _slow_requests(site: OnceSite) -> Iterator[None]:
    """So many, of 4 s each, that every worker has some."""
    clients = [threading.Thread(target=ask, args=(site.port, "/slow", 60)) for _ in range(12)]
    for one in clients:
        one.start()
    try:
        yield
    finally:
        for one in clients:
            one.join()
