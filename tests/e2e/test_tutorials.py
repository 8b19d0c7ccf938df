"""The tutorials run as they stand: files are written, commands and programs run, in the order of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
FENCE = re.compile(r"^```(\w+)(?: title=\"([\w.]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page: Path) -> str:
    """A page as one shell script: a block with a title is a file, ``console`` is typed, ``python`` is run."""
    parts = ["set -eu"]
    for language, title, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if title:
            parts.append(f"cat > {title} <<'TUTORIAL'\n{text}TUTORIAL")
        elif language == "console":
            parts.append(text.replace("metapulse ", '"$PYTHON" -m metapulse.sim.cli '))
        elif language == "python":
            parts.append(f"\"$PYTHON\" - <<'TUTORIAL'\n{text}TUTORIAL")
    return "\n".join(parts)


def follow(page: Path, folder: Path) -> str:
    """Do what a page says in an empty folder; all output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-c", script(page)], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_first_comparison(tmp_path: Path) -> None:
    follow(ROOT / "docs/tutorials/first_comparison.md", tmp_path)
    assert len(list((tmp_path / "first" / "cells").iterdir())) == 3 * 3  # methods × seeds


def test_own_data(tmp_path: Path) -> None:
    said = follow(ROOT / "docs/tutorials/own_data.md", tmp_path)
    assert "source.user = 'participnat': no such column; did you mean 'participant'?" in said
    found = re.findall(r"^new_user 5 (\d+) ([\d.]+)$", said, re.MULTILINE)
    accuracy = {int(step): float(mean) for step, mean in found}
    assert accuracy[5] > 0.75  # half would be chance


def test_own_learner(tmp_path: Path) -> None:
    """The learner of the page keeps the contract, agrees on both engines (the page says so itself) and is compared."""
    said = follow(ROOT / "docs/tutorials/own_learner.md", tmp_path)
    assert re.search(r"^near:Near: \d+ checks hold, 0 broken, \d+ not for it$", said, re.MULTILINE)
    assert "zhou2019minibatchprox" in said
    assert len((tmp_path / "near.py").read_text().splitlines()) <= 80
    assert len(list((tmp_path / "compared" / "cells").iterdir())) == 2 * 2


def test_personal(tmp_path: Path) -> None:
    """From exports to the page of a person's model, by the block that docs/personal.md opens with."""
    said = follow(ROOT / "docs/personal.md", tmp_path)
    assert "history of" in said
    page = (tmp_path / "me" / "report.html").read_text(encoding="utf-8")
    assert "The change of device" in page
    assert len((tmp_path / "forecasts.csv").read_text().splitlines()) > 4000


def test_all_of_them_are_followed() -> None:
    """A new page needs its test, and a page without a block that runs would teach nothing."""
    assert [page.stem for page in TUTORIALS] == ["first_comparison", "own_data", "own_learner"]
    assert all("-m metapulse.sim.cli" in script(page) for page in TUTORIALS)
