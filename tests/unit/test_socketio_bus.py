"""What the client manager keeps of clients that come and go in several threads at once."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace
from typing import Any

from onduty.socketio.bus import Bus


class Slow(dict[str, Any]):
    """Lets others go on between the question whether something is there, and what is done about it."""

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        time.sleep(0.005)
        return found


def bus() -> Any:
    found = Bus()
    found.rooms, found.pending_connect, found.pending_disconnect = Slow(), Slow(), Slow()
    found.server = SimpleNamespace(eio=SimpleNamespace(generate_id=map("sid-{}".format, itertools.count()).__next__))
    return found


def at_once(*calls: Any) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_of_clients_that_are_the_first_at_the_same_moment_each_is_known() -> None:
    one = bus()
    sids: list[str] = []
    at_once(*(lambda number=number: sids.append(one.connect(f"client-{number}", "/")) for number in range(6)))

    assert len(sids) == 6
    assert all(one.is_connected(sid, "/") for sid in sids)


def test_a_client_that_comes_as_the_last_one_goes_is_known() -> None:
    one = bus()
    for number in range(5):
        old = one.connect(f"old-{number}", "/")
        new: list[str] = []

        def go(old: str = old) -> None:
            one.pre_disconnect(old, "/")
            one.basic_disconnect(old, "/")

        at_once(go, lambda number=number, new=new: new.append(one.connect(f"new-{number}", "/")))

        assert one.is_connected(new[0], "/")
        assert not one.is_connected(old, "/")
        one.basic_disconnect(new[0], "/")
