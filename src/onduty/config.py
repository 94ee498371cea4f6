"""Settings: environment ``ONDUTY_…`` over the app's config ``ONDUTY_…`` over keyword over default.

Each value remembers where it came from. A setting nobody knows is an error, not a comment: a misspelt ``ONDUTY_DIR``
would quietly give every process its own lock.
"""

# Annotations are evaluated here: a named tuple compiles each one that is text, 0.1 ms a class in every worker.
import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from onduty.errors import ConfigError, DeclarationError

FrozenLeader = Literal["report", "kill"]
JournalKind = Literal["sqlite", "memory"]
Durability = Literal["normal", "full"]

_LONGEST = 36_525 * 86_400
_MOST = 1_000_000
"""Of runs or days to keep: a mistake is more likely than a wish beyond it."""


class Settings(NamedTuple):
    """The settings of one app, checked.

    ``dir``: this machine's folder; "one machine" means the processes that share it. ``name``: the scope; two apps that
    differ in it do not know each other. ``lead``: may this process go on duty? ``grace``: seconds a stopping leader
    lets runs finish. ``frozen_leader``: what a standby does about a leader that no longer turns its loop. ``journal``:
    ``memory`` forgets on take-over. ``durability``: ``full`` makes SQLite wait for the disk at each commit.
    """

    dir: Path
    name: str
    lead: bool = True
    grace: float = 10.0
    timezone: str = "UTC"
    keep_runs: int = 1000
    keep_days: int = 30
    frozen_leader: FrozenLeader = "report"
    journal: JournalKind = "sqlite"
    durability: Durability = "normal"
    sources: Mapping[str, str] = MappingProxyType({})


def resolve(
    keywords: Mapping[str, Any],
    config: Mapping[str, Any],
    defaults: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Put the layers on top of each other and check every value.

    Raises:
        ConfigError: A value can't be used, or a name is not a setting.
    """
    environ = os.environ if environ is None else environ
    layers: list[tuple[str, dict[str, Any]]] = [
        ("default", dict(defaults)),
        ("keyword", {name: value for name, value in keywords.items() if value is not None}),
        ("config", _prefixed(config)),
        ("environment", {name: value for name, value in _prefixed(environ).items() if value != ""}),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        for name, value in layer.items():
            if name not in _READERS:
                raise ConfigError(f"{_spelled(source, name).strip()} is not a setting{_closest(source, name)}")
            values[name] = _READERS[name](_spelled(source, name), value)
            sources[name] = source
    if "name" not in values:
        raise ConfigError(
            'this app does not tell its name: say OnDuty(app, name="shop"), so that no other app is taken for it'
        )
    return Settings(**values, sources=sources)


def _prefixed(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {key[7:].lower(): layer[key] for key in layer if key.startswith("ONDUTY_")}


def _spelled(source: str, name: str) -> str:
    return f"{name}=" if source in ("keyword", "default") else f"ONDUTY_{name.upper()} ({source}) "


def _closest(source: str, name: str) -> str:
    close = (
        ["dir"]
        if name in ("folder", "directory", "path")
        else difflib.get_close_matches(name, _READERS, n=1, cutoff=0.6)
    )
    return (
        f"; did you mean {_spelled(source, close[0]).rstrip('= ')}?"
        if close
        else f"; settings are {', '.join(sorted(_READERS))}"
    )


def _folder(spelled: str, value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)) or not str(value) or "\0" in str(value):
        raise ConfigError(f"{spelled}{value!r} is not a folder; give the path of one on a local disk")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"{spelled}{value!r}: {error}; give the whole path") from error


def _text(spelled: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 200:
        raise ConfigError(f"{spelled}{value!r} must be printable text of at most 200 characters")
    return value


def _yes_or_no(spelled: str, value: Any) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    answer = value if isinstance(value, bool) else known.get(str(value).strip().lower())
    if answer is None:
        raise ConfigError(f"{spelled}{value!r} must be true or false")
    return answer


def _seconds(spelled: str, value: Any) -> float:
    total = getattr(value, "total_seconds", None)
    try:
        number = float("nan") if isinstance(value, bool) else float(total() if total else value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 <= number <= _LONGEST:
        raise ConfigError(f"{spelled}{value!r:.40} must be zero or more seconds, at most {_LONGEST} (a century)")
    return number


def _count(spelled: str, value: Any) -> int:
    try:
        number = 0 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if not 1 <= number <= _MOST or number != (float(value) if isinstance(value, float) else number):
        raise ConfigError(f"{spelled}{value!r} must be a whole number from 1 to {_MOST}")
    return number


def _choice(allowed: Any) -> Callable[[str, Any], str]:
    def read(spelled: str, value: Any) -> str:
        if value not in get_args(allowed):
            raise ConfigError(f"{spelled}{value!r} must be one of {', '.join(map(repr, get_args(allowed)))}")
        return str(value)

    return read


def _zone(spelled: str, value: Any) -> str:
    if value == "UTC":
        return "UTC"  # needs no database, and no time to load what reads one
    from onduty.schedules.zones import find_zone

    try:
        find_zone(value)
    except DeclarationError as error:
        raise ConfigError(f"{spelled.strip()} {error}") from error
    return str(value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "dir": _folder,
    "name": _text,
    "lead": _yes_or_no,
    "grace": _seconds,
    "timezone": _zone,
    "keep_runs": _count,
    "keep_days": _count,
    "frozen_leader": _choice(FrozenLeader),
    "journal": _choice(JournalKind),
    "durability": _choice(Durability),
}
assert set(_READERS) == set(Settings._fields) - {"sources"}
