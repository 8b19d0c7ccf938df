"""Stacks on a GPU are the stacks of the processor, up to rounding; a device that is not there is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from metapulse.errors import ConfigError
from metapulse.methods.fedavg import FedAvg
from metapulse.models.base import Model
from metapulse.rng import generator
from metapulse.server.config import build_config
from metapulse.server.folder import RunFolder
from metapulse.sim.experiment import run_experiment
from metapulse.trees import norms, stack, to_torch_device
from tests.cases import MODELS, batch, keys

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")


def table(device: str, **learner: Any) -> dict[str, Any]:
    return {
        "run": {"rounds": 2},
        "source": {"name": "sine", "clients": 12},
        "transform": {"name": "none"},
        "model": {"name": "sine"},
        "learner": {"name": "maml", **learner},
        "episodes": {"split": "samples"},
        "strategy": {"name": "fedmaml", "cohort": 6},
        "evaluation": {"clients": 4, "split": "samples", "scenarios": ["new_user"]},
        "engine": {"device": device},
    }


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "mps:7"])
def test_a_device_that_is_not_there(device: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.device.*PyTorch cannot compute there"):
        run_experiment(build_config(table(device)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@needs_gpu
@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_curvature(name: str) -> None:
    model: Model = MODELS[name]
    gpu, part = torch.device("cuda"), batch(model.task, (5, 3))
    w = stack(model.init(generator(0, "init")), 2)
    for way in (model.grad, lambda p, b: model.hvp(p, b, p)):
        here, there = way(w, part), way(to_torch_device(w, gpu), part.to(gpu))
        back = to_torch_device(there, torch.device("cpu"))
        assert (norms({n: here[n] - back[n] for n in here}) <= 1e-4 * norms(here) + 1e-6).all()


@needs_gpu
def test_minibatches_are_the_same() -> None:
    model, gpu = MODELS["mlp-relu-flattens"], torch.device("cuda")
    drawn = []
    for device in (torch.device("cpu"), gpu):
        stream = FedAvg(batch_size=2).batches(batch(model.task, (5, 3)).to(device), keys(range(2)))
        drawn.append([next(stream).x.cpu() for _ in range(4)])
    for a, b in zip(*drawn, strict=True):
        assert torch.equal(a, b)


@needs_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_whole_run(device: str, tmp_path: Path) -> None:
    thetas = []
    for where in ("cpu", device):
        run_experiment(build_config(table(where)), tmp_path / where)
        last = RunFolder(tmp_path / where).last()
        assert last is not None
        thetas.append(last.theta)
    for name, p in thetas[0].items():
        torch.testing.assert_close(p, thetas[1][name], rtol=1e-4, atol=1e-5)
