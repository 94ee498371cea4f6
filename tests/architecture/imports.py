"""Draws every import of a package from its source, without running any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "onduty"
SOURCE = Path(__file__).parents[2] / "src" / PACKAGE


@dataclass(frozen=True)
class Import:
    """One arrow: ``module`` imports ``target``, both with full dotted names.

    ``lazily``: inside a function, so only when it is called. ``for_types``: under ``if TYPE_CHECKING``, so never when
    the program runs.
    """

    module: str
    target: str
    line: int
    lazily: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module} -> {self.target} (line {self.line})"


def sources(root: Path = SOURCE) -> dict[str, Path]:
    """Dotted module name to file, for every module under ``root``, which is itself a package."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def draw(root: Path = SOURCE) -> list[Import]:
    """All imports of the package at ``root``."""
    modules = sources(root)
    return [arrow for name, path in modules.items() for arrow in _of_module(name, path, modules)]


def _of_module(name: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    is_package = path.name == "__init__.py"

    def visit(node: ast.AST, lazily: bool, for_types: bool) -> Iterator[Import]:
        for target in _targets(node, name, is_package, modules):
            yield Import(name, target, getattr(node, "lineno", 0), lazily, for_types)
        inside_function = lazily or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for field, value in ast.iter_fields(node):
            guarded = for_types or (field == "body" and isinstance(node, ast.If) and _is_type_checking(node.test))
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, inside_function, guarded)

    yield from visit(ast.parse(path.read_text(encoding="utf-8"), str(path)), lazily=False, for_types=False)


def _targets(node: ast.AST, importer: str, is_package: bool, modules: dict[str, Path]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = importer.split(".")
            start = ".".join(parents[: len(parents) - node.level + is_package])
            base = f"{start}.{base}" if base else start
        # `from package import name` takes a module when there is one of that name, else something out of the package.
        taken = [f"{base}.{alias.name}" for alias in node.names]
        return list(dict.fromkeys(full if full in modules else base for full in taken))
    if isinstance(node, ast.Call) and _is_import_by_name(node.func) and node.args:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return [argument.value]
    return []


def _is_import_by_name(function: ast.expr) -> bool:
    return ast.unparse(function) in {"import_module", "importlib.import_module", "__import__"}


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
