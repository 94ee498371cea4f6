"""What a forked child must not inherit.

A flock belongs to the open file, and a forked child shares ours: left open, the child would keep the lock alive
after we die. Unlocking there would take it from the parent at once; letting go of our copy does neither. The same
holds for the hub's sockets, whose end-of-file tells the others that we are gone.

Each descriptor is replaced by ``/dev/null`` under the same number rather than closed: some Python object in the
child still believes it owns that number, and would later close whatever took its place.

Not curable from Python: a fork made in C runs none of this. "Holder dead, lock held" is then a named state.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType

_descriptors: dict[int, tuple[int, int]] = {}
_before: list[Callable[[], None]] = []
_after: list[Callable[[], None]] = []
_in_child: list[Callable[[], None]] = []
_then: list[Callable[[FrameType | None], None]] = []
_survivor = 0
"""In a forked child: the thread, or greenlet, that forked. Threads stay behind; greenlets are all copied."""


def keep_from_children(descriptor: int) -> None:
    """From now on ``descriptor`` is let go of in every forked child."""
    _descriptors[descriptor] = _identity(descriptor)


def is_ours(descriptor: int) -> bool:
    """Whether the number still means what it meant: somebody may have closed it, and opened something else since."""
    try:
        return _identity(descriptor) == _descriptors.get(descriptor)
    except OSError:
        return False


def release(descriptor: int) -> bool:
    """Forget it, before closing it; ``False``: it is not ours any more and must not be closed."""
    ours = is_ours(descriptor)
    _descriptors.pop(descriptor, None)
    return ours


def around(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call both in this process each time it forks, each whatever the other one does; asking again changes nothing."""
    if before not in _before:
        _before.append(before)
        _after.append(after)


def in_child(forget: Callable[[], None]) -> None:
    """Call ``forget`` in every forked child: no thread may be started there, no lock waited for."""
    _in_child.append(forget)


def is_survivor() -> bool:
    """Whether the caller is the thread or greenlet that the fork, which made this process, was called in."""
    return threading.get_ident() == _survivor


def install(then: Callable[[FrameType | None], None]) -> None:
    """Register with the interpreter, once; ``then`` is told which frame called ``os.fork``, last of all."""
    if not _then:
        _then.append(then)
        os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_fork)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _before_fork() -> None:
    _call_all(_before)


def _after_in_parent() -> None:
    _call_all(_after)


def _call_all(calls: list[Callable[[], None]]) -> None:
    """The first error is raised when all have been called; the interpreter prints it and forks all the same."""
    first: BaseException | None = None
    for call in list(calls):
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # it is raised below
            first = first or error
    if first is not None:
        raise first


def _let_go(descriptors: list[int]) -> None:
    if not descriptors:
        return
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # no number is free: one of ours makes room
        os.close(descriptors[0])
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        if descriptor != null:
            os.dup2(null, descriptor, inheritable=False)
    if null not in descriptors:
        os.close(null)


def _after_fork() -> None:
    global _survivor  # noqa: PLW0603  # one per process, as the fork is
    _survivor = threading.get_ident()
    _let_go([descriptor for descriptor in _descriptors if is_ours(descriptor)])
    _descriptors.clear()
    _before.clear()
    _after.clear()
    callbacks, _in_child[:] = _in_child[:], []
    for forget in callbacks:
        forget()
    for tell in _then:
        tell(sys._getframe(1))
