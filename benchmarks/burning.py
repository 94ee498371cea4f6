"""CPU burnt on purpose: ``burn`` in the worker on duty, and the same loop as a process of its own."""

from __future__ import annotations

import sys
import threading
import time

EVERY = 0.1


def burn(seconds: float) -> None:
    """Use so much CPU time of this thread, however long that takes."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def main() -> None:
    """Burn on the grid of ``EVERY`` while told to ``go``; each line of standard input is ``go`` or ``rest``."""
    going = threading.Event()

    def loop() -> None:
        while going.wait():
            burn(EVERY / 2)
            time.sleep(EVERY - time.time() % EVERY)

    threading.Thread(target=loop, daemon=True).start()
    for line in sys.stdin:
        (going.set if line.strip() == "go" else going.clear)()


if __name__ == "__main__":
    main()
