"""What docs/testing.md shows is what runs: its files are written down as they stand, and pytest runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_page_s_examples_pass(tmp_path: Path) -> None:
    """Each block names its file in the first line; none is left out."""
    page = PAGE.read_text(encoding="utf-8")
    files = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL))
    assert len(files) == page.count("```python")
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert f"{files['test_shop.py'].count('def test_')} passed" in done.stdout, done.stdout + done.stderr
