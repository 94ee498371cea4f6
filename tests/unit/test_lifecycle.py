"""The life of a process: four verbs, four states, and a crew that is started once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from onduty._runtime.lifecycle import Lifecycle, State
from onduty.errors import ConfigError, OnDutyError
from support.waiting import eventually


class Sailor:
    """A crew that writes down what it is told."""

    def __init__(self, fails_with: Exception | None = None) -> None:
        self.told: list[str] = []
        self._fails_with = fails_with
        self.while_starting: Callable[[], object] = lambda: None

    def start(self) -> None:
        self.told.append("start")
        self.while_starting()
        if self._fails_with:
            raise self._fails_with

    def leave(self) -> None:
        self.told.append("leave")

    def stop(self) -> None:
        self.told.append("stop")


@pytest.fixture
def life() -> Lifecycle:
    return Lifecycle()


def in_state(state: State) -> Lifecycle:
    life = Lifecycle()
    if state in {State.READY, State.LEAVING}:
        life.ready("before")
    if state is State.LEAVING:
        life.leaving("before")
    if state is State.NEVER:
        life.never("before")
    assert life.state is state
    return life


@pytest.mark.parametrize(
    ("state", "verb", "after"),
    [
        (State.IDLE, "ready", State.READY),
        (State.IDLE, "leaving", State.IDLE),
        (State.IDLE, "never", State.NEVER),
        (State.IDLE, "stop", State.IDLE),
        (State.READY, "ready", State.READY),
        (State.READY, "leaving", State.LEAVING),
        (State.READY, "never", State.READY),
        (State.READY, "stop", State.LEAVING),
        (State.LEAVING, "ready", State.LEAVING),
        (State.LEAVING, "leaving", State.LEAVING),
        (State.LEAVING, "never", State.LEAVING),
        (State.LEAVING, "stop", State.LEAVING),
        (State.NEVER, "ready", State.NEVER),
        (State.NEVER, "leaving", State.NEVER),
        (State.NEVER, "never", State.NEVER),
        (State.NEVER, "stop", State.NEVER),
    ],
)
def test_each_verb_in_each_state(state: State, verb: str, after: State) -> None:
    """The whole table. What changes nothing does not change the reason either: the first evidence counts."""
    life = in_state(state)
    why = life.why

    getattr(life, verb)("because")

    assert life.state is after
    assert life.why == ("because" if after is not state else why)


def test_nothing_starts_before_the_process_serves(life: Lifecycle) -> None:
    """Enlisting is a declaration; evidence of serving is what starts the crew, and only the first time."""
    crew = Sailor()
    life.enlist(crew)
    assert crew.told == []

    life.ready("a request came")
    life.ready("another one came")

    assert crew.told == ["start"]
    assert life.why == "a request came"


def test_who_comes_late_starts_at_once(life: Lifecycle) -> None:
    """An app made by a factory on the first request finds the process ready."""
    life.ready("serving")
    crew = Sailor()

    life.enlist(crew)

    assert crew.told == ["start"]


@pytest.mark.parametrize("state", [State.LEAVING, State.NEVER])
def test_nobody_starts_in_a_process_that_leaves_or_never_serves(state: State) -> None:
    """Neither who came before nor who comes after."""
    life = in_state(state)
    crew = Sailor()

    life.enlist(crew)
    life.ready("too late")
    life.stop("the end")

    assert crew.told == []


def test_a_crew_is_told_to_leave_and_then_to_stop(life: Lifecycle) -> None:
    """Each once, in the order they started, however often the server says so."""
    first, second = Sailor(), Sailor()
    life.enlist(first)
    life.enlist(second)
    life.ready("serving")

    life.leaving("TERM")
    life.leaving("TERM again")
    assert first.told == second.told == ["start", "leave"]

    life.stop("exit")
    life.stop("exit again")
    assert first.told == second.told == ["start", "leave", "stop"]
    assert life.why == "TERM"


def test_a_stop_without_a_warning_is_a_warning_too(life: Lifecycle) -> None:
    """A server that only ends: the crew is told to leave, then to stop."""
    crew = Sailor()
    life.enlist(crew)
    life.ready("serving")

    life.stop("exit")

    assert crew.told == ["start", "leave", "stop"]


def test_who_was_discharged_is_told_nothing_more(life: Lifecycle) -> None:
    """Before the start or after it; the others are."""
    early, late, other = Sailor(), Sailor(), Sailor()
    for crew in (early, late, other):
        life.enlist(crew)
    life.discharge(early)
    life.ready("serving")
    life.discharge(late)
    life.discharge(late)

    life.stop("exit")

    assert early.told == []
    assert late.told == ["start"]
    assert other.told == ["start", "leave", "stop"]


def test_a_crew_that_refuses_to_start_stops_the_server(life: Lifecycle) -> None:
    """A clear error goes up to the server; this process will not serve, and who comes later does not start."""
    before, broken, after = Sailor(), Sailor(ConfigError("an unusable folder")), Sailor()
    for crew in (before, broken, after):
        life.enlist(crew)

    with pytest.raises(OnDutyError, match="an unusable folder"):
        life.ready("serving")

    assert life.state is State.NEVER
    assert life.why == "could not start"
    assert after.told == []
    life.stop("exit")
    assert before.told[-1] == "stop"
    assert broken.told == ["start"]


def test_a_late_crew_that_refuses_is_an_error_where_it_was_enlisted(life: Lifecycle) -> None:
    """The caller of ``init_app`` hears of it, and nobody else: this process serves, and its other work goes on."""
    good, later = Sailor(), Sailor()
    life.enlist(good)
    life.ready("serving")

    with pytest.raises(ConfigError):
        life.enlist(Sailor(ConfigError("an unusable folder")))

    life.enlist(later)
    life.stop("exit")
    assert good.told == later.told == ["start", "leave", "stop"]


def test_what_others_need_to_the_last_ends_after_all_of_them(life: Lifecycle) -> None:
    """Once, whenever it was added."""
    first, second = Sailor(), Sailor()
    first.while_starting = lambda: life.add_last(lambda: second.told.append("last"))
    life.enlist(first)
    life.enlist(second)
    life.ready("serving")

    life.stop("exit")
    life.stop("again")

    assert second.told == ["start", "leave", "stop", "last"]


def test_a_mistake_of_our_own_is_not_hidden(life: Lifecycle) -> None:
    """An error nobody meant goes up as it is."""
    life.enlist(Sailor(ZeroDivisionError()))

    with pytest.raises(ZeroDivisionError):
        life.ready("serving")


def test_a_sign_to_leave_during_the_start_reaches_who_is_starting(life: Lifecycle) -> None:
    """A signal may come at any moment: who is starting hears of it, and nobody else starts any more."""
    starting, waiting = Sailor(), Sailor()
    starting.while_starting = lambda: life.leaving("TERM")
    life.enlist(starting)
    life.enlist(waiting)

    life.ready("serving")

    assert starting.told == ["start", "leave"]
    assert waiting.told == []
    assert life.state is State.LEAVING


def test_the_end_waits_for_a_start_in_another_thread(life: Lifecycle) -> None:
    """As where the thread that serves starts, and the main thread ends the interpreter: it is told all the same."""
    sailor = Sailor()
    begun, ends = threading.Event(), threading.Event()

    def while_starting() -> None:
        begun.set()
        ends.wait(20)

    sailor.while_starting = while_starting
    life.enlist(sailor)
    starting = threading.Thread(target=life.ready, args=("it serves",))
    starting.start()
    assert begun.wait(20)
    stopping = threading.Thread(target=life.stop, args=("the interpreter is ending",))
    stopping.start()
    eventually(lambda: life.state is State.LEAVING)
    ends.set()
    for thread in (starting, stopping):
        thread.join(20)

    assert sailor.told == ["start", "leave", "stop"]


def test_a_stop_amid_the_start_of_the_same_thread_waits_for_nothing(life: Lifecycle) -> None:
    """A signal's handler would wait for what it has interrupted."""
    sailor = Sailor()
    sailor.while_starting = lambda: life.stop("a signal")
    life.enlist(sailor)

    life.ready("it serves")

    assert sailor.told == ["start", "leave"]


