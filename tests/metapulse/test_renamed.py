"""An old name of a module ends with one line that says the new one, in every way in which it can be used."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.errors import ConfigError, DataError
from metapulse.methods.fedavg import LocalSGD
from metapulse.registry import LEARNERS, MODELS, resolve
from metapulse.renamed import MEMBERS, MOVED, NAMES, new_name, renamed
from metapulse.rng import generator
from metapulse.server.config import build_config
from metapulse.server.files import read_sealed, write_sealed
from metapulse.sim.cli import main
from metapulse.sim.crash import failed
from tests.commands import TINY

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("client", "metapulse.client"),
        ("client.data", "metapulse.data"),
        ("client.wire", "metapulse.client.wire"),
        ("client.learners.maml", "metapulse.methods.maml"),
        ("client.learners", "metapulse.methods"),
        ("client.models.mlp", "metapulse.models.mlp"),
        ("client.minibatches", "metapulse.methods.loop"),
        ("strategies.schedules", "metapulse.outer"),
        ("strategies.instructions", "metapulse.client.wire"),
        ("server.stages", "metapulse.server.progress"),
        ("strategies.outer", "metapulse.outer"),
        ("strategies.fednova", "metapulse.strategies.fednova"),
        ("server.folder", "metapulse.server.folder"),
        ("sim.sources.own", "metapulse.sim.sources.own"),
        ("sim.notebook", "metapulse.sim.api"),
        ("sim.mine", None),
        ("numpy", None),
        ("clients.data", None),
    ],
)
def test_every_old_name_has_one_of_today(old: str, new: str | None) -> None:
    assert renamed(old) == new


@pytest.fixture(params=["checkout", "installed", "beside a file of the same name"])
def mine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is imported from: the checkout is importable as well, or not, or is hidden by the user's files."""
    path = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *path, *([str(ROOT)] if request.param == "checkout" else [])])
    if request.param.startswith("beside"):
        (tmp_path / "client.py").write_text("OWN = 1\n")
        (tmp_path / "sim").mkdir()
        (tmp_path / "sim" / "__init__.py").write_text("")
    before = set(sys.modules)
    sys.path_importer_cache.clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("client", "sim", "mine"):
            del sys.modules[name]


def write(folder: Path, text: str) -> None:
    (folder / "mine.py").write_text(textwrap.dedent(text))


def test_a_configuration_that_names_one(mine: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientExecutor(
            build_config({"source": {"name": "sim.sources.own:Own"}, "model": {"name": "mlp"}}).client_config()
        )
    assert "sim.sources.own is now metapulse.sim.sources.own" in str(caught.value)
    with pytest.raises(ConfigError, match=r"client\.learners\.maml is now metapulse\.methods\.maml"):
        LEARNERS.make({"name": "client.learners.maml:MAML"})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from client.data import Task", "client.data is now metapulse.data"),
        ("from client.data import (\n    Samples,\n    Task,\n)", "client.data is now metapulse.data"),
        ("import client.learners.maml as maml", "client.learners.maml is now metapulse.methods.maml"),
        ("from client import data", "client.data is now metapulse.data"),
        ("from sim.sources import own as source", "sim.sources.own is now metapulse.sim.sources.own"),
    ],
)
def test_a_file_that_imports_one(mine: Path, line: str, words: str) -> None:
    (mine / "mine.py").write_text(f'"""Mine."""\n\n{line}\n')
    with pytest.raises(ConfigError) as caught:
        resolve("mine:Learner", "learner")
    assert f"{words}, file {mine / 'mine.py'}, line 3" in str(caught.value)
    assert "\n" not in str(caught.value)


SOURCE = """
from dataclasses import dataclass
from metapulse.data import Task

@dataclass(frozen=True)
class Mine:
    users = 3
    devices = ("phone",)
    task = Task("regression", (1,), 1)

    def __len__(self):
        return 3

    def client(self, index):
        return None

    def clients_of(self, user):
        return [user]

    def samples(self, index):
        from client.data import Samples
"""


def test_a_source_that_imports_one_when_it_is_asked(mine: Path) -> None:
    write(mine, SOURCE)
    config = build_config({"source": {"name": "mine:Mine"}, "model": {"name": "mlp"}})
    with pytest.raises(DataError, match=r"client\.data is now metapulse\.data, file .*mine\.py, line 21"):
        ClientExecutor(config.client_config()).everything(0)


