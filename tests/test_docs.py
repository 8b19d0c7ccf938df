"""What the documents name exists, and what is registered is in them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

from metapulse.outer import DIRECTIONS
from metapulse.registry import ATTACKS, METHODS, MODELS, SOURCES, TRANSFORMS
from metapulse.strategies.aggregators.registry import AGGREGATORS
from metapulse.strategies.registry import STRATEGIES
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
REGISTRIES = {r.kind: r for r in (STRATEGIES, AGGREGATORS, MODELS, TRANSFORMS, SOURCES, ATTACKS)}
PUBLISHED = {
    name for name, where in SOURCES.references.items() if where.startswith("metapulse.sim.datasets.")
}  # one row
ENTRIES = [(kind, name) for kind, names in REGISTRIES.items() for name in names if {kind, name}.isdisjoint(PUBLISHED)]
PACKAGES = ("client", "strategies", "server", "sim")
FOLDERS = ("metapulse", *PACKAGES, "tests", "docs", "examples", "benchmarks", "configs")


def path_of(module: str) -> str:
    """Where a module's file is in the repository."""
    path = module.replace(".", "/") + ".py"
    return path.removeprefix("metapulse/") if path.split("/")[1] in PACKAGES else path


def module_of(path: str) -> str:
    """The import name of a file."""
    name = path.removesuffix(".py").replace("/", ".")
    return f"metapulse.{name}" if path.split("/")[0] in PACKAGES else name


def row(name: str, section: str) -> str:
    """The line of a section's table that begins with a name."""
    part = PAGE.split(f"(`[{section}]`")[1].split("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    assert len(rows) == 1, f"{section} {name!r}: {len(rows)} rows in docs/methods.md"
    return rows[0]


def test_the_blocks_of_the_methods_are_those_of_the_registry() -> None:
    """They are made anew by ``python docs/dev/methods.py``."""
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "docs" / "dev" / "methods.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page(PAGE) == PAGE
    for name in METHODS:
        method = METHODS[name]
        block = PAGE.split(f"\n### {name}\n")[1].split("\n### ")[0]
        assert f"`{path_of(method.learner.__module__)}: {method.learner.__name__}`" in block
        assert all(word in block for word in (method.paper.title, method.paper.arxiv, f"`{method.server.strategy}`"))


@pytest.mark.parametrize(("kind", "name"), ENTRIES, ids=["-".join(entry) for entry in ENTRIES])
def test_every_registered_name_has_its_row_with_its_file_and_its_paper(kind: str, name: str) -> None:
    entry, text = REGISTRIES[kind][name], row(name, kind)
    assert f"`{path_of(entry.__module__)}`" in text
    paper = getattr(entry, "paper", None)
    if paper is not None and paper.year:
        for word in (paper.authors, str(paper.year), paper.arxiv):
            assert word in text
        assert paper.where in text or name == "stock"


def test_nothing_else_is_described_as_registered() -> None:
    for kind, registry in REGISTRIES.items():
        part = PAGE.split(f"(`[{kind}]`")[1].split("\n## ")[0].split("`outer` chooses")[0]
        first = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
        assert sorted(re.findall(r"`(\w+)`", " ".join(first))) == [name for name in registry if name not in PUBLISHED]


def test_every_outer_optimiser_has_its_formula() -> None:
    table = PAGE.split("| `outer` |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(DIRECTIONS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_and_symbols_that_a_document_names_exist(document: str) -> None:
    """`folder/file`, and `folder/file.py: Name.attribute`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for path, symbol in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)(?:: ([\w.]+))?`", text):
        assert (ROOT / path).exists(), f"{document}: {path}"
        if symbol:
            module = importlib.import_module(module_of(path))
            assert reduce(getattr, symbol.split("."), module) is not None
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_the_walk_names_what_it_walks_through() -> None:
    """Keeps the test above honest: the pattern does find references."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(re.findall(r"`[\w/]+\.py: [\w.]+`", text)) > 40


@pytest.mark.e2e
def test_the_site_builds_strictly_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    """Strictly: a page that is not in the navigation, or a link or an anchor to nowhere, is an error."""
    pytest.importorskip("mkdocs", reason="the site's builder is not installed: it is the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(ROOT.glob("docs/**/*.md")))  # and the page for what is not found
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link(?![^>]*canonical)[^>]*\shref=["']?(?:https?:)?//"""
    )
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


def test_the_table_of_formats_and_metrics_is_what_the_readers_give() -> None:
    """It is made anew by ``python docs/dev/record_metrics.py``; what needs data to be seen is taken from the page."""
    spec = importlib.util.spec_from_file_location("record_metrics", ROOT / "docs" / "dev" / "record_metrics.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = made.PAGE.read_text(encoding="utf-8")
    assert made.page(text, made.joined(made.without_data(), made.of_data(text))) == text
    assert made.told(text)["apple", "heart_rate"] >= {"t", "s"}