def test_a_crew_may_enlist_another_while_it_starts(life: Lifecycle) -> None:
    """Each starts once."""
    first, second = Sailor(), Sailor()
    first.while_starting = lambda: life.enlist(second)
    life.enlist(first)

    life.ready("serving")

    assert first.told == second.told == ["start"]


def test_the_first_sign_that_answers_is_the_reason_to_leave(life: Lifecycle) -> None:
    """Signs are asked only of a process that serves, and not again once it leaves."""
    asked: list[str] = []
    answers: dict[str, str | None] = {"master": None, "parent": None}

    def sign(name: str) -> Callable[[], str | None]:
        def ask() -> str | None:
            asked.append(name)
            return answers[name]

        return ask

    life.add_sign(sign("master"))
    life.add_sign(sign("parent"))
    life.look()
    assert asked == []

    life.ready("serving")
    life.look()
    assert life.state is State.READY
    answers["master"] = "the master is gone"
    life.look()
    life.look()

    assert asked == ["master", "parent", "master"]
    assert (life.state, life.why) == (State.LEAVING, "the master is gone")


FORK = """
import json, os, sys
from onduty._runtime.lifecycle import Lifecycle, State
life, told = Lifecycle(), []
class Crew:
    def start(self): told.append("start")
    def leave(self): told.append("leave")
    def stop(self): told.append("stop")
life.server = "some server"
life.add_sign(lambda: told.append("asked"))
{before}
life.enlist(Crew())
read, write = os.pipe()
child = os.fork()
if child == 0:
    told.clear()
    {at_fork}
    born = life.state.value
    life.look()
    life.ready("in the child")
    life.stop("the child ends")
    answer = json.dumps([born, life.state.value, life.why, told, life.server])
    os.write(write, answer.encode())
    os._exit(0)
os.close(write)
os.waitpid(child, 0)
print(json.dumps([json.loads(os.read(read, 10_000)), life.state.value, told]))
"""


