"""The fixtures, in a test session of somebody else's: named in ``conftest.py``, and absent where nobody names them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

APP = """
from flask import Flask
from onduty import Context, OnDuty

duty = OnDuty()

@duty.task
def export(ctx: Context, user_id: int) -> int:
    ctx.sleep(60)
    return user_id

@duty.every(hours=1)
def report() -> None: ...

def create_app(name: str) -> Flask:
    app = Flask(name)
    app.testing = True
    duty.init_app(app)

    @app.post("/export/<int:user_id>")
    def start(user_id: int) -> str:
        return export.trigger(user_id).id

    return app
"""

CONFTEST = """
import pytest
from shop import create_app

pytest_plugins = ["onduty.testing.pytest"]

@pytest.fixture
def app():
    return create_app("shop")
"""

TESTS = """
import pytest
from shop import create_app, export, report

kept = []

@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_view(app, duty_testing, manual_clock, number):
    kept.append(app)  # an app of a test before may still be there
    began = manual_clock.now()
    answer = app.test_client().post(f"/export/{number}")
    assert manual_clock is duty_testing.clock
    (run,) = duty_testing.run_due()
    assert (run.id, run.result) == (answer.text, number)
    assert manual_clock.now() - began == 60_000_000
    assert export.trigger(7).wait(timeout=100) == "succeeded"
    assert [run.task for run in duty_testing.advance(hours=1)] == ["report"]
"""


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options, "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name, text in {"shop.py": APP, "conftest.py": CONFTEST, "test_shop.py": TESTS}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_an_app_factory_is_tested_by_fixtures(suite: Path) -> None:
    """A new app for each test, one module-level duty, and nothing lies about afterwards."""
    done = run_pytest(suite)

    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert {file.suffix for file in suite.iterdir() if file.is_file()} == {".py"}
    assert not (suite / "instance").exists()


def test_the_app_may_have_another_fixture(suite: Path) -> None:
    """``duty_app`` says which."""
    (suite / "conftest.py").write_text(CONFTEST.replace("def app():", "def duty_app():"))
    tests = TESTS.replace("(app", "(duty_app").replace("= app.", "= duty_app.")
    (suite / "test_shop.py").write_text(tests)

    done = run_pytest(suite)

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_who_does_not_name_it_does_not_load_it(tmp_path: Path) -> None:
    """Installing onduty slows down nobody's test session."""
    (tmp_path / "test_other.py").write_text("import sys\ndef test(): assert 'onduty' not in sys.modules\n")

    done = run_pytest(tmp_path)

    assert "1 passed" in done.stdout, done.stdout
