"""A real headless Chromium, driven by Debian's chromedriver over WebDriver, which is JSON over HTTP.

By hand, since the dozen commands used here are less to keep than a package that brings them with its own way of finding
and fetching browsers (https://www.w3.org/TR/webdriver2/).
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from support.processes import answers, free_port, start
from support.waiting import eventually

# No sandbox: CI is root, and the pages are ours. The rest keeps it from asking the outside world anything.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-GB"]


def missing() -> list[str]:
    """Which of the two programs are not here."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    """One window at a time is spoken to; see :meth:`new_tab` and :meth:`to`."""

    def __init__(self, port: int, profile: Path) -> None:
        self._port = port
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = ""
        self._session = "/session/" + self._do("POST", "/session", capabilities={"alwaysMatch": wanted})["sessionId"]

    def _do(self, method: str, path: str, **body: Any) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, self._session + path, json.dumps(body) if method == "POST" else None)
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{path}: {value['error']}: {value['message']}")
        return value

    def open(self, url: str) -> None:
        """Load a page in this tab."""
        self._do("POST", "/url", url=url)

    def new_tab(self) -> str:
        """Open one more, speak to it from now on, and return its name for :meth:`to`."""
        tab: str = self._do("POST", "/window/new", type="tab")["handle"]
        self.to(tab)
        return tab

    @property
    def tab(self) -> str:
        found: str = self._do("GET", "/window")
        return found

    def to(self, tab: str) -> None:
        self._do("POST", "/window", handle=tab)

    def close_tab(self) -> None:
        """Close this one; then say :meth:`to` which."""
        self._do("DELETE", "/window")

    def run(self, script: str, *args: Any) -> Any:
        """What ``script``, the body of a function, returns."""
        return self._do("POST", "/execute/sync", script=script, args=args)

    def text(self, css: str) -> str:
        """What a reader sees of the first match, empty if it is hidden."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", css))

    def click(self, css: str) -> None:
        """As a hand does: what is hidden, covered or disabled can't be clicked."""
        found = self._do("POST", "/element", using="css selector", value=css)
        (element,) = found.values()
        self._do("POST", f"/element/{element}/click")

    def complaints(self) -> list[str]:
        """What the console of any tab has said at level warning or above since this was last asked."""
        said = self._do("POST", "/se/log", type="browser")
        return [f"{one['level']}: {one['message']}" for one in said if one["level"] in ("WARNING", "SEVERE")]

    def size(self, width: int, height: int) -> None:
        """Of the page, as on a screen of that size; a phone's are narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._do("POST", "/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=metrics)

    def screenshot(self, file: Path) -> None:
        """The whole page, as a PNG."""
        whole = {"format": "png", "captureBeyondViewport": True}
        taken = self._do("POST", "/goog/cdp/execute", cmd="Page.captureScreenshot", params=whole)
        file.write_bytes(base64.b64decode(taken["data"]))

    def quit(self) -> None:
        self._do("DELETE", "")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A fresh one with an empty profile in ``folder``, until the block ends."""
    port = free_port()
    # --verbose: what it and Chromium said to each other is the only trace of a click that went astray.
    with start(["chromedriver", f"--port={port}", "--verbose"], log=folder / "chromedriver", env={"HOME": str(folder)}):
        eventually(lambda: answers(port, "/status"), 20, what="chromedriver")
        found = Browser(port, folder / "profile")
        try:
            yield found
        finally:
            found.quit()
