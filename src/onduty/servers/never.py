"""Processes that import the app and will never serve it: job runners and test runners.

A false *never* is a silent disaster: a production app whose background work does not run because it imports pytest, or
calls a Celery task. So the only evidence is a frame of the program that *runs* this process, on this stack or the main
thread's, or that program as ``__main__``. Modules that web apps call themselves (``celery.app``, ``rq.job``,
``unittest.mock``) are no evidence.

Not here: ``flask shell``, ``flask routes`` and all other commands. They stay idle because nobody calls a server,
and one that does (``flask serve-with-waitress``) is right to become ready.
"""

from __future__ import annotations

import os
import sys

from onduty.servers import _stack

# The modules that run a worker, a consumer or a test, with all below them.
_RUNNERS = {
    "celery.bin": "Celery",
    "celery.apps": "Celery",
    "celery.worker": "Celery",
    "celery.concurrency": "Celery",
    "billiard.pool": "a billiard pool",
    "dramatiq.cli": "Dramatiq",
    "rq.cli": "RQ",
    "rq.worker": "RQ",
    "huey.bin": "Huey",
    "huey.consumer": "Huey",
    "_pytest": "pytest",
    "unittest.main": "unittest",
    "unittest.loader": "unittest",
    "unittest.runner": "unittest",
    "unittest.suite": "unittest",
}

# Programs as found in ``bin`` and packages as started by ``python -m``. A user's own ``celery.py`` is neither.
_PROGRAMS = {
    "celery": "Celery",
    "dramatiq": "Dramatiq",
    "rq": "RQ",
    "rqworker": "RQ",
    "huey_consumer": "Huey",
    "pytest": "pytest",
    "py.test": "pytest",
    "unittest": "unittest",
}


def reason() -> str | None:
    """Who runs this process, when it is nobody that serves; ``None``: it may yet serve."""
    runner = _runner_on_the_stack() or _runner_as_main()
    return f"run by {runner}, which serves no web app" if runner else None


def _runner_on_the_stack() -> str | None:
    for frame in _stack.here():
        name = _stack.module_of(frame)
        while name:
            if name in _RUNNERS:
                return _RUNNERS[name]
            name = name.rpartition(".")[0]
    return None


def _runner_as_main() -> str | None:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        package, _, leaf = spec.name.partition(".")
        return _PROGRAMS.get(package) if leaf == "__main__" else None
    return _PROGRAMS.get(os.path.basename(getattr(main, "__file__", None) or ""))
