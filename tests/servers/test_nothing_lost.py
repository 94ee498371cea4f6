"""The journal's file is damaged, full, deleted or held under a real server: no slot twice, none without a word."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onduty.journal import Outcome
from onduty.process import doing
from support.disks import small_disk
from support.once_site import OnceSite, children
from support.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> OnceSite:
    return OnceSite(tmp_path)


def never_twice(site: OnceSite) -> None:
    ran = [(fact["task"], fact["slot"]) for fact in site.facts("slot")]
    assert len(ran) == len(set(ran)), "a slot ran twice"


@pytest.mark.timeout(300)  # two hundred workers have to start again
def test_a_leader_killed_again_and_again_loses_no_slot(site: OnceSite) -> None:
    """200 times at random moments, over 1,000 slots and more: each is in one row, and none ran twice."""
    kills = 200
    dice = random.Random()
    with site.gunicorn("gthread", "--preload", workers=6, PROBE_EVERY="0.05") as server:
        leader = site.leads()
        for _ in range(kills):
            time.sleep(dice.uniform(0, 0.15))  # not a wait for anything: the random moment
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
            leader = site.leads(but=[leader], after=time.monotonic_ns())
            if len(children(server)) < 3:
                eventually(lambda: len(children(server)) >= 5, 30, what="workers again")
        site.all_goes_on()
        site.end(server)

    site.check(every=0.05)
    lost = [row for row in site.rows() if row.outcome is Outcome.LOST]
    assert len(site.facts("slot")) + len(lost) >= 1000


def settle(file: Path) -> None:
    """All of it into the file: what the log holds, SQLite would put in the place of what is damaged."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("pragma wal_checkpoint(truncate)")


def damage_truncated(file: Path) -> None:
    settle(file)
    os.truncate(file, os.stat(file).st_size // 2)


def damage_garbage(file: Path) -> None:
    settle(file)
    with file.open("r+b") as raw:
        raw.write(os.urandom(20_000))


def damage_foreign(file: Path) -> None:
    other = file.with_name("other")
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("create table theirs(x)")
        db.commit()
    other.rename(file)


def damage_deleted(file: Path) -> None:
    file.unlink()


def damage_log(file: Path) -> None:
    file.with_name("journal.sqlite3-wal").unlink()


def damage_index(file: Path) -> None:
    file.with_name("journal.sqlite3-shm").unlink()


@pytest.mark.parametrize(
    "damage", [damage_truncated, damage_garbage, damage_foreign, damage_deleted, damage_log, damage_index]
)
def test_a_damaged_journal_is_set_aside_and_work_goes_on(site: OnceSite, damage: Callable[[Path], None]) -> None:
    """Loud, in a new file, in a later term; what was there is kept beside it, under a name that says so.

    Workers that had it open may not notice, and need not, for as long as SQLite has what they ask for; those that come
    after them do.
    """
    with site.gunicorn("gthread", workers=2) as server:
        site.leads()
        site.is_ready(2)
        file = site.journal
        for number in range(1, 3):
            term = site.goes_on("beat")["term"]
            workers = children(server) if damage in (damage_truncated, damage_garbage) else []
            for worker in workers:  # before: one that noticed would set it aside, and die before it has said so
                os.kill(worker, signal.SIGSTOP)
            for worker in workers:
                eventually(lambda one=worker: (seen := doing(one)) is not None and seen.stopped)
            damage(file)
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            eventually(lambda old=term: site.goes_on("beat")["term"] > old, 40, what="a later term")
            site.all_goes_on()
            eventually(lambda least=number: server.output().count("was set aside") >= least, what="it is said")
        site.end(server)

    assert damage is not damage_deleted or "has not heard of term" in server.output()
    kind = damage.__name__.removeprefix("damage_")
    words = {kind if kind in ("foreign", "deleted") else "damaged"}
    aside = {one.name.split(".")[-1].split("-")[0] for one in file.parent.glob("journal.sqlite3.*-*")}
    assert words <= aside
    never_twice(site)


def fill(file: Path) -> None:
    """With all the room there is."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(descriptor, b"x" * 4096):
            pass
    except OSError:
        pass  # full now
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_full_disk_stops_no_run_and_its_gap_is_written_down_later(site: OnceSite, kind: str) -> None:
    """Runs go on without a row for as long as it is full; then each has one. A leader that dies meanwhile costs rows,
    which are told as lost, and no slot is run again.
    """
    with small_disk(site.duty_folder, "3m"), site.gunicorn(kind, workers=2) as server:
        leader = site.leads()
        site.all_goes_on()
        filler = site.duty_folder / "filler"
        for number in range(2):
            fill(filler)
            eventually(lambda: "runs go on and are written down later" in server.output(), 20, what="it is said")
            for _ in range(3):
                site.all_goes_on(pid=leader)
            if number:
                os.kill(leader, signal.SIGKILL)
                eventually(lambda: "can't go on duty" in server.output(), 20, what="the other one has tried")
            filler.unlink()
            site.leads(but=[leader] if number else [])
            site.all_goes_on()
        site.end(server)
        rows = {
            (row.task, slot)
            for row in site.rows()
            if row.slot is not None
            for slot in range(row.first_slot or 0, row.slot + 1, 50_000)
        }

    never_twice(site)
    unwritten = [fact for fact in site.facts("slot") if (fact["task"], fact["slot"]) not in rows]
    assert unwritten == []


def test_a_journal_held_by_another_process_costs_time_and_no_slot(site: OnceSite) -> None:
    """A backup with an open transaction, for longer than the leader waits at a time."""
    with site.gunicorn("gthread", workers=2) as server:
        leader = site.leads()
        with contextlib.closing(sqlite3.connect(site.journal, isolation_level=None)) as backup:
            backup.execute("begin immediate")
            eventually(lambda: "tasks are held" in server.output(), 30, what="it is said")
            site.goes_on("beat", pid=leader)
            backup.execute("rollback")
        site.all_goes_on(pid=leader)
        site.end(server)

    site.check()


def test_an_older_copy_put_back_reopens_no_slot_that_it_knows(site: OnceSite) -> None:
    """A restored backup: a later term than any before, and no slot again of those that the copy has not heard of.

    It knows the last term, for it was made in that; ``tick`` catches up on all that it missed.
    """
    with site.gunicorn("gthread", workers=2, PROBE_MISSED="all") as server:
        site.leads()
        site.all_goes_on()
        file = site.journal
        copy = file.with_name("copy")
        with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        site.all_goes_on()
        term = site.goes_on("beat")["term"]
        site.end(server)
    for name in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        name.unlink(missing_ok=True)
    copy.rename(file)
    with site.gunicorn("gthread", workers=2, PROBE_MISSED="all") as server:
        assert site.goes_on("beat")["term"] > term
        site.all_goes_on()
        site.end(server)

    never_twice(site)


def test_two_apps_share_a_folder(tmp_path: Path) -> None:
    """Each has its own scope in it, its own leader, journal and slots."""
    first, second = OnceSite(tmp_path), OnceSite(tmp_path / "second")
    (tmp_path / "second").mkdir()
    second.duty_folder = first.duty_folder
    second.surroundings = {**second.surroundings, "ONDUTY_DIR": str(first.duty_folder), "ONDUTY_NAME": "other"}
    with first.gunicorn("gthread") as one, second.gunicorn("gthread") as two:
        first.leads()
        second.leads()
        first.all_goes_on()
        second.all_goes_on()
        first.end(one)
        second.end(two)

    assert len(list(first.duty_folder.glob("*/journal.sqlite3"))) == 2
    never_twice(first)
    never_twice(second)
