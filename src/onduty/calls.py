"""How a user's function wants to be called: does it take the context, is it ``async``, which arguments fit?

Everything is asked once, at declaration, so that a run costs no inspection.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from onduty.errors import ArgumentError, DeclarationError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_listener(function: Any) -> None:
    """Raises ``DeclarationError`` unless it can be called with an event, and has done its work when it returns."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise DeclarationError(f"{function!r} can't listen: give a plain function that takes the event")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise DeclarationError(f"{function!r} can't listen: it is called with one argument, the event") from None
    except ValueError:
        pass  # written in C, and says nothing of itself


class Call:
    """The signature of one declared function, split into the context and the run's own arguments."""

    __slots__ = ("_arguments", "function", "is_async", "needs", "takes_context")

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function) or isinstance(function, type):
            raise DeclarationError(f"{function!r} can't be run: give a function, a method or a callable object")
        target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
        if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
            raise DeclarationError(
                f"{function!r} is a generator: calling it runs nothing. Give a plain function with the loop inside"
            )
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise DeclarationError(f"{function!r} has no signature to read ({error}); wrap it in a def") from error
        parameters = list(signature.parameters.values())
        self.function = function
        self.is_async = inspect.iscoroutinefunction(target)
        self.takes_context = bool(parameters) and _is_context(parameters[0])
        rest = parameters[1:] if self.takes_context else parameters
        for one in rest:
            if one.name in ("ctx", "self") or _is_context(one):
                what = (
                    "is a method: give a function"
                    if one.name == "self"
                    else "takes the context, so let it be the first"
                )
                raise DeclarationError(f"{function!r} has a parameter {one.name}: it {what}")
        self._arguments = signature.replace(parameters=rest)
        #: Names of arguments that have no default: a scheduled run has nobody to give them.
        self.needs = [p.name for p in rest if p.default is p.empty and p.kind not in _VARIADIC]
        if any(p.kind is p.POSITIONAL_ONLY for p in rest):
            raise DeclarationError(
                f"{function!r} has positional-only arguments; a run's arguments travel by name: remove the '/'"
            )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The run's arguments as a JSON object, by name.

        Raises:
            ArgumentError: They do not fit the signature, or are not JSON.
        """
        try:
            bound = self._arguments.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(self.function, "__name__", repr(self.function))
            raise ArgumentError(f"{name}{self._arguments}: {self._misspelt(kwargs) or error}") from None
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self._arguments.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                raise ArgumentError(f"*{name}={value!r}: a run's arguments travel by name; pass them by keyword")
            else:
                named[name] = value
        try:
            return to_json(named, "the arguments of a run")
        except ArgumentError:
            for name, value in named.items():  # which one; and no word of the others, which may be secret
                to_json(value, f"the argument {name!r} of a run")
            raise

    def _misspelt(self, kwargs: dict[str, Any]) -> str | None:
        """What ``inspect`` does not say: it complains of the argument that is missing, not of the one that is wrong."""
        known = self._arguments.parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            return None
        unknown = next((name for name in kwargs if name not in known), None)
        if unknown is None:
            return None
        import difflib

        alike = difflib.get_close_matches(unknown, known, n=1)
        return f"it takes no argument named {unknown!r}" + (f"; did you mean {alike[0]!r}?" if alike else "")


def to_json(value: Any, what: str) -> str:
    """``value`` as compact JSON; an :class:`ArgumentError` that names ``what`` when it is not plain JSON data."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        # Its type and no more: what it says may be a secret, and this goes into a log.
        raise ArgumentError(f"{what} must be JSON, and this {type(value).__name__} is not: {error}") from None


def _is_context(parameter: inspect.Parameter) -> bool:
    if parameter.kind not in _POSITIONAL:
        return False
    annotation = parameter.annotation
    if isinstance(annotation, str):  # from __future__ import annotations
        return parameter.name == "ctx" or annotation.strip("'\"").rpartition(".")[2] == "Context"
    named = f"{getattr(annotation, '__module__', '')}.{getattr(annotation, '__qualname__', '')}"
    return parameter.name == "ctx" or named == "onduty.context.Context"
