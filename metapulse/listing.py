"""The list of methods, made without importing them: PyTorch takes a second to load, and a list does not need it.

A method's file opens with its name, its paper and what it does, and has one ``Paper(…)`` written out in it. Both are
read from the file's syntax tree, so they are stated in one place, the file itself.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metapulse.registry import LEARNERS
from metapulse.rows import Rows

PAPER = ("key", "authors", "year", "title", "arxiv", "where")  # arguments of metapulse.methods.base.Paper


def methods() -> Rows:
    """Every method that ``[learner] name = …`` can choose, with its paper.

    Returns:
        A row per method, sorted by name: name, what (a line), authors, year (0: a baseline without a paper), title,
        arxiv (its number, "" where there is none), reference (``package.module:Name``).
    """
    return Rows(map(_row, LEARNERS.references.items()), ("name", "what", "arxiv"))


def _row(entry: tuple[str, str]) -> dict[str, Any]:
    name, reference = entry
    what, paper = described(reference.split(":")[0])
    return {"name": name, "what": what, **{k: paper[k] for k in ("authors", "year", "title", "arxiv")}} | {
        "reference": reference
    }


def described(module: str) -> tuple[str, dict[str, Any]]:
    """The first line of a method's file, and its paper, by the names of ``PAPER``.

    Args:
        module: dotted name; it is not imported.

    Raises:
        ModuleNotFoundError: there is none.
        ValueError: it does not open with a docstring, or has no ``Paper(…)`` of plain values.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no file of {module}", name=module)
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Paper":
            given = {**dict(zip(PAPER, node.args, strict=False)), **{k.arg: k.value for k in node.keywords}}
            paper = {name: ast.literal_eval(given[name]) for name in PAPER}
            return (ast.get_docstring(tree) or "").split("\n")[0], paper
    raise ValueError(f"{module} has no Paper(…)")
