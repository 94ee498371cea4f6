"""Every declaration of one ``OnDuty``."""

from __future__ import annotations

from collections.abc import Iterator

from onduty.errors import AlreadyStarted, DeclarationError, DuplicateTask, UnknownTask
from onduty.tasks import Declared


class Registry:
    """By name, in order; closed when the worker is ready."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}
        self._closed = False

    def add(self, declared: Declared) -> None:
        if self._closed:
            raise AlreadyStarted(
                f"{declared.name} is declared after the worker became ready, when its background work had begun; "
                "declare it at import time or in the app factory"
            )
        known = self._declared.get(declared.name)
        function: object = declared.call.function
        if known is not None and function is known:
            raise DuplicateTask(
                f"{declared.name} is a task already, by the decorator below this one: one decorator is enough, and "
                "every task can be triggered"
            )
        if known is not None:
            module = getattr(declared.call.function, "__module__", "app").rpartition(".")[2]
            raise DuplicateTask(
                f'there is a task named {declared.name} already; give one of them name="{module}.{declared.name}"'
            )
        was = declared.chosen.was
        if was is not None and was in (declared.name, *(one.chosen.was for one in self._declared.values())):
            raise DeclarationError(
                f"{declared.name} can't have been {was!r}: that is its own name, or another task was that one;"
                " was= is the name that this function had before, and no other"
            )
        if self._comes_back(declared.name, was):
            raise DeclarationError(
                f"{declared.name} can't have been {was!r} while {was!r} goes back to {declared.name}: for names to"
                " change places, give one of them a third name in a deployment of its own"
            )
        self._declared[declared.name] = declared

    def _comes_back(self, name: str, was: str | None) -> bool:
        while was is not None and was != name:
            known = self._declared.get(was)
            was = known.chosen.was if known else None
        return was == name

    def close(self) -> None:
        self._closed = True

    def get(self, name: str) -> Declared:
        if name not in self._declared:
            known = ", ".join(self._declared) or "none is"
            raise UnknownTask(f"no task named {name!r} is declared here; declared: {known}")
        return self._declared[name]

    def find(self, name: str) -> Declared | None:
        return self._declared.get(name)

    def __iter__(self) -> Iterator[Declared]:
        return iter(list(self._declared.values()))

    def __len__(self) -> int:
        return len(self._declared)

    def __contains__(self, name: object) -> bool:
        return name in self._declared
