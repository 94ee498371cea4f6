"""Settings: which layer wins, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onduty.config import resolve
from onduty.errors import ConfigError

DEFAULTS = {"dir": "/srv/app", "name": "app", "timezone": "UTC"}


def test_environment_goes_before_config_before_keyword_before_default() -> None:
    """And each value remembers where it came from."""
    settings = resolve(
        {"grace": 1, "name": "keyword", "keep_runs": 5},
        {"ONDUTY_GRACE": 2, "ONDUTY_NAME": "config", "SECRET_KEY": "x"},
        DEFAULTS,
        {"ONDUTY_GRACE": "3.5", "HOME": "/root"},
    )

    assert (settings.grace, settings.name, settings.keep_runs, settings.dir) == (3.5, "config", 5, Path("/srv/app"))
    assert [settings.sources[name] for name in ("grace", "name", "keep_runs", "dir")] == [
        "environment",
        "config",
        "keyword",
        "default",
    ]


@pytest.mark.parametrize(
    ("keywords", "environ", "said"),
    [
        ({"grce": 3}, {}, r"grce= is not a setting; did you mean grace\?"),
        ({"folder": "/srv/duty"}, {}, r"folder= is not a setting; did you mean dir\?"),
        ({}, {"ONDUTY_STORE": "redis://"}, r"ONDUTY_STORE \(environment\) is not a setting"),
        ({"grace": -1}, {}, "grace=-1"),
        ({"grace": float("nan")}, {}, "grace=nan"),
        ({}, {"ONDUTY_GRACE": "soon"}, "'soon' must be zero or more seconds"),
        ({"name": ""}, {}, "name=''"),
        ({"name": "a\nb"}, {}, "printable"),
        ({"dir": ""}, {}, "dir=''"),
        ({"lead": "perhaps"}, {}, "lead='perhaps' must be true or false"),
        ({"timezone": "Mars/Olympus"}, {}, "unknown time zone 'Mars/Olympus'"),
        ({"keep_runs": 0}, {}, "keep_runs=0"),
        ({"keep_runs": 1.5}, {}, "keep_runs=1.5"),
        ({"frozen_leader": "shoot"}, {}, "'shoot' must be one of 'report', 'kill'"),
        ({"journal": "paper"}, {}, "'paper' must be one of"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name_and_with_a_remedy(
    keywords: dict[str, Any], environ: dict[str, str], said: str
) -> None:
    """A misspelt setting would quietly give every process a lock of its own."""
    with pytest.raises(ConfigError, match=said):
        resolve(keywords, {}, DEFAULTS, environ)


def test_an_app_without_a_name_must_be_given_one() -> None:
    """Two apps that share a folder by accident must not share a lock by accident."""
    with pytest.raises(ConfigError, match="name"):
        resolve({}, {}, {"dir": "/srv"}, {})
