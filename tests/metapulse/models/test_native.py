"""Compiled networks against the kernels in float64, which are held against autograd; and life without a compiler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metapulse import compiler
from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.base import Learner
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.maml import MAML
from metapulse.methods.meta_sgd import MetaSGD
from metapulse.methods.per_fedavg import PerFedAvg
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.gru import GRU
from metapulse.models.mlp import MLP
from metapulse.models.native import dense
from metapulse.rng import generator
from metapulse.trees import norms, stack
from tests.cases import batch, keys, padded, personal, same

SOURCE = Path(dense.__file__).with_suffix(".c")
Kind = Literal["classification", "regression"]

ROUND = 2e-6  # of a float32 gradient, relative to its norm: some tens of roundings of 6e-8
STEP = 1e-4  # of θ − φ_K, relative to its norm: it is a small difference of rounded numbers

needs_compiler = pytest.mark.skipif(compiler.compiled(SOURCE) is None, reason="no C compiler on this machine")
pytestmark = needs_compiler


def wide(part: Batch) -> Batch:
    y = part.y.double() if part.y.is_floating_point() else part.y
    return Batch(part.x.double(), y, part.mask.double())


def close(ours: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], bound: float) -> None:
    """Client by client, relative to all of its numbers: a small one may be what is left of large ones."""
    assert set(ours) == set(exact)
    assert {p.dtype for p in ours.values()} == {torch.float32}
    error = norms({name: ours[name].double() - p for name, p in exact.items()})
    assert (error <= bound * norms(exact)).all(), f"{error / norms(exact)}"


tasks = st.sampled_from(["classification", "regression"])
counts = st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any)


WIDTHS = [1, 2, 7, 8, 15, 16, 17, 33, 40, 64, 70]  # around the lengths of vectors, where padding starts and ends


def check_gradient(model: Model, counts: list[int]) -> None:
    """Of each client's own parameters, on ragged batches, empty ones among them."""
    params, part = personal(model, len(counts)), padded(batch(model.task, counts), 2, seed=1)
    assert model.compiled is not None
    loss, grad = model.value_and_grad(params, part)
    exact_loss, exact = model.value_and_grad({n: p.double() for n, p in params.items()}, wide(part))
    torch.testing.assert_close(loss.double(), exact_loss, rtol=1e-6, atol=1e-6)
    close(dict(grad), dict(exact), ROUND)


@settings(max_examples=30)
@given(
    kind=tasks,
    inputs=st.sampled_from(WIDTHS),
    hidden=st.lists(st.sampled_from(WIDTHS), max_size=3),
    outputs=st.sampled_from([1, 2, 3, 4, 5, 16, 20]),
    activation=st.sampled_from(["relu", "tanh"]),
    counts=counts,
)
def test_perceptron(
    kind: Kind, inputs: int, hidden: list[int], outputs: int, activation: Literal["relu", "tanh"], counts: list[int]
) -> None:
    """Any widths."""
    assume(kind == "regression" or outputs > 1)
    check_gradient(MLP(hidden=tuple(hidden), activation=activation, task=Task(kind, (inputs,), outputs)), counts)


@settings(max_examples=30)
@given(
    kind=tasks,
    channels=st.lists(st.sampled_from([1, 3, 8, 16, 20]), min_size=1, max_size=3),
    window=st.tuples(st.integers(1, 5), st.integers(25, 36)),
    kernel=st.integers(1, 4),
    counts=counts,
)
def test_convolutions(kind: Kind, channels: list[int], window: tuple[int, int], kernel: int, counts: list[int]) -> None:
    """Odd lengths lose a value in pooling; channels that fill no vector are padded."""
    check_gradient(CNN1d(channels=tuple(channels), kernel=kernel, task=Task(kind, window, 6)), counts)


