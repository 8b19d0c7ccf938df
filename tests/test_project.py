"""The project's own files: what they name exists, what they promise holds, what is shipped is whole."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions, version
from pathlib import Path

import grimp
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.installed import wheel
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("client", "strategies", "server", "sim")  # beside each other here, and in the package when it is imported
PACKAGES = ("metapulse", *FOLDERS)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOL = PROJECT["tool"]
FAB_LIMIT = 10 * 2**20  # bytes; Flower refuses a larger bundle


def files(folder: Path = ROOT) -> Iterator[Path]:
    """The project's files, without what git ignores: environment, caches, runs."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for path in sorted(folder.iterdir()):
        anchored = f"/{path.relative_to(ROOT).as_posix()}"
        names = {path.name, f"{path.name}/", f"*{path.suffix}", f"*{path.suffix}/", anchored, f"{anchored}/"}
        if path.name == ".git" or not names.isdisjoint(ignored):
            continue
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def sources(*patterns: str) -> list[str]:
    """Paths, as they are installed, of files of the package, ignored by git or not."""
    found = []
    for folder in PACKAGES:
        paths = (path for pattern in patterns for path in (ROOT / folder).rglob(pattern))
        inside = sorted(path.relative_to(ROOT).as_posix() for path in paths if not path.is_symlink())
        found += [f"metapulse/{path}" if folder in FOLDERS else path for path in inside]
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files in a folder of their own, as in a fresh clone."""
    target = tmp_path_factory.mktemp("clone") / "metapulse"
    for path in files():
        place = target / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    for name in FOLDERS:
        (target / "metapulse" / name).symlink_to(f"../{name}")
    return target


def program(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment; its output is in the failure message."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def assigned(path: Path) -> set[str]:
    """Names that a module assigns plainly at top level: ``app = …``."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}


def named_paths() -> dict[str, list[str]]:
    """Every path or pattern that pyproject.toml names, by its key."""
    hatch, pytest_, lint = TOOL["hatch"]["build"]["targets"], TOOL["pytest"]["ini_options"], TOOL["ruff"]["lint"]
    return {
        "readme": [PROJECT["project"]["readme"]],
        "license-files": PROJECT["project"]["license-files"],
        "wheel.only-include": hatch["wheel"]["only-include"],
        "wheel.sources": list(hatch["wheel"]["sources"]),
        "sdist.include": hatch["sdist"]["include"],
        "fab-include": TOOL["flwr"]["app"]["fab-include"],
        "flwr.app.config": [TOOL["flwr"]["app"]["config"]["config"]],
        "per-file-ignores": list(lint["per-file-ignores"]),
        "mypy.files": TOOL["mypy"]["files"],
        "testpaths": pytest_["testpaths"],
        "pythonpath": pytest_["pythonpath"],
    }


@pytest.mark.parametrize("key", named_paths())
def test_every_path_in_pyproject_exists(key: str) -> None:
    found = {name: any(ROOT.glob(name.strip("/"))) for name in named_paths()[key] if name != "."}
    assert all(found.values()), f"{key} names what does not exist: {[n for n, ok in found.items() if not ok]}"


def test_every_module_in_pyproject_exists() -> None:
    contracts = TOOL["importlinter"]["contracts"]
    layers = [name for c in contracts for layer in c.get("layers", []) for name in layer.split(" : ")]
    dotted = {*layers, *(name for c in contracts for name in c.get("source_modules", []))}
    for name in dotted - {""}:
        place = ROOT / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), f"no module {name}"


def test_the_apps_are_plainly_assigned() -> None:
    """Flower finds an app by searching the syntax tree: an annotated or imported one is refused."""
    for reference in TOOL["flwr"]["app"]["components"].values():
        module, name = reference.split(":")
        path = ROOT / f"{module.replace('.', '/')}.py"
        assert path.is_file(), f"{reference}: no file {path.name}"
        assert name in assigned(path), f"{reference} is not assigned plainly"


def test_the_command_exists() -> None:
    module, name = PROJECT["project"]["scripts"]["metapulse"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_every_path_in_the_makefile_and_ci_exists() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    for name in sorted(set(re.findall(r"[\w/]+\.(?:toml|txt)\b", makefile))):
        assert (ROOT / name).is_file(), f"Makefile names {name}"
    (cleaned,) = re.findall(r"find ([\w ]+?) -name __pycache__", makefile)
    assert all((ROOT / name).is_dir() for name in cleaned.split()), cleaned
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert {"run", "test", "check", "clean"} <= targets
    assert set(re.findall(r"^make (\w+)$", ci, re.MULTILINE)) == {"check", "test"}
    assert (ROOT / ".ci/run").stat().st_mode & 0o111, ".ci/run is not executable"


def test_the_hooks_run_what_make_check_runs() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["entry"].replace(".venv/bin/", "").replace(" --force-exclude", "") for hook in repo["hooks"]}
    recipe = (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]
    checks = {re.sub(r" --check| \.$", "", line) for line in re.findall(r"\$\(BIN\)/(.+)", recipe)}
    assert hooks == checks


def test_every_requirement_is_pinned_within_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): pin for name, pin in pins.items()}
    project = PROJECT["project"]
    asked = [*PROJECT["build-system"]["requires"], *project["dependencies"]]
    asked += [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    for requirement in map(Requirement, asked):
        if requirement.name == project["name"]:
            continue  # the dev extra has the other extras in it
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} has no pin"
        assert requirement.specifier.contains(pin), f"{requirement} does not admit {pin}"


