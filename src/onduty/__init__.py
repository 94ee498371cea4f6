"""onduty runs your web app's background work on exactly one of its workers, and hands it to another worker the moment
that one goes away.

The engine is in ``_runtime``, what it decides with in ``schedules``, ``election`` and ``journal``, what it knows of
web servers in ``servers``. Users need the names below and no others.
"""

from onduty.context import Context as Context
from onduty.duty import OnDuty as OnDuty
from onduty.election import Leader as Leader
from onduty.errors import AlreadyStarted as AlreadyStarted
from onduty.errors import AppError as AppError
from onduty.errors import ArgumentError as ArgumentError
from onduty.errors import ConfigError as ConfigError
from onduty.errors import DeclarationError as DeclarationError
from onduty.errors import DirectoryRefused as DirectoryRefused
from onduty.errors import DuplicateTask as DuplicateTask
from onduty.errors import JournalBusy as JournalBusy
from onduty.errors import NotOnDuty as NotOnDuty
from onduty.errors import OnDutyError as OnDutyError
from onduty.errors import StoreUnavailable as StoreUnavailable
from onduty.errors import TermLost as TermLost
from onduty.errors import UnknownTask as UnknownTask
from onduty.events import RunFailed as RunFailed
from onduty.events import RunLost as RunLost
from onduty.events import RunStarted as RunStarted
from onduty.events import RunSucceeded as RunSucceeded
from onduty.events import SlotsPassed as SlotsPassed
from onduty.events import TermBegan as TermBegan
from onduty.events import TermEnded as TermEnded
from onduty.journal import Outcome as Outcome
from onduty.run import Run as Run
from onduty.tasks import Service as Service
from onduty.tasks import Task as Task

__all__ = [
    "AlreadyStarted",
    "AppError",
    "ArgumentError",
    "ConfigError",
    "Context",
    "DeclarationError",
    "DirectoryRefused",
    "DuplicateTask",
    "JournalBusy",
    "Leader",
    "NotOnDuty",
    "OnDuty",
    "OnDutyError",
    "Outcome",
    "Run",
    "RunFailed",
    "RunLost",
    "RunStarted",
    "RunSucceeded",
    "Service",
    "SlotsPassed",
    "StoreUnavailable",
    "Task",
    "TermBegan",
    "TermEnded",
    "TermLost",
    "UnknownTask",
]