LEARNERS: list[Learner] = [
    FedAvg(batch_size=4, inner_lr=0.05),
    FedAvg(batch_size=4, inner_steps=40, order="sequential"),
    FOMAML(inner_steps=3, inner_lr=0.05),
    MAML(inner_steps=4, inner_lr=0.05),
    MetaSGD(inner_steps=3),
    PerFedAvg(local_steps=3, local_lr=0.05, inner_lr=0.05, batch_size=4),
    PerFedAvg(local_steps=3, local_lr=0.05, inner_lr=0.05, variant="hessian_free", delta=0.01),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: f"{type(learner).__name__}-{learner.inner_steps}")
@pytest.mark.parametrize(
    "model",
    [
        MLP(hidden=(20, 9), task=Task("classification", (7,), 4)),
        MLP(hidden=(17,), activation="tanh", task=Task("regression", (3,), 2)),
        MLP(hidden=(40, 24), task=Task("regression", (1,), 1)),
        MLP(hidden=(40, 7), activation="tanh", task=Task("regression", (2,), 1)),
        CNN1d(channels=(5, 18), kernel=3, task=Task("classification", (3, 21), 4)),
    ],
    ids=["relu", "tanh", "one output", "one output, tanh", "cnn1d"],
)
def test_learners(model: Model, learner: Learner) -> None:
    """One round of each is what it is in float64, where nothing is compiled."""
    check_learner(model, learner, (9, 12, 5))


def check_learner(model: Model, learner: Learner, counts: Sequence[int]) -> None:
    episode = Episode(*(padded(batch(model.task, counts, seed=s), 1, seed=s + 7) for s in (0, 1)))
    theta = learner.init(model, generator(0, "init"))
    ours = learner.update(model, theta, {}, episode, keys(range(len(counts))))
    exact = learner.update(
        model,
        {n: p.double() for n, p in theta.items()},
        {},
        Episode(wide(episode.support), wide(episode.query)),
        keys(range(len(counts))),
    )
    torch.testing.assert_close(ours.metrics["loss"].double(), exact.metrics["loss"], rtol=1e-5, atol=1e-6)
    close(dict(ours.update), dict(exact.update), STEP)


needs_bfloat16 = pytest.mark.skipif(
    compiler.compiled(SOURCE, "-DBFLOAT16") is None, reason="this processor has no dot products of bfloat16"
)


@needs_bfloat16
@pytest.mark.parametrize("inputs", [1, 2, 31, 32, 33, 130, 300])
def test_bfloat16_is_exact_where_nothing_is_rounded(inputs: int) -> None:
    """Whole numbers up to 256 have eight bits, and so have their halves: as in float32, to the bit."""
    task, rng = Task("regression", (inputs,), 2), generator(0, "whole")
    whole, rounded = (MLP(hidden=(5,), task=task, precision=p) for p in ("float32", "bfloat16"))
    params = {
        n: torch.from_numpy(rng.integers(-1, 2, (3, *p.shape))).float()
        for n, p in whole.init(generator(0, "i")).items()
    }
    x, y = (torch.from_numpy(rng.integers(-1, 2, (3, 11, width))).float() for width in (inputs, 2))
    part = Batch(x, y, torch.ones(3, 11).index_fill_(1, torch.tensor([2, 5, 10]), 0.0))  # eight real samples of eleven
    loss, grad = whole.value_and_grad(params, part)
    ours_loss, ours = rounded.value_and_grad(params, part)
    assert torch.equal(ours_loss, loss)
    same(dict(ours), dict(grad), rtol=0, atol=0)


@needs_bfloat16
@pytest.mark.parametrize(
    "model",
    [
        MLP(hidden=(64, 32), activation="tanh", task=Task("classification", (64,), 6), precision="bfloat16"),
        CNN1d(channels=(20, 33), task=Task("classification", (3, 150), 6), precision="bfloat16"),
    ],
    ids=["mlp", "cnn1d"],
)
def test_bfloat16_errs_by_what_it_says(model: Model) -> None:
    """Each factor errs by 2⁻⁹ at most, and a gradient is some products one after the other.

    Not so where many units are near the corner of ReLU: some change sides, and a client's gradient errs by more.
    """
    params, part = personal(model, 4), batch(model.task, (9, 12, 5, 20))
    exact = model.chain.expand({n: p.double() for n, p in params.items()}, wide(part)).grad if model.chain else {}
    ours = model.grad(params, part)
    close(dict(ours), dict(exact), 10 * 2.0**-9)
    assert (norms({n: ours[n].double() - p for n, p in exact.items()}) > 1e-4 * norms(exact)).all()