def forked(before: str, at_fork: str) -> list[object]:
    answer = subprocess.run(
        [sys.executable, "-c", FORK.format(before=before, at_fork=at_fork)],
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    result = json.loads(answer.stdout)
    assert isinstance(result, list)
    return result


# A fork in Python tells the lifecycle; one in C does not, and the lifecycle finds out by the pid.
FORKS = pytest.mark.parametrize("at_fork", ["life.forked()", "pass"], ids=["told", "found out"])


@FORKS
def test_a_worker_forked_from_an_idle_master_lives_its_own_life(at_fork: str) -> None:
    """``--preload``: declared in the master, started in the worker; nothing of it in the master."""
    child, state, told = forked("pass", at_fork)

    assert child == ["idle", "leaving", "the child ends", ["start", "leave", "stop"], ""]
    assert (state, told) == ("idle", [])


@FORKS
def test_a_child_of_a_worker_is_no_worker(at_fork: str) -> None:
    """It never serves, whatever it calls; and its parent goes on undisturbed."""
    child, state, told = forked("life.ready('in the parent')", at_fork)

    assert child == ["never", "never", "a child of a worker", [], ""]
    assert (state, told) == ("ready", ["start"])


@FORKS
@pytest.mark.parametrize(
    "before", ["life.never('a command')", "life.ready('serving'); life.leaving('TERM')"], ids=["never", "leaving"]
)
def test_a_child_of_a_process_that_does_not_serve_does_not_either(before: str, at_fork: str) -> None:
    """A shell's or a task queue's own child, or one forked by a worker on its way out."""
    child, _, told = forked(before, at_fork)

    assert child[:2] == ["never", "never"]  # type: ignore[index]
    assert told == []
