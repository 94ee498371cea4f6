"""What a client asks of ``once_app``, on whichever worker it gets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from support.once_site import OnceSite
from support.processes import ask
from support.waiting import eventually


def want(site: OnceSite, what: str, *, patience: float = 10.0, **query: Any) -> dict[str, Any]:
    """The answer of one worker. ``OSError`` or ``ValueError``: it died, or did not answer within ``patience``."""
    answer: dict[str, Any] = json.loads(ask(site.port, f"/ask/{what}?{urlencode(query)}", patience)[1])
    return answer


def by_a_standby(site: OnceSite, what: str, **query: Any) -> dict[str, Any]:
    """The same, asked until a worker that is not on duty has answered."""
    return eventually(lambda: None if (found := want(site, what, **query))["leading"] else found, what="a standby")


def ended(site: OnceSite, run_id: str) -> bool:
    """Whether this run is over, as some worker knows."""
    found = want(site, "run", id=run_id)["answer"]
    return bool(found) and found[0] not in ("queued", "running")


@contextmanager
def triggers(site: OnceSite, patience: float = 10.0) -> Iterator[list[str]]:
    """Two clients trigger ``export`` without a pause; the ids they were answered."""
    ids: list[str] = []
    over = threading.Event()

    def client(number: int) -> None:
        while not over.is_set():
            number += 10
            try:
                ids.append(want(site, "trigger", patience=patience, number=number)["answer"])
            except (OSError, ValueError):
                pass  # the worker that was asked died, or hung, before it could answer; it may have asked all the same

    clients = [threading.Thread(target=client, args=(first,)) for first in range(2)]
    for one in clients:
        one.start()
    try:
        yield ids
    finally:
        over.set()
        for one in clients:
            one.join()


def each_once(site: OnceSite, ids: list[str], *accepted: str) -> None:
    """Of what was asked for, and told so: each ran once and succeeded, or came to one of the ``accepted`` outcomes."""
    ran = [fact["run"] for fact in site.facts("export")]
    assert len(ran) == len(set(ran)), "one run twice"
    outcomes = {row.run_id: row.outcome.value for row in site.rows("export") if row.outcome}
    accepted = {"succeeded", *accepted}
    assert {run_id: how for run_id in ids if (how := outcomes.get(run_id)) not in accepted} == {}
    assert [one for one in ids if outcomes[one] == "succeeded" and one not in ran] == []
