"""Many seeds from a shell: ``python -m onduty.testing.simulator SEEDS [--first N] [--jobs N]``.

Ends with 1, and the story of the first few seeds, when a promise was broken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from onduty.testing.simulator.story import simulate

SHOWN = 3
"""Stories told in full; of further ones the first line."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m onduty.testing.simulator")
    parser.add_argument("seeds", type=int, nargs="?", default=1000, help="how many stories are played")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share them")
    given = parser.parse_args(arguments)
    if given.jobs > 1:
        return _share(given.seeds, given.first, given.jobs)
    began = time.monotonic()
    broken = runs = 0
    for seed in range(given.first, given.first + given.seeds):
        story = simulate(seed)
        runs += story.runs
        if story.violation is not None:
            broken += 1
            _say(str(story) if broken <= SHOWN else str(story).partition("\n")[0])
    seconds = time.monotonic() - began
    _say(f"{given.seeds} seeds from {given.first}: {broken} broken; {runs} runs, {given.seeds / seconds:.0f} seeds/s")
    return 1 if broken else 0


def _share(seeds: int, first: int, jobs: int) -> int:
    """Each process plays a part of its own; so a seed is played as if it were alone."""
    parts = []
    for number in range(jobs):
        begin, end = first + seeds * number // jobs, first + seeds * (number + 1) // jobs
        command = [sys.executable, "-m", "onduty.testing.simulator", str(end - begin), "--first", str(begin)]
        parts.append(subprocess.Popen(command))
    return max(part.wait() for part in parts)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