def test_bfloat16_where_there_is_none() -> None:
    gru = GRU(task=Task("classification", (2, 12), 3), precision="bfloat16")
    with pytest.raises(ConfigError, match="precision"):
        gru.grad(personal(gru, 1), batch(gru.task, (3,)))


@pytest.mark.parametrize("model", [MLP(task=Task("classification", (5,), 3))], ids=["mlp"])
def test_what_is_no_number_stays_with_its_client(model: Model) -> None:
    part = batch(model.task, (6, 6, 6))
    part.x[1, 2, 3] = float("nan")
    loss, grad = model.value_and_grad(personal(model, 3), part)
    assert torch.isfinite(loss).tolist() == [True, False, True]
    for p in grad.values():
        assert torch.isfinite(p[[0, 2]]).all()
        assert not torch.isfinite(p[1]).all()


def test_large_logits_do_not_overflow() -> None:
    """Softmax of ±10⁴: the loss is the distance to the largest, the gradient 0 or ±1."""
    model = MLP(hidden=(), task=Task("classification", (1,), 2))
    params = stack({"layer0.weight": torch.tensor([[1e4], [-1e4]]), "layer0.bias": torch.zeros(2)}, 1)
    part = Batch(torch.ones(1, 1, 1), torch.ones(1, 1, dtype=torch.int64), torch.ones(1, 1))
    loss, grad = model.value_and_grad(params, part)
    assert loss.item() == 2e4
    assert grad["layer0.bias"].tolist() == [[1.0, -1.0]]


def test_numbers_of_another_kind_are_refused() -> None:
    model = MLP(task=Task("classification", (5,), 3))
    with pytest.raises(TypeError, match=r"samples are .*float64"):
        model.value_and_grad(personal(model, 2), wide(batch(model.task, (3, 3))))


def test_other_models_are_left_to_the_kernels() -> None:
    window = Task("classification", (2, 12), 3)
    for model in (GRU(task=window), Encoder1d(task=Task("classification", (2, 64), 3))):
        assert model.chain is not None
        assert model.compiled is None


def test_a_label_that_does_not_exist_makes_no_number() -> None:
    model = MLP(task=Task("classification", (5,), 3))
    part = batch(model.task, (6, 6))
    part.y[1, 2] = 3
    loss, grad = model.value_and_grad(personal(model, 2), part)
    assert torch.isfinite(loss).tolist() == [True, False]
    assert torch.isfinite(grad["layer1.bias"]).all(1).tolist() == [True, False]


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = (MLP(task=Task("classification", (5,), 3)) for _ in range(2))
    monkeypatch.setattr("metapulse.models.base.dense", lambda chain, precision: None)
    part, params = batch(model.task, (6, 6)), personal(model, 2)
    assert plain.compiled is None
    monkeypatch.undo()
    assert model.compiled is not None
    same(dict(plain.grad(params, part)), dict(model.grad(params, part)), rtol=1e-4, atol=1e-6)


def test_a_library_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load = compiler.compiled.__wrapped__
    assert load(SOURCE) is not None
    (made,) = (tmp_path / "metapulse" / "native").iterdir()
    when = made.stat().st_mtime_ns
    assert load(SOURCE) is not None
    assert made.stat().st_mtime_ns == when


@pytest.mark.parametrize("environment", [("METAPULSE_NATIVE", "0"), ("CC", "no-such-compiler"), ("CC", "false")])
def test_a_failed_try_leaves_nothing(
    environment: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(*environment)
    assert compiler.compiled.__wrapped__(SOURCE) is None
    assert not [*tmp_path.rglob("*.so")]


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiler.compiled.__wrapped__(SOURCE) is None
