"""What can go wrong, as types.

Every error onduty raises on purpose is an :class:`OnDutyError`, and its message names the value that was
refused and what to do about it. What a user's own function raises is stored as the outcome of its run and
never wrapped.

Losing an election is not here: it is an ordinary answer, not an error.
"""

from __future__ import annotations


class OnDutyError(Exception):
    """The parent of every error onduty raises on purpose."""


class ConfigError(OnDutyError):
    """A setting, or the surroundings it describes, can't be used; nothing was started."""


class DirectoryRefused(ConfigError):
    """The folder for lock, sockets and journal is not one that can keep two leaders apart."""


class DeclarationError(OnDutyError):
    """A task or service was declared in a way that could not work; nothing was registered."""


class DuplicateTask(DeclarationError):
    """Two tasks of one ``OnDuty`` have the same name."""


class UnknownTask(OnDutyError):
    """No task of that name is declared here."""


class ArgumentError(OnDutyError):
    """The arguments of a run do not fit the task, or are not JSON."""


class AlreadyStarted(OnDutyError):
    """It is too late for this call: the worker is ready and its background work has begun."""


class AppError(OnDutyError):
    """The app meant is missing, ambiguous, or already has this ``OnDuty``."""


class NotOnDuty(OnDutyError):
    """Only the worker on duty can do this, and this process is not it."""


class TermLost(OnDutyError):
    """A newer term has begun: whatever was to be written in the name of the old one was refused.

    Seen by a run whose worker was on duty and no longer is. End the run; the next leader goes on.
    """


class StoreUnavailable(OnDutyError):
    """The question could not be asked, or its answer never came; nobody here knows the truth.

    Behave as a standby and ask again later.
    """


class StoreFull(StoreUnavailable):
    """It could be asked, and not be written: no room, or a disk that takes nothing any more."""


class JournalBusy(StoreUnavailable):
    """Another process held the journal for as long as this call may wait; nothing was written.

    A request waits 1 s. Repeat it with the same id: should it have been written after all, that is harmless.
    """


class JournalDamaged(StoreUnavailable):
    """What lies where the journal should be is not one: malformed, or the file of another program.

    ``kind`` is ``"damaged"``, ``"foreign"``, or, where the file is gone or another one and the old one's logs are still
    there, ``"deleted"`` or ``"replaced"``. A standby waits; the leader sets the file aside
    (``Journal.set_aside``) and goes on with a new one.
    """

    def __init__(self, message: str, kind: str = "damaged") -> None:
        super().__init__(message)
        self.kind = kind
