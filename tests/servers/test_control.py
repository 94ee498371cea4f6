"""Asked for on any worker, done by the one on duty: over a real server, with workers that die meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.asking import by_a_standby, each_once, ended, triggers, want
from support.once_site import OnceSite, children
from support.waiting import eventually

KINDS = [("gthread", []), ("gevent", ["--preload"])]


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=["gthread", "gevent"])
def test_every_worker_may_ask(site: OnceSite, kind: str, options: list[str]) -> None:
    """
    A standby triggers: the leader runs it at once, and every worker reads result, progress and log.
    Pausing, resuming and schedules likewise.
    """
    with site.gunicorn(kind, *options, workers=3):
        leader = site.leads()
        site.is_ready(3)
        asked = by_a_standby(site, "trigger", number=21, key="short")
        (fact,) = eventually(lambda: [one for one in site.facts("export") if one["run"] == asked["answer"]])
        assert fact["pid"] == leader
        eventually(lambda: ended(site, asked["answer"]))
        assert by_a_standby(site, "run", id=asked["answer"])["answer"] == ["succeeded", 42, 0.5, ["export 21"]]

        waits = by_a_standby(site, "trigger", number=1, seconds=60, key="long")["answer"]
        eventually(lambda: want(site, "run", id=waits)["answer"][0] == "running")
        by_a_standby(site, "cancel", id=waits)
        eventually(lambda: want(site, "run", id=waits)["answer"][0] == "stopped")

        by_a_standby(site, "pause", task="watch")
        eventually(lambda: site.facts("end"), what="the service has ended")
        by_a_standby(site, "resume", task="watch")
        site.goes_on("beat", pid=leader)

        by_a_standby(site, "schedule", key="room", every=0.2, number=7)
        site.goes_on("export", number=7)
        assert by_a_standby(site, "schedules")["answer"] == [["room", "every 0.2 s", {"number": 7}]]
        assert by_a_standby(site, "unschedule", key="room")["answer"] in (True, False)
        eventually(lambda: want(site, "schedules")["answer"] == [])


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=["gthread", "gevent"])
def test_requests_survive_a_leader_that_dies_in_mid_request(site: OnceSite, kind: str, options: list[str]) -> None:
    """Asked for while leaders are killed: each runs once, or its row says that its worker died in it."""
    with site.gunicorn(kind, *options, workers=3) as server:
        killed = [site.leads()]
        with triggers(site) as ids:
            for round_ in range(5):
                eventually(lambda least=30 * (round_ + 1): len(ids) > least, 20, what="more requests")
                os.kill(killed[-1], signal.SIGKILL)
                killed.append(site.leads(but=killed))
                eventually(lambda: len(children(server)) == 3, 20, what="three workers")
        eventually(lambda: all(ended(site, run_id) for run_id in ids), 30, what="all have ended")
        site.end(server)

    each_once(site, ids, "lost")
    site.check()


def test_a_command_may_ask_before_anybody_serves(site: OnceSite) -> None:
    """A script that imports the app triggers; nothing starts there, and the first leader does it."""
    program = "from support.once_app import export; print(export.options(key='k').trigger(5).id)"
    said: list[str] = []
    for _ in range(2):
        with site.run("-c", program) as script:
            assert script.wait() == 0, script.output()
            said = script.output().splitlines()
    ids = {line for line in said if " " not in line}
    assert len(ids) == 1, "the same key, the same run"
    assert any("nobody is on duty" in line for line in said)
    assert site.facts() == []

    with site.gunicorn("gthread"):
        (fact,) = eventually(lambda: site.facts("export"), 20)
        assert {fact["run"]} == ids
