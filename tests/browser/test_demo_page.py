"""The demo as somebody sees it: the page in a real Chromium, from Debian, moved by what the workers push."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.browser import Browser, browser, missing
from support.demo import Demo
from support.demo import demo as running_demo
from support.waiting import eventually

MILLISECONDS = re.compile(r"([\d.]+) ms")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Without Chromium: skipped, and in CI a failure."""
    if programs := missing():
        what = f"no {' and no '.join(programs)} here; on Debian and Ubuntu: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    with running_demo(tmp_path) as found:
        yield found


@contextmanager
def opened(demo: Demo, folder: Path) -> Iterator[Browser]:
    """A browser with the demo's page in its first tab, connected."""
    with browser(folder) as found:
        found.open(f"http://127.0.0.1:{demo.port}/")
        connected(found)
        yield found


def connected(page: Browser) -> int:
    """Wait until this tab says whose client it is, and return that pid."""
    found = eventually(lambda: re.match(r"connected to pid (\d+)", page.text("#linked")), 20, what="a connected tab")
    assert found is not None
    return int(found[1])


def leader(page: Browser) -> int:
    return int(page.text("#leader").removeprefix("pid "))


def beat(page: Browser) -> int:
    return int(page.text("#beat"))


def clients(page: Browser) -> dict[int, str]:
    """What each worker's card says of its clients."""
    cards = page.run(
        "return [...document.querySelectorAll('#workers li[data-pid]')]"
        ".map(card => [Number(card.dataset.pid), card.querySelector('.clients').innerText])"
    )
    return dict(cards)


def counted(page: Browser) -> int:
    return sum(int(text.split()[0]) for text in clients(page).values() if text != "…")


def test_readings_move_without_a_reload_and_every_tab_is_counted(demo: Demo, tmp_path: Path) -> None:
    """
    Pushed: after the page has come, it makes no request but those of Socket.IO. A tab more is a client more, a tab
    closed one less, and both tabs show the same. The console stays empty.
    """
    with opened(demo, tmp_path) as page:
        eventually(lambda: counted(page) == 1, 20, what="one client counted")
        first, seen = page.tab, beat(page)
        eventually(lambda: beat(page) >= seen + 2, 20, what="two heartbeats more")

        second = page.new_tab()
        page.open(f"http://127.0.0.1:{demo.port}/")
        owner = connected(page)

        eventually(lambda: counted(page) == 2, 20, what="two clients counted")
        assert len(clients(page)) == 4
        assert "client" in clients(page)[owner]
        assert re.fullmatch(r"\d+ %", page.text("#cpu"))
        assert "tally" in page.text("#runs")
        requests = page.run("return performance.getEntriesByType('resource').map(one => new URL(one.name).pathname)")
        assert {one for one in requests if not one.startswith("/static/")} == {"/socket.io.js", "/socket.io/"}
        assert leader(page) == demo.facts()["leader"]["pid"]

        page.close_tab()
        page.to(first)

        assert second != first
        eventually(lambda: counted(page) == 1, 60, what="one client left")
        assert page.complaints() == []


def test_the_button_changes_who_is_on_duty_in_every_tab_and_shows_how_long_it_took(demo: Demo, tmp_path: Path) -> None:
    """
    Nobody reloads. The heartbeat goes on counting, and the other tab shows the same take-over.
    """
    with opened(demo, tmp_path) as page:
        first = page.tab
        page.new_tab()
        page.open(f"http://127.0.0.1:{demo.port}/")
        connected(page)
        killed, seen = eventually(lambda: page.text("#beat") != "…" and (leader(page), beat(page)), 20) or (0, 0)

        page.click("#kill")

        took = eventually(lambda: MILLISECONDS.fullmatch(page.text("#takeover")), 20, what="a take-over time")
        assert took is not None
        assert float(took[1]) > 0
        heir = demo.followed(1)["heir"]
        for tab in (page.tab, first):
            page.to(tab)
            eventually(lambda: page.text("#leader") == f"pid {heir}", 20, what=f"{heir} on duty in tab {tab}")
            assert page.text("#heir") == f"{heir} follows {killed}"
            assert page.text("#takeover") == took[0]
            eventually(lambda: beat(page) > seen, 20, what="the next heartbeat")
            connected(page)
        eventually(lambda: len(clients(page)) == 4 and counted(page) == 2, 60, what="four workers and both clients")
        eventually(lambda: page.run("return !document.querySelector('#kill').disabled"), 20, what="the button again")


def test_a_tab_whose_worker_is_killed_is_back_by_itself_and_says_so(demo: Demo, tmp_path: Path) -> None:
    """Until the tab's own worker has been on duty, others are killed; then that one, and the page names it."""
    with opened(demo, tmp_path) as page:
        owner = connected(page)
        for kills in range(1, 40):
            eventually(lambda: page.run("return !document.querySelector('#kill').disabled"), 20, what="a button")
            killed = leader(page)
            page.click("#kill")
            heir = demo.followed(kills)["heir"]
            if killed == owner:
                break
            eventually(lambda heir=heir: page.text("#leader") == f"pid {heir}", 20, what=f"{heir} on duty")

        assert killed == owner
        again = eventually(
            lambda: re.fullmatch(
                rf"connected to pid (\d+): pid {owner} went away, and this tab was back by itself after [\d.]+ s",
                page.text("#linked"),
            ),
            20,
            what="a tab that is back",
        )
        assert again is not None
        assert int(again[1]) != owner
        seen = beat(page)
        eventually(lambda: beat(page) > seen and leader(page) == heir, 20, what="heartbeats of the new one")
        eventually(lambda: counted(page) == 1, 60, what="one client, on its new worker")


def test_the_page_fits_a_phone(demo: Demo, tmp_path: Path) -> None:
    """Nothing is wider than the screen, but rows of the journal that scroll for themselves."""
    with opened(demo, tmp_path) as page:
        page.size(360, 740)
        eventually(lambda: page.text("#beat") != "…", 20, what="a heartbeat")

        wide = page.run(
            "return [...document.querySelectorAll('main *:not(.scroll *)')]"
            ".filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML.slice(0, 80))"
        )

        assert wide == []
