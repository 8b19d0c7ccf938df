"""The library by itself: everything below ``metapulse.client`` is imported and used where Flower and Ray are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("flwr", "ray"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())

import importlib, pkgutil
import metapulse as mp

layers = ("client", "strategies", "server", "sim")
found = []

def walk(package):
    for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if info.name.split(".")[1] in layers:
            continue
        found.append(info.name)
        module = importlib.import_module(info.name)
        if info.ispkg:
            walk(module)
walk(mp)
assert {"metapulse.errors", "metapulse.outer", "metapulse.methods.maml", "metapulse.models.mlp"} <= set(found)

import numpy as np
import torch
from metapulse.data import Task
from metapulse.episodes import Episode, full_batch
from metapulse.methods.maml import MAML
from metapulse.models.mlp import MLP
from metapulse.outer import OuterUpdate
from metapulse.rng import Keys, generator

model = MLP(hidden=(16,), task=Task("regression", (1,), 1))
method, outer = MAML(inner_lr=0.05, inner_steps=1), OuterUpdate("adam")
theta = method.init(model, generator(0, "init"))
state = outer.init(theta)
draw = np.random.default_rng(0)
losses = []
for round in range(1, 101):
    x = draw.uniform(-1, 1, (8, 20, 1)).astype(np.float32)
    batch = full_batch(x, (x * draw.uniform(1, 2, (8, 1, 1))).astype(np.float32))
    report = method.update(model, theta, {}, Episode(batch.slice(0, 10), batch.slice(10, 20)), Keys(0, round, range(8)))
    losses.append(float(report.metrics["loss"].mean()))
    theta, state = outer.apply(state, theta, {name: u.mean(0) for name, u in report.update.items()}, 0.01)
assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:10]), losses
assert len(mp.methods()) > 0
assert not {"flwr", "ray"} & {name.partition(".")[0] for name in sys.modules}
try:
    mp.run("mine.toml")
except ModuleNotFoundError as error:
    assert error.name == "flwr"
else:
    raise AssertionError("Flower can be imported")
print(len(found))
"""


def test_it_is_imported_and_trains_a_model_without_flower_and_ray() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80  # modules
