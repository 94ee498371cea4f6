"""``import onduty`` is cheap, quiet and complete: no framework, nothing started, every name explained."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import onduty

HEAVY = {
    *("flask", "werkzeug", "gevent", "gunicorn", "uvicorn", "tornado", "waitress", "socketio", "psutil"),
    *("sqlite3", "asyncio", "multiprocessing"),
}
"""Frameworks and servers are imported by whoever uses them; the rest is loaded when the worker is ready, if at all."""


def in_a_fresh_process(program: str) -> object:
    """What ``program`` prints, read as JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_onduty_pulls_in_no_framework_and_no_store() -> None:
    """A process that only imports onduty pays for none of the servers, frameworks and stores it may one day meet."""
    program = """
import json, sys
before = set(sys.modules)
import onduty
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    loaded = in_a_fresh_process(program)

    assert isinstance(loaded, list)
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


def test_importing_onduty_starts_nothing() -> None:
    """At import there is no thread, no descriptor and no signal handler: gunicorn's master imports us too."""
    program = """
import json, os, signal, sys, threading
def facts():
    return [
        sorted(os.listdir("/dev/fd")),
        sorted(thread.name for thread in threading.enumerate()),
        [repr(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
    ]
before = facts()
import onduty
print(json.dumps([before, facts()]))
"""
    before, after = in_a_fresh_process(program)  # type: ignore[misc]

    assert after == before


def test_every_name_at_the_front_door_exists_and_says_what_it_promises() -> None:
    """What ``__all__`` offers is there, and has a docstring of its own, not one inherited or generated."""
    missing = [name for name in onduty.__all__ if not hasattr(onduty, name)]
    silent = [name for name in onduty.__all__ if name not in missing and not explains_itself(getattr(onduty, name))]

    assert missing == []
    assert silent == []


def explains_itself(thing: object) -> bool:
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return True  # a constant or a type alias: the text beside it can't be seen from here
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    # @dataclass writes the signature into an empty docstring.
    return bool(text) and not str(text).startswith(f"{thing.__name__}(")
