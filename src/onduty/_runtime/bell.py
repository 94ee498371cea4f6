"""A bell that wakes a loop out of its selector, from any thread and from a signal handler: it takes no lock."""

from __future__ import annotations

import contextlib
import os
import selectors

from onduty._runtime import forks


class Bell:
    """Rings in ``selector``, as an event whose data is a function to be called."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._heard, self._rung = os.pipe()
        for descriptor in (self._heard, self._rung):
            os.set_blocking(descriptor, False)
            forks.keep_from_children(descriptor)
        selector.register(self._heard, selectors.EVENT_READ, self._hear)

    def ring(self) -> None:
        # A run that closed all descriptors took the bell too, and its number may be somebody's file by now.
        with contextlib.suppress(OSError):
            if forks.is_ours(self._rung):
                os.write(self._rung, b"!")

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._heard, 64)
