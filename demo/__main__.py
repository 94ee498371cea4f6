"""``python -m demo``: the page, until Ctrl-C. ``python -m demo --prove``: the proof, with an exit status.

Every start is a fresh one: the folder is a temporary one and goes away with the demo.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from demo.proof import prove
from demo.server import DemoFailed, Server

OPEN = """
  Open    {url}
  It is   {command}
  Try     a few tabs, and the red button: it kills the worker on duty (SIGKILL) and shows how soon another one is
  Stop    Ctrl-C
"""


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="onduty's main job, to watch")
    parser.add_argument("--prove", action="store_true", help="no browser: kill the worker on duty 5 times, and judge")
    wanted = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _as_interrupt)
    with tempfile.TemporaryDirectory(prefix="onduty-demo-") as name:
        try:
            return prove(Path(name)) if wanted.prove else show(Path(name))
        except DemoFailed as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ndemo: stopped", file=sys.stderr)
            return 1 if wanted.prove else 0


def show(folder: Path) -> int:
    """Serve the page until somebody stops it."""
    with Server(folder) as server:
        server.ready()
        print(OPEN.format(url=server.url, command=server.command), flush=True)
        status = server.wait()
    raise DemoFailed(f"gunicorn ended by itself, with status {status}; see above")


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
