"""The demo is the main job on real input: its page says who is on duty, its button kills that one, its proof judges."""

from __future__ import annotations

import importlib
import json
import re
import signal
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from support.demo import Demo
from support.demo import demo as running_demo
from support.processes import REPOSITORY, ask, start
from support.waiting import eventually


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with running_demo(tmp_path) as found:
        yield found


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("demo.verdict")


def test_the_proof_ends_with_a_verdict_and_status_zero(tmp_path: Path) -> None:
    """Five kills, five take-overs, a line for every second, a client on each worker that hears of it, nothing wrong."""
    command = [sys.executable, "-m", "demo", "--prove"]

    with start(command, cwd=REPOSITORY, log=tmp_path / "log", env={"TMPDIR": str(tmp_path)}) as proof:
        status = proof.wait(80)
        output = proof.output()

    assert status == 0, output
    assert len(re.findall(r"kill \d: \d+ killed, \d+ on duty after [\d.]+ ms", output)) == 5
    assert output.count("heartbeat heard by 4 of 4 clients") == 5
    assert len(re.findall(r"^\d\d:\d\d:\d\d  ", output, re.MULTILINE)) >= 12
    assert "VERDICT: passed" in output
    assert list(tmp_path.iterdir()) == [tmp_path / "log"]


def test_the_button_kills_the_worker_on_duty_and_the_take_over_is_measured(demo: Demo) -> None:
    """
    Also when the worker that answers is the one to be killed: its answer is out before. Readings go on, the count of
    the dead worker is continued, and Ctrl-C ends everything without a trace.
    """
    before = eventually(lambda: (seen := demo.facts()) and seen["collector"].get("beat", 0) > 1 and seen, 20)
    status, page = ask(demo.port)

    assert status == 200
    assert "Kill the worker on duty" in page
    assert "://" not in page
    assert before["leader"]["pid"] in before["workers"]
    assert before["answered_by"] in before["workers"]
    assert len(before["workers"]) == 4

    status, answer = demo.post("/kill", **{"X-Demo": "kill"})
    after = demo.followed(1)

    assert (status, after["killed"]) == (200, before["leader"]["pid"])
    assert json.loads(answer)["killed"] == after["killed"]
    assert 0 < after["us"] < 10_000_000
    assert demo.facts()["leader"]["pid"] == after["heir"]
    eventually(lambda: (seen := demo.facts()["collector"])["pid"] == after["heir"] and seen["beat"], 20)
    assert demo.facts()["collector"]["beat"] > before["collector"]["beat"]

    status, answer = demo.post("/kill", eventually(lambda: to_the_leader(demo), 20), **{"X-Demo": "kill"})

    assert status == 200
    assert json.loads(answer)["answered_by"] == json.loads(answer)["killed"] == demo.followed(2)["killed"]

    demo.process.signal(signal.SIGINT)
    assert demo.process.wait() == 0
    assert not [one for one in demo.process.log.parent.iterdir() if one.name.startswith("onduty-demo")]


