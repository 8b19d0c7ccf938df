"""``examples/flower_quickstart`` by ``flwr run``: Flower's FedAvg, and ours in its place, simulated and on SuperNodes.

The edits below are all that changes in the app.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.processes import ROOT, Program, connection, flwr, free_port, status
from tests.thorough import THOROUGH

APP = ROOT / "examples" / "flower_quickstart"
ROUNDS = {"simulation": 2, "deployment": 1}  # every message of a deployment is a fresh process
#: file → text in it → what takes its place
EDITS: dict[str, dict[str, dict[str, str]]] = {
    "FedAvg": {},
    "FedReptile": {
        "quickstart/server_app.py": {
            "from flwr.serverapp.strategy import FedAvg": "from metapulse.strategies import FedReptile",
            "strategy = FedAvg(": "strategy = FedReptile(",
        }
    },
    "FedMAML": {
        "quickstart/server_app.py": {
            "from flwr.serverapp.strategy import FedAvg": "from metapulse.strategies import FedMAML",
            "strategy = FedAvg(": "strategy = FedMAML(lr=0.01, ",
        },
        "pyproject.toml": {"quickstart.client_app:app": "quickstart.meta_client:app"},
    },
}


def edited(name: str, folder: Path) -> Path:
    """A copy of the app with a strategy in the place of FedAvg."""
    target = folder / name
    shutil.copytree(APP, target, ignore=shutil.ignore_patterns("__pycache__", "*.fab"))
    for path, changes in EDITS[name].items():
        text = (target / path).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, f"{path}: {old!r} stands there {text.count(old)} times"
            text = text.replace(old, new)
        (target / path).write_text(text, encoding="utf-8")
    return target


#: Where each is run: in one of the places, and in both by a thorough run.
ONCE = {"simulation": ("FedAvg", "FedReptile"), "deployment": ("FedMAML",)}
PLACES = dict.fromkeys(ONCE, tuple(EDITS)) if THOROUGH else ONCE
CASES = [(place, name) for place, names in PLACES.items() for name in names]


def as_told() -> dict[str, str]:
    """The environment in which the app's README has Flower run it: without it Flower asks an index for metapulse."""
    exported = dict(re.findall(r"export (\w+)=(\w+)", (APP / "README.md").read_text(encoding="utf-8")))
    assert exported, "README.md exports nothing"
    return exported


@pytest.fixture(scope="module")
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Flower home: a SuperLink that simulates two nodes, or one with two SuperNodes."""
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    connection(folder, port)
    environment = {"FLWR_HOME": str(folder), **as_told()}
    link = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port)]
    link += ["--isolation", "subprocess"]
    link += ["--simulation"] if request.param == "simulation" else []
    with ExitStack() as stack:
        stack.enter_context(Program(link, folder / "superlink.log", environment)).listens(port)
        for i in range(2 if request.param == "deployment" else 0):
            own = ["--host", "127.0.0.1", "--port", str(free_port()), "--node-config"]
            node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}", *own]
            node += [f"partition-id={i} num-partitions=2"]
            stack.enter_context(Program(node, folder / f"supernode-{i}.log", environment))
        yield folder


@pytest.mark.parametrize(("home", "name"), CASES, indirect=["home"])
def test_the_quickstart_runs_with_each_strategy(name: str, home: Path, tmp_path: Path) -> None:
    app, model = edited(name, tmp_path), tmp_path / "model.pt"
    simulated = not list(home.glob("supernode-*.log"))
    rounds = ROUNDS["simulation" if simulated else "deployment"]
    nodes = ["--federation-config", "num-supernodes=2 client-resources-num-cpus=1"] if simulated else []
    settings = f"num-server-rounds={rounds} model='{model}'"
    said = flwr("run", str(app), "here", "--stream", *nodes, "-c", settings, home=home)
    found = re.search(r"Successfully started run (\d+)", said)
    assert found, said
    assert status(home, found[1])["status"] == "finished:completed", said
    assert f"Starting {name} strategy" in said
    evaluated = metrics(said, "ClientApp-side Evaluate")
    assert sorted(evaluated) == list(range(1, rounds + 1)), said
    assert ("eval_loss_before" in evaluated[1]) == (name == "FedMAML")
    judged = metrics(said, "ServerApp-side Evaluate")
    assert sorted(judged) == list(range(rounds + 1))
    torch.manual_seed(0)
    net, before = example().Net(), example().Net()
    net.load_state_dict(torch.load(model))
    assert not torch.equal(net.fc2.weight, before.fc2.weight)
    if simulated:  # the loss falls, on a person whom no client has
        assert float(judged[rounds]["loss"]) < float(judged[0]["loss"])
    if name == "FedMAML":
        assert float(evaluated[rounds]["eval_loss"]) < float(evaluated[rounds]["eval_loss_before"])


def metrics(said: str, title: str) -> dict[int, dict[str, str]]:
    """A table of the final results, by round."""
    lines = iter(re.sub(r"\x1b\[\d+m", "", said).splitlines())
    body = ""
    for line in lines:
        if line.rstrip().endswith(f"{title} Metrics:"):
            body = line = ""
            for line in lines:
                text = re.sub(r"^.*?INFO\s*:\s*", "", line).strip()
                if not text or (body and not text.startswith(("{", "'")) and not re.match(r"\d+:", text)):
                    break
                body += text
    found: dict[int, dict[str, str]] = ast.literal_eval(body)
    return found


def example() -> ModuleType:
    """The app's module with the network."""
    spec = importlib.util.spec_from_file_location("quickstart_task", APP / "quickstart" / "task.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
