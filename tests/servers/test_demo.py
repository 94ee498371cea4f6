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

from support.processes import REPOSITORY, Running, ask, start
from support.waiting import eventually


class Demo:
    """A running demo and how to talk to it."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.port = int(eventually(lambda: re.findall(r"Open +http://127\.0\.0\.1:(\d+)/", process.output()), 40)[0])

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(ask(self.port, "/api")[1])
        return found

    def post(self, path: str, connection: HTTPConnection | None = None, **headers: str) -> tuple[int, str]:
        connection = connection or HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def followed(self, kills: int) -> dict[str, Any]:
        """Wait until so many kills have been followed by a take-over, and return the last."""

        def last() -> dict[str, Any] | None:
            try:
                passed = self.facts()["takeovers"]
            except OSError:  # the worker that was asked is the one that was killed
                return None
            return passed[-1] if len(passed) == kills and passed[-1]["us"] is not None else None

        return eventually(last, 20, what=f"the take-over after kill {kills}")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    command = [sys.executable, "-m", "demo"]
    with start(command, cwd=REPOSITORY, log=tmp_path / "log", env={"TMPDIR": str(tmp_path)}) as process:
        yield Demo(process)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("demo.verdict").judge


def test_the_proof_ends_with_a_verdict_and_status_zero(tmp_path: Path) -> None:
    """Five kills, five take-overs, a line for every second, and nothing wrong."""
    command = [sys.executable, "-m", "demo", "--prove"]

    with start(command, cwd=REPOSITORY, log=tmp_path / "log", env={"TMPDIR": str(tmp_path)}) as proof:
        status = proof.wait(80)
        output = proof.output()

    assert status == 0, output
    assert len(re.findall(r"kill \d: \d+ killed, \d+ on duty after [\d.]+ ms", output)) == 5
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
    judge: Any, runs: Any, rows: Any, passed: Any, complaint: str | None
) -> None:
    """Two workers at once, a slot twice, a slot without a row, a slow take-over: each is found, and nothing else is."""
    wrong = judge(runs, rows, passed, 1, {"tally": (1, 12)})

    assert bool(wrong) == bool(complaint)
    assert not complaint or any(complaint in one for one in wrong)
