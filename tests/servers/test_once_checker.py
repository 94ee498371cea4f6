"""The judge of the other tests is judged, and the second defence is tried without the first."""

from __future__ import annotations

import os
from pathlib import Path

from support.leadership import Fact, overlaps, tenures
from support.once_site import OnceSite, children
from support.processes import REPOSITORY

NO_LOCK = "import fcntl\nfcntl.flock = lambda *args: None\n"


def beat(pid: int, at: int) -> Fact:
    return {"kind": "beat", "pid": pid, "term": pid, "t": at}


def test_tenures_that_share_an_instant_overlap_and_neighbours_do_not() -> None:
    """Also where one tenure lies within another."""
    apart = [beat(1, 0), beat(1, 5), beat(2, 6), beat(2, 9)]

    assert overlaps(tenures(apart)) == []
    assert len(overlaps(tenures([*apart, beat(3, 7), beat(3, 8)]))) == 1
    assert len(overlaps(tenures([*apart, beat(1, 7)]))) == 1


def test_without_the_kernels_lock_the_journal_alone_keeps_slots_and_services_apart(tmp_path: Path) -> None:
    """
    With ``flock`` taken out of order every worker wins, each ends the other's term, and each comes back. The second
    defence holds all the same: no slot runs twice, none is forgotten, a service waits for the end of its forerunner.
    """
    site = OnceSite(tmp_path)
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(NO_LOCK)
    paths = os.pathsep.join(str(path) for path in (planted, REPOSITORY / "src", REPOSITORY / "tests"))
    with site.gunicorn("gthread", PYTHONPATH=paths) as server:
        for _ in range(2):
            for pid in children(server):
                site.goes_on("slot", pid=pid)
        site.all_goes_on()
        site.end(server)

    site.check()
