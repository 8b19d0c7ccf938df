"""The wheel, installed where there is no checkout, beside a user's own ``client.py``, ``server.py`` and ``sim/``."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import pytest

from metapulse.registry import LEARNERS
from metapulse.server.folder import RunFolder
from tests.commands import TINY
from tests.installed import THEIRS, done, environment, theirs, wheel
from tests.processes import PATIENCE, ROOT, Program, connection, free_port
from tests.thorough import THOROUGH

Environment = dict[str, str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("installed")
    return environment(wheel(ROOT, folder / "dist"), folder / "environment")


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A user's folder: files with the names of our folders, and a configuration."""
    (tmp_path / "tiny.toml").write_text(TINY)
    return theirs(tmp_path)


SCRIPT = """
import json, sys
import metapulse as mp
import metapulse.client, metapulse.strategies, metapulse.server, metapulse.sim

if __name__ == "__main__":
    assert not {"client", "server", "strategies", "sim"} & set(sys.modules)
    assert all("environment" in module.__file__ for module in (mp, metapulse.client, metapulse.sim)), mp.__file__
    result = mp.run("tiny.toml", out="run", workers=2, quiet=True)
    print(json.dumps({"methods": len(mp.methods()), "theta": result.summary["theta"], "version": mp.__version__}))
"""


@pytest.mark.ray
def test_in_a_script_and_in_rays_workers(installed: Environment, beside: Path) -> None:
    """Two actors; the numbers are those of the command line without any, which runs from the checkout."""
    (beside / "script.py").write_text(SCRIPT)
    said = json.loads(done("python", "script.py", cwd=beside, environment=installed).splitlines()[-1])
    done("metapulse", "run", "tiny.toml", "--out", "alone", cwd=beside)
    assert said["theta"] == RunFolder(beside / "alone").summary()["theta"]
    assert said["methods"] == len(LEARNERS)
    assert said["version"] == version("metapulse")


#: The app that docs/deployment.md shows, with files in its bundle that have the names of our folders.
SHOWN = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8").split("    [project]\n")[1].split("\n\n")[0]
APP = textwrap.dedent("    [project]\n" + SHOWN).replace('["*.toml"]', '["*.py", "sim/*.py", "*.toml"]')


@pytest.fixture
def app(beside: Path) -> Path:
    """A Flower app of the user's own that names our apps, beside files that are named like our folders."""
    (beside / "pyproject.toml").write_text(APP)
    halves = "[split]\ntest = 0.5\nvalidation = 0.0\n"  # of two people one is tested, of three two
    (beside / "mine.toml").write_text(
        TINY.replace("rounds = 3", "rounds = 1").replace("clients = 10", "clients = 3") + halves
    )
    return beside


def run(app: Path, home: Path, environment: Environment, *words: str) -> Path:
    """``flwr run .`` to its end; the run's folder."""
    out = home / "run"
    settings = f"out='{out}' min-nodes=2 wait-s={PATIENCE}"
    said = done("flwr", "run", ".", "here", "--stream", *words, "-c", settings, cwd=app, environment=environment)
    found = re.search(r"Successfully started run (\d+)", said)
    assert found, said
    listed = done("flwr", "list", "here", "--format", "json", cwd=home, environment=environment)
    runs = json.loads(listed[listed.index("{") :])["runs"]
    assert [one["status"] for one in runs if one["run-id"] == found[1]] == ["finished:completed"], said
    assert RunFolder(out).summary()["dropped"] == 0
    return out


def link(home: Path, port: int, environment: Environment, *words: str) -> Program:
    connection(home, port)
    command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port), *words]
    command += ["--disable-runtime-dependency-installation"]
    return Program(command, home / "superlink.log", environment)


@pytest.mark.ray
def test_in_flwr_run_on_simulated_nodes(
    installed: Environment, app: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    here = {**installed, "FLWR_HOME": str(home)}
    with link(home, port, here, "--simulation", "--isolation", "subprocess") as superlink:
        superlink.listens(port)
        nodes = ["--federation-config", "num-supernodes=3 client-resources-num-cpus=1"]
        assert RunFolder(run(app, home, here, *nodes)).summary()["rounds"] == 1


def test_on_supernodes_that_have_the_wheel(
    installed: Environment, app: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    here = {**installed, "FLWR_HOME": str(home)}
    with ExitStack() as stack:
        stack.enter_context(link(home, port, here)).listens(port)
        for i in range(2):
            address = ["--superlink", f"127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(free_port())]
            command = ["flower-supernode", "--insecure", *address, "--node-config", f"partition-id={i}"]
            stack.enter_context(Program(command, home / f"node-{i}.log", here))
        out = run(app, home, here)
    assert {event["kind"] for event in RunFolder(out).events()} >= {"round", "meta-test"}


OWN = {"beside files of these names": True} | ({"with nothing beside it": False} if THOROUGH else {})


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_an_old_name_is_told_in_one_line(installed: Environment, tmp_path: Path, own: bool) -> None:
    """In a configuration, in a file that it names, and in a run folder that is gone on with."""
    if own:
        for name in THEIRS:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("")
    (tmp_path / "mine.py").write_text("from client.data import Task\n")
    for name, words in (
        ("sim.sources.own:Own", "sim.sources.own is now metapulse.sim.sources.own"),
        ("mine:Mine", f"client.data is now metapulse.data, file {tmp_path / 'mine.py'}, line 1"),
    ):
        (tmp_path / "old.toml").write_text(TINY.replace('name = "sine"\nclients = 10', f'name = "{name}"'))
        said = refused(tmp_path, installed, "run", "old.toml", "--out", "run")
        assert words in said


def refused(folder: Path, environment: Environment, *words: str) -> str:
    """The one line with which the command ends."""
    ended = subprocess.run(
        ["python", "-m", "metapulse.sim.cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    (line,) = ended.stderr.splitlines()
    return line