def test_a_module_that_imports_one_when_it_is_made(mine: Path) -> None:
    write(mine, "def Net():\n    from client.models import layers\n")
    task = ClientExecutor(build_config({"source": {"name": "sine"}, "model": {"name": "sine"}}).client_config()).task
    with pytest.raises(ConfigError, match=r"client\.models\.layers is now metapulse\.models\.layers"):
        MODELS.make({"name": "module", "factory": "mine:Net"}, task=task).init(generator(0, "init"))


def test_an_error_that_nobody_foresaw(mine: Path, tmp_path: Path) -> None:
    write(mine, "def work():\n    from client.trees import stack\n")
    with pytest.raises(ImportError) as caught:
        resolve("mine:work", "here")()
    assert "client.trees is now metapulse.trees, file" in failed(caught.value, tmp_path)


def test_a_run_folder_whose_configuration_has_one(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it was left by a version with the old names: sealed, with a data source by its dotted reference."""
    (mine / "tiny.toml").write_text(TINY)
    assert main(["run", str(mine / "tiny.toml"), "--out", str(mine / "run")]) == 0
    (mine / "run" / "summary.json").unlink()
    saved = read_sealed(mine / "run" / "config.json")
    saved["config"]["source"]["name"] = "sim.sources.sine:Sine"
    write_sealed(mine / "run" / "config.json", {k: v for k, v in saved.items() if k != "checksum"})
    capsys.readouterr()
    for argv in (["resume", str(mine / "run")], ["report", str(mine / "run")]):
        assert main(argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "sim.sources.sine is now metapulse.sim.sources.sine" in line


@pytest.mark.parametrize("line", ["from client import HELPER", "import client", "from client import nothing_of_ours"])
def test_the_users_own_module_that_fails_for_its_own_reason_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    path = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *path])
    (tmp_path / "client.py").write_text("import no_such_package\n" if "nothing" not in line else "OWN = 1\n")
    write(tmp_path, line)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.delitem(sys.modules, "client", raising=False)
    with pytest.raises(ConfigError) as caught:
        resolve("mine:Learner", "learner")
    monkeypatch.delitem(sys.modules, "client", raising=False)
    assert "is now" not in str(caught.value)
    assert "no_such_package" in str(caught.value) or "nothing_of_ours" in str(caught.value)


def test_every_name_of_before_is_gone_and_the_one_of_today_is_there() -> None:
    for old, new in MOVED.items():
        assert importlib.import_module(new).__name__ == new
        with pytest.raises(ModuleNotFoundError) as caught:
            importlib.import_module(old)
        assert new_name(caught.value).startswith(f"{old} is now {new}")
    for module, names in NAMES.items():
        today = vars(importlib.import_module(module))
        assert not names.keys() & today.keys()
        for new in names.values():
            there, _, name = f"{module}.{new}".rpartition(".") if "." not in new else new.rpartition(".")
            assert name in vars(importlib.import_module(there))


def test_an_import_of_a_name_of_before_is_told_the_one_of_today() -> None:
    with pytest.raises(ImportError) as caught:
        exec(compile("\nfrom metapulse.trees import under\n", "mine.py", "exec"))
    assert new_name(caught.value) == "metapulse.trees.under is now metapulse.trees.subtree, file mine.py, line 2"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("metapulse.sim.sources.recorded:UciHar", "metapulse.sim.datasets.uci_har.UciHar"),
        ("metapulse.client.executor:Work", "metapulse.client.executor.ClientExecutor"),
        ("metapulse.sim.importers.uci_har:read_uci_har", "metapulse.sim.datasets.uci_har"),
    ],
)
def test_a_dotted_reference_to_a_name_of_before_is_told_the_one_of_today(old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=rf"cannot be imported \({old.partition(':')[0]}.* is now {new}\)"):
        resolve(old, "here")


@pytest.mark.parametrize("old", sorted(MEMBERS))
def test_a_learner_with_a_member_of_before_is_refused(old: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine\.{old} is now {MEMBERS[old]}"):
        type("Mine", (LocalSGD,), {old: True})