def test_the_version_is_the_same_everywhere() -> None:
    stated = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(r"^## \[(\d[^]]*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version("metapulse") == stated, "installed another time: run make env"
    assert (str(citation["version"]), str(citation["date-released"])) == released[0]
    assert released[0][0] == stated


def test_the_library_in_the_import_contracts_is_all_of_it() -> None:
    layers, alone, *_ = TOOL["importlinter"]["contracts"]
    inside = {path.stem for path in (ROOT / "metapulse").iterdir() if path.suffix == ".py" or path.is_dir()}
    library = {f"metapulse.{name}" for name in inside - {*FOLDERS, "__init__", "__pycache__"}}
    assert set(layers["layers"][-1].split(" : ")) == set(alone["source_modules"]) == library


def test_the_folders_are_one_package_and_their_bare_names_are_none() -> None:
    assert set(packages_distributions().get("metapulse", [])) <= {"metapulse"}
    for name in FOLDERS:
        assert Path(importlib.import_module(f"metapulse.{name}").__file__ or "").resolve().parent == ROOT / name
        bare = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
        assert f"ImportError: {name} is now metapulse.{name}" in bare.stderr


def in_order(imports: dict[str, set[str]]) -> None:
    """Fail where names cannot be put in an order in which each imports only earlier ones; says the circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_two_files_import_each_other_in_a_circle() -> None:
    """Nor do folders, or a folder and a file, that lie beside each other; imports inside functions count.

    ``metapulse/__init__.py`` names what is public, and may reach for it when it is asked.
    """
    graph = grimp.build_graph("metapulse", cache_dir=None)
    inside = graph.modules - {"metapulse"}
    imports = {name: graph.find_modules_directly_imported_by(name) & inside for name in inside}
    assert len(inside) > 300
    in_order({name: found - {name} for name, found in imports.items()})
    for parent in {name.rpartition(".")[0] for name in inside}:
        depth, beside = parent.count(".") + 2, dict[str, set[str]]()
        for name in (name for name in inside if name.startswith(f"{parent}.")):
            child = ".".join(name.split(".")[:depth])
            found = {".".join(one.split(".")[:depth]) for one in imports[name] if one.startswith(f"{parent}.")}
            beside.setdefault(child, set()).update(found - {child})
        in_order(beside)


def test_imports_point_down_only() -> None:
    program(str(Path(sys.executable).parent / "lint-imports"), "--no-cache", cwd=ROOT)


def test_modules_export_what_they_say() -> None:
    for name in sources("*.py"):
        if name.endswith("__main__.py"):
            continue
        module = importlib.import_module(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        stated = getattr(module, "__all__", [])
        assert len(set(stated)) == len(stated), name
        assert [n for n in stated if not hasattr(module, n)] == [], name


@pytest.mark.e2e
def test_the_flower_bundle_is_whole_and_holds_nothing_else(copy: Path, tmp_path: Path) -> None:
    """Flower silently leaves out test_*.py, *_test.py and whatever the root .gitignore names."""
    program(str(Path(sys.executable).parent / "flwr"), "build", cwd=copy)
    (bundle,) = copy.glob("*.fab")
    assert bundle.stat().st_size < FAB_LIMIT
    with zipfile.ZipFile(bundle) as archive:
        inside = set(archive.namelist())
    configs = {path.relative_to(copy).as_posix() for path in (copy / "configs").rglob("*.toml")}
    assert inside ^ {*configs, "pyproject.toml", ".info/CONTENT"} == set(), "missing or too much"


#: Files of the project that no sdist holds: they are for a checkout under version control.
CHECKOUT = (".ci/", ".gitignore", ".pre-commit-config.yaml")


@pytest.mark.e2e
def test_sdist_and_wheel_hold_every_file_once_and_nothing_else(copy: Path, tmp_path: Path) -> None:
    """The sdist: the project's files without links; the wheel, from either: the package under its one name."""
    pytest.importorskip("hatchling", reason="the build backend is not installed: run make env")
    program(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path / "dist"), cwd=copy)
    (made,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(made) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        assert all(member.isfile() for member in members), "a link"
        inside = [member.name.partition("/")[2] for member in members]
        archive.extractall(tmp_path, filter="data")
    there = {path.relative_to(ROOT).as_posix() for path in files()}
    expected = {name for name in there if not name.startswith(CHECKOUT)} | {"PKG-INFO"}
    assert set(inside) - {".gitignore"} ^ expected == set(), "missing or too much"
    assert len(set(inside)) == len(inside)
    unpacked = tmp_path / made.name.removesuffix(".tar.gz")
    held = []
    for source, folder in ((copy, "from-checkout"), (unpacked, "from-sdist")):
        built = wheel(source, tmp_path / folder)
        assert built.name.startswith(f"metapulse-{PROJECT['project']['version']}-py3-none-any")
        with zipfile.ZipFile(built) as opened:
            names = [name for name in opened.namelist() if ".dist-info/" not in name]
        assert len(set(names)) == len(names)
        held.append(set(names))
    assert held[0] == held[1]
    assert held[0] ^ {*sources("*.py", "*.[ch]", "py.typed", "*.html", "*.css", "*.js", "*.csv")} == set(), (
        "missing or too much"
    )


def test_no_python_file_is_longer_than_350_lines() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in files() if p.suffix == ".py"}
    assert {p.relative_to(ROOT).as_posix(): n for p, n in lengths.items() if n > 350} == {}


def test_no_init_file_shadows_a_package() -> None:
    assert [p for p in files(ROOT / "tests") if p.name == "__init__.py"] == []


def test_no_file_names_one_machine() -> None:
    """Absolute paths of a developer's machine."""
    machine = re.compile(r"""(?<![\w.$}/-])/(?:work|tmp|home|root|Users|opt)/\w""")
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = enumerate(text.splitlines(), 1)
        found += [f"{path.relative_to(ROOT)}:{n}: {line}" for n, line in lines if machine.search(line)]
    assert found == []
