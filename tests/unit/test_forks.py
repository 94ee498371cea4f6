"""A forked child lets go of what its parent holds, whatever state the parent is in."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """if True:
    import os, resource
    from onduty._runtime import forks

    forks.install(lambda caller: None)
    heard, held = os.pipe()
    for descriptor in (heard, held):
        forks.keep_from_children(descriptor)
    hoard = []
    if {full}:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                hoard.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as none_left:
            assert none_left.errno == 24, none_left
    if os.fork() == 0:
        null = os.stat(os.devnull).st_rdev
        os._exit(sum(os.fstat(one).st_rdev != null for one in (heard, held)))
    _, status = os.wait()
    os.close(held)
    print("kept by the child:", os.waitstatus_to_exitcode(status), "end of file:", os.read(heard, 1))
"""


def answer(full: bool) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(full=full)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_a_child_has_nothing_of_its_parent_s() -> None:
    """The numbers are taken, by the null device; the parent's open files end with the parent."""
    assert answer(full=False) == "kept by the child: 0 end of file: b''"


def test_a_child_of_a_process_without_a_free_descriptor_lets_go_too() -> None:
    """To open the null device needs a number, and none is free: one of ours makes room."""
    assert answer(full=True) == "kept by the child: 0 end of file: b''"
