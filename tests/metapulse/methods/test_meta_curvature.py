"""Meta-Curvature: products along axes, gradients in θ and in every matrix by differences, MAML at identities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metapulse.methods.maml import MAML
from metapulse.methods.meta_curvature import CURVATURE, MetaCurvature, transformed
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.trees import pick, stack, without_subtree
from tests.cases import classification, episode, flat, keys, meta, noisy, same, slopes, theta

F64 = torch.float64
LEARNER = MetaCurvature(inner_lr=0.2, inner_steps=2)
NET = MLP(hidden=(2,), activation="tanh", task=classification(2))
MODELS: dict[str, Model] = {"mlp": NET, "cnn1d": CNN1d(channels=(2,), kernel=2, task=classification(1, 4))}


def bent(model: Model) -> dict[str, Tensor]:
    """θ with matrices that are no identities and not symmetric."""
    start = meta(LEARNER, model, dtype=F64)
    return start | noisy({name: p for name, p in start.items() if name.startswith(CURVATURE)}, 4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_update_is_the_slope_of_the_query_loss_in_theta_and_in_the_matrices(model: Model) -> None:
    start, ep = bent(model), episode(model.task, (4,), (5,), dtype=F64)

    def objective(at: dict[str, Tensor]) -> Tensor:
        return model.loss(LEARNER.adapt(model, at, {}, ep.support, keys([0])), ep.query)[0]

    report = LEARNER.update(model, start, {}, ep, keys([0]))
    matrices = flat({name: p for name, p in pick(report.update, 0).items() if name.startswith(CURVATURE)})
    assert matrices.abs().max() > 1e-3
    torch.testing.assert_close(flat(pick(report.update, 0)), slopes(objective, start), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(report.metrics["loss"][0], objective(start), rtol=1e-12, atol=0)


def test_with_identities_it_is_maml() -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (4, 2, 3), (3, 3, 1), dtype=F64)
    identities = {name: p.double() for name, p in LEARNER.init(NET, generator(0, "init")).items() if CURVATURE in name}
    ours = LEARNER.update(NET, identities | start, {}, ep, keys(range(3)))
    theirs = MAML(inner_lr=0.2, inner_steps=2).update(NET, start, {}, ep, keys(range(3)))
    same(without_subtree(ours.update, CURVATURE), theirs.update, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.metrics["loss"], theirs.metrics["loss"], rtol=1e-12, atol=0)


def test_each_axis_has_its_matrix() -> None:
    """G'_{abc} = Σ M₁[a,i] M₂[b,j] M₃[c,k] G_{ijk} per client, and M b of a bias."""
    rng = torch.Generator().manual_seed(0)
    g = {"w": torch.randn(2, 3, 4, 2, generator=rng, dtype=F64), "b": torch.randn(2, 3, generator=rng, dtype=F64)}
    sizes = {"w/0": 3, "w/1": 4, "w/2": 2, "b/0": 3}
    m = {name: torch.randn(2, n, n, generator=rng, dtype=F64) for name, n in sizes.items()}
    found = transformed(g, m)
    expected = torch.einsum("zai,zbj,zck,zijk->zabc", m["w/0"], m["w/1"], m["w/2"], g["w"])
    torch.testing.assert_close(found["w"], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found["b"], torch.einsum("zai,zi->za", m["b/0"], g["b"]), rtol=1e-10, atol=1e-12)


def test_theta_carries_an_identity_per_axis() -> None:
    start = LEARNER.init(NET, generator(0, "init"))
    shapes = {name: tuple(p.shape) for name, p in NET.init(generator(0, "init")).items()}
    expected = {f"{CURVATURE}{name}/{axis}": size for name, shape in shapes.items() for axis, size in enumerate(shape)}
    assert {name: len(p) for name, p in start.items() if name.startswith(CURVATURE)} == expected
    assert all(torch.equal(start[name], torch.eye(size)) for name, size in expected.items())
    assert set(LEARNER.start(start, 1)) == set(stack(theta(NET), 1))
