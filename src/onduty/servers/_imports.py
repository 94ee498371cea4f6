"""Change a module's class the moment it exists, without ever importing the module.

Importing it ourselves would cost every app the servers it does not use, and worse: what loads ``ssl`` before gevent
patches it stays broken for the life of the process.

So: at once when the module is loaded, else right after somebody imports it. The loader stays the module's own, with all
it can do; only its ``exec_module`` is followed by one more step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader  # at run time it would bring tempfile, shutil and more

Change = Callable[[ModuleType], None]


def when_imported(name: str, change: Change) -> None:
    """Call ``change(module)`` now if ``name`` is loaded, else once it is; never, if it never is."""
    module = sys.modules.get(name)
    if module is not None:
        change(module)
        return
    _finder.waiting.setdefault(name, []).append(change)
    # At the front, since the first finder that knows a module wins; looked at again because others replace the list.
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Finds nothing itself: asks the other finders and follows what they found."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Change]] = {}
        self._asking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        # Another tool's finder may do as we do and ask us in turn.
        if fullname not in self.waiting or fullname in self._asking:
            return None
        self._asking.add(fullname)
        try:
            spec = self._found_by_others(fullname, path, target)
        finally:
            self._asking.discard(fullname)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _found_by_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            if finder is not self:
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    return spec
        return None

    def _follow(self, loader: Loader) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            # Asked by name, since a loader may be shared by all modules of an archive.
            for change in self.waiting.pop(module.__name__, ()):
                change(module)

        try:
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except AttributeError:
            # A loader without room for it. The first request is then the evidence.
            return


_finder = _Finder()
