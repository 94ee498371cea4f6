"""Session ids that name their owner: eight characters drawn by each process, then what engine.io draws itself.

The token is random and not a pid: pids come back, a token never does, so "nobody has that token" always means that the
owner is gone. It is no secret, every client sees its own; what makes a session hard to guess is the rest.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable

TOKEN_LENGTH = 8
_LONGEST = 200
_SHAPE = re.compile(rf"([A-Za-z0-9_-]{{{TOKEN_LENGTH}}})[^\x00-\x20\x7f]{{8,}}")
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")


class Ids:
    """Makes the session ids of this process. ``inner`` is the generator that was there before."""

    def __init__(self, inner: Callable[[], str]) -> None:
        self._inner = inner
        self._pid = 0
        self._token = ""

    @property
    def token(self) -> str:
        """This process's own; a forked child draws another one, however it was forked."""
        if self._pid != os.getpid():
            self._token = secrets.token_urlsafe(6)
            self._pid = os.getpid()
        return self._token

    def new(self) -> str:
        return self.token + self._inner()


def owner_of(sid: str | None) -> str | None:
    """The token in a session id; ``None``: this is no id of ours, and nothing is to be opened for it."""
    if sid is None or len(sid) > _LONGEST:
        return None
    found = _SHAPE.fullmatch(sid)
    return found[1] if found else None


def is_token(text: object) -> bool:
    """Whether ``text`` may stand in a file name as a token."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None
