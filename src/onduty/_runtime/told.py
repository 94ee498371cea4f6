"""What a process asks of its own work, ``on="every_worker"``: by word of mouth, since no journal is shared for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from onduty._runtime.desk import Desk
from onduty._runtime.execution import Execution
from onduty.tasks import Declared


class Told:
    """Filled by any thread, which then calls ``wake``; emptied by the loop, in :meth:`do`."""

    def __init__(self, desk: Desk, wake: Callable[[], None]) -> None:
        self._desk = desk
        self._wake = wake
        self._wanted: deque[Execution] = deque()
        self._cancelled: deque[str] = deque()
        self._cancelled_tasks: deque[str] = deque()

    def submit(self, declared: Declared, kwargs: str) -> str:
        """Run it once more; answers the run's id. It is claimed in the next turn."""
        run = self._desk.requested(declared.name, kwargs)
        self._wanted.append(run)
        self._wake()
        return run.run_id

    def cancel(self, run_id: str) -> None:
        """Tell the run in progress to end, or take it out of the queue."""
        self._cancelled.append(run_id)
        self._wake()

    def cancel_all(self, task: str) -> None:
        """The same for all runs of a task."""
        self._cancelled_tasks.append(task)
        self._wake()

    def do(self) -> None:
        """Bring it to the desk. What is cancelled already does not begin."""
        cancelled = list(self._cancelled)
        while self._wanted:
            run = self._wanted.popleft()
            if run.run_id in cancelled or run.task_name in self._cancelled_tasks:
                self._desk.decline(run)
            else:
                self._desk.request(run)
        for run_id in cancelled:
            self._cancelled.popleft()
            self._desk.cancel(run_id)
        while self._cancelled_tasks:
            self._desk.cancel_all(self._cancelled_tasks.popleft())