def to_the_leader(demo: Demo) -> HTTPConnection | None:
    """A connection that is kept alive by the very worker on duty, or none this time."""
    leader = demo.facts()["leader"]["pid"]
    connection = HTTPConnection("127.0.0.1", demo.port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    if answer.headers["X-Worker"] == str(leader):
        return connection
    connection.close()
    return None


def test_nothing_but_the_button_kills(demo: Demo) -> None:
    """A GET does not, nor a POST that another site's form could send."""
    leader = demo.facts()["leader"]

    assert ask(demo.port, "/kill")[0] == 405
    assert demo.post("/kill")[0] == 403
    assert demo.facts()["leader"] == leader


def test_a_kill_that_is_sent_again_kills_nobody_else(demo: Demo) -> None:
    """Browsers send a POST again by themselves when the connection broke before its answer."""
    leader = demo.facts()["leader"]
    order = {"X-Demo": "kill", "X-Term": str(leader["term"])}

    assert demo.post("/kill", **order)[0] == 200
    heir = demo.followed(1)["heir"]
    status, answer = demo.post("/kill", **order)

    assert (status, json.loads(answer)["killed"]) == (200, None)
    assert demo.facts()["leader"]["pid"] == heir
    assert demo.followed(1)["killed"] == leader["pid"]


def told(task: str, slot: int | None, pid: int, term: int, at: int) -> dict[str, Any]:
    return {"task": task, "slot": slot, "pid": pid, "term": term, "at": at}


GOOD = [told("tally", 10, 1, 1, 100), told("tally", 11, 1, 1, 110), told("tally", 12, 2, 2, 120)]
ROWS = [{"task": "tally", "first": slot, "slot": slot} for slot in (10, 11, 12)]
PASSED = [{"killed": 1, "heir": 2, "us": 4000}]


@pytest.mark.parametrize(
    ("runs", "rows", "passed", "complaint"),
    [
        (GOOD, ROWS, PASSED, None),
        ([*GOOD, told("tally", 12, 1, 1, 121)], ROWS, PASSED, "at the same time"),
        ([*GOOD, told("tally", 12, 2, 2, 122)], ROWS, PASSED, "2 times for slot 12"),
        ([*GOOD[:1], *GOOD[2:]], [ROWS[0], ROWS[2]], PASSED, "slot 11 has neither run nor row"),
        ([*GOOD[:1], *GOOD[2:]], ROWS, PASSED, None),
        ([*GOOD[:1], *GOOD[2:]], [ROWS[0], {"task": "tally", "first": 11, "slot": 12}], PASSED, None),
        (GOOD, [*ROWS, ROWS[1]], PASSED, "slot 11 has 2 rows"),
        (GOOD, ROWS[:2], PASSED, "ran for slot 12 without a row"),
        (GOOD, [], PASSED, "without a row"),
        (GOOD, ROWS, [{**PASSED[0], "us": 2_000_001}], "took 2.000 s"),
        (GOOD, ROWS, [{**PASSED[0], "us": None}], "nobody took over"),
        (GOOD, ROWS, [], "1 kills were asked for, 0 happened"),
    ],
)
def test_the_verdict_finds_what_is_planted(
    verdict: Any, runs: Any, rows: Any, passed: Any, complaint: str | None
) -> None:
    """Two workers at once, a slot twice, a slot without a row, a slow take-over: each is found, and nothing else is."""
    wrong = verdict.judge(runs, rows, passed, 1, {"tally": (1, 12)})

    assert bool(wrong) == bool(complaint)
    assert not complaint or any(complaint in one for one in wrong)


@pytest.mark.parametrize(
    ("heard", "complaint"),
    [
        ([[1, 2, 3, 4]], None),
        ([[1, 2, 3]], "before kill 1 3 of 4 workers had a client"),
        ([[1, 2, 3, 4], [1, None, 3, None]], "after kill 2 2 of 4 clients heard no heartbeat"),
    ],
)
def test_the_verdict_finds_a_client_that_heard_nothing(verdict: Any, heard: Any, complaint: str | None) -> None:
    """And a worker that no client was connected to, of which nothing was proved."""
    wrong = verdict.deaf(heard, 4)

    assert bool(wrong) == bool(complaint)
    assert not complaint or any(complaint in one for one in wrong)


def test_the_page_may_load_and_reach_its_own_server_alone(demo: Demo) -> None:
    """Its scripts, the client of Socket.IO among them, come from there; nothing is asked of anybody else."""
    connection = HTTPConnection("127.0.0.1", demo.port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    page = answer.read().decode()
    policy = str(answer.headers["Content-Security-Policy"])
    connection.close()

    assert "default-src 'self'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{demo.port};" in policy
    assert "unsafe" not in policy
    scripts = re.findall(r'<script src="(/[^"]+)"', page)
    assert page.count("<script") == len(scripts) == 2
    assert "Socket.IO" in ask(demo.port, scripts[0])[1][:200]
