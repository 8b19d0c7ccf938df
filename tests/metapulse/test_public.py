"""The public names: what they are, that a type checker knows them, and that a list of methods needs no PyTorch."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import metapulse as mp
from metapulse.listing import described
from metapulse.registry import LEARNERS
from metapulse.rows import Rows
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


def test_every_public_name_is_there_and_documented() -> None:
    assert list(mp.__all__) == sorted(mp.__all__)
    assert set(mp.__all__) <= set(dir(mp))
    for name in mp.__all__:
        assert name == "__version__" or getattr(mp, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mp.nothing


def test_the_reference_shows_every_public_name() -> None:
    shown = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    modules = [importlib.import_module(name) for name in shown if name == "metapulse.errors"]
    names = {name.rpartition(".")[2] for name in shown} | {name for module in modules for name in module.__all__}
    assert set(mp.__all__) - {"__version__"} <= names


@pytest.mark.parametrize("name", LEARNERS)
def test_what_a_list_says_of_a_method_is_what_its_class_says(name: str) -> None:
    row, cls = next(row for row in mp.methods() if row["name"] == name), LEARNERS[name]
    assert row["reference"] == f"{cls.__module__}:{cls.__name__}"
    assert {key: row[key] for key in ("authors", "year", "title", "arxiv")} == {
        key: getattr(cls.paper, key) for key in ("authors", "year", "title", "arxiv")
    }
    assert described(cls.__module__)[1]["where"] == cls.paper.where
    assert row["what"] == (sys.modules[cls.__module__].__doc__ or "").splitlines()[0]


def test_the_list_is_there_before_and_after_a_method_is_imported() -> None:
    program = """if True:
        import sys, metapulse as mp
        before = mp.methods()
        assert not {"torch", "flwr", "ray"} & set(sys.modules)
        from metapulse.methods.maml import MAML
        assert mp.methods() == before and mp.methods.maml.MAML is MAML
        print(before)"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(f" {name} " in done.stdout for name in LEARNERS)


def test_rows_are_a_sequence_that_shows_itself() -> None:
    rows = Rows([{"a": 1, "b": "<x>", "c": 0}, {"a": 2.34567, "b": "y", "c": 0}], ("a", "b"))
    assert len(rows) == 2
    assert rows[1]["a"] == 2.34567
    assert [row["c"] for row in rows[:1]] == [0]
    assert rows.where(b="y") == rows[1:]
    assert "2.346" in repr(rows)
    assert "c" not in repr(rows).splitlines()[1]
    assert "&lt;x&gt;" in rows._repr_html_()
    assert repr(Rows([])) is not None


SCRIPT = '''
"""A user's script."""

from pathlib import Path

import numpy as np

import metapulse as mp
from metapulse.methods.maml import MAML


def main() -> None:
    names: list[str] = [row["name"] for row in mp.methods()]
    result: mp.Result = mp.run("mine.toml", out=Path("runs/mine"), seed=3, run={"rounds": 50})
    rounds: object = result.summary["rounds"]
    scores: mp.Rows = result.scores.where(scenario="new_user")
    table: int = result["maml"].metrics.num_rows
    model: mp.PersonalModel = mp.load("runs/mine").model(person="17", steps=5)
    answers: np.ndarray = model.predict(np.zeros((3, 2), np.float32))
    page: Path = mp.report("runs/mine", out="page.html")
    said: mp.ComparisonResult = mp.compare("comparison.toml", workers=2)
    print(names, rounds, scores, table, answers, page, said.words, mp.__version__, MAML(inner_lr=0.1))
    try:
        mp.resume("runs/mine")
    except mp.RunError as error:
        print(error)
'''


def check(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """``mypy --strict`` on a script of the user's, in a folder of the user's."""
    (folder / "script.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.e2e
def test_a_script_is_type_checked_strictly(tmp_path: Path) -> None:
    done = check(tmp_path, SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = check(tmp_path, SCRIPT.replace("workers=2", 'workers="two"').replace('person="17"', "people=17"))
    assert wrong.returncode == 1
    assert wrong.stdout.count("error: ") == 2, wrong.stdout
