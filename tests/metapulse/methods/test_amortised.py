"""What learns by reading: the recurrent learner, SNAIL and the neural process, one client at a time, in plain torch.

Each textbook answer takes one client's own samples and one query sample at a time and uses torch's own LSTM,
convolution, attention and normal distribution; the update must be the slope of its loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.amortised import MEMORY, AmortisedLearner
from metapulse.methods.cnp import CNP
from metapulse.methods.mann import MANN
from metapulse.methods.recurrent import Recurrent
from metapulse.methods.snail import SNAIL
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.mlp import MLP
from metapulse.models.module import TorchModule
from metapulse.rng import generator
from metapulse.trees import pick, stack, subtree
from tests.cases import batch, classification, episode, flat, keys, meta, own_samples, regression, slopes

F64 = torch.float64
#: Answer to one embedded query sample, from θ and the embedded, labelled support.
Answer = Callable[[dict[str, Tensor], Tensor, Tensor, Tensor], Tensor]

RECURRENT, PROCESS = Recurrent(hidden=3), CNP(code=3, encoder=(2,), decoder=(3,))
MEMORISING = MANN(hidden=3, slots=3, width=2)
SMALL = SNAIL(filters=2, key_width=2, value_width=2, length=3)


def by_lstm(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor) -> Tensor:
    own, width = subtree(theta, "lstm/"), z.shape[1] + y.shape[1]
    previous = torch.cat([y.new_zeros(1, y.shape[1]), y])
    inputs = torch.cat([torch.cat([z, q[None]]), previous], 1)
    lstm = torch.nn.LSTM(width, 3).double()
    named = {"weight_ih_l0": own["weight"][:, :width], "weight_hh_l0": own["weight"][:, width:]}
    named |= {"bias_ih_l0": own["bias"], "bias_hh_l0": torch.zeros_like(own["bias"])}
    states, _ = torch.func.functional_call(lstm, named, (inputs,))
    return own["out.weight"] @ states[-1] + own["out.bias"]


def by_mann(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor) -> Tensor:
    """Section 3.2 of Santoro et al., slot by slot: three of width two, γ = 0.95."""
    own, width = subtree(theta, "lstm/"), z.shape[1] + y.shape[1]
    h = c = z.new_zeros(3)
    slots, usage, focus = [z.new_zeros(2)] * 3, [z.new_zeros(())] * 3, [z.new_zeros(())] * 3
    a = torch.sigmoid(own["gate"])[0]
    for t, one in enumerate([*z, q]):
        seen = torch.cat([one, y[t - 1] if t else torch.zeros_like(y[0])])
        i, f, g, o = (own["weight"][:, :width] @ seen + own["weight"][:, width:] @ h + own["bias"]).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        key = torch.tanh(own["key.weight"] @ h + own["key.bias"])
        least = min(range(3), key=lambda j: float(usage[j].detach()))
        written = [a * focus[j] + (1 - a if j == least else 0.0) for j in range(3)]
        slots = [(0.0 if j == least else slots[j]) + written[j] * key for j in range(3)]
        focus = list(torch.softmax(torch.stack([F.cosine_similarity(key, slot, 0) for slot in slots]), 0))
        usage = [0.95 * usage[j] + focus[j] + written[j] for j in range(3)]
    read = sum((focus[j] * slots[j] for j in range(3)), z.new_zeros(2))
    return own["out.weight"] @ torch.cat([h, read]) + own["out.bias"]


def by_snail(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor) -> Tensor:
    own = subtree(theta, "snail/")
    s = torch.cat([torch.cat([z, q[None]]), torch.cat([y, y.new_zeros(1, y.shape[1])])], 1)

    def attend(name: str, s: Tensor) -> Tensor:
        parts = (F.linear(s, own[f"{name}.{p}.weight"], own.get(f"{name}.{p}.bias")) for p in ("query", "key", "value"))
        return torch.cat([s, F.scaled_dot_product_attention(*(p[None] for p in parts), is_causal=True)[0]], 1)

    s = attend("first", s)
    for d in (1, 2):
        weight, width = own[f"conv{d}.weight"], s.shape[1]
        kernel = torch.stack([weight[:, :width], weight[:, width:]], 2)  # (outputs, inputs, 2)
        found = F.conv1d(F.pad(s.T[None], (d, 0)), kernel, own[f"conv{d}.bias"], dilation=d)[0].T
        s = torch.cat([s, F.tanh(found[:, :2]) * F.sigmoid(found[:, 2:])], 1)
    return own["out.weight"] @ attend("second", s)[-1] + own["out.bias"]


def by_process(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor) -> Tensor:
    """μ and s."""

    def net(name: str, x: Tensor) -> Tensor:
        p = subtree(theta, name)
        hidden = F.relu(F.linear(x, p["layer0.weight"], p["layer0.bias"]))
        return F.linear(hidden, p["layer1.weight"], p["layer1.bias"])

    return net("decoder/", torch.cat([q, net("encoder/", torch.cat([z, y], 1)).mean(0)]))


def cost(learner: AmortisedLearner, answer: Tensor, truth: Tensor) -> Tensor:
    if isinstance(learner, CNP):
        mean, spread = answer.chunk(2)
        return -torch.distributions.Normal(mean, 0.1 + 0.9 * F.softplus(spread)).log_prob(truth).mean()
    if truth.is_floating_point():
        return (answer - truth).square().mean()
    return F.cross_entropy(answer, truth)


CLASSES = MLP(hidden=(2,), activation="tanh", task=classification(2))
CURVE = MLP(hidden=(2,), activation="tanh", task=regression(1))
WINDOWS = CNN1d(channels=(2,), kernel=2, task=classification(1, 3))
POINTS = MLP(hidden=(), task=regression(1))
CASES: dict[str, tuple[AmortisedLearner, Answer, Model]] = {
    "recurrent": (RECURRENT, by_lstm, CLASSES),
    "recurrent-regression": (RECURRENT, by_lstm, CURVE),
    "mann": (MEMORISING, by_mann, CLASSES),
    "snail": (SMALL, by_snail, WINDOWS),
    "snail-regression": (SMALL, by_snail, CURVE),
    "cnp": (PROCESS, by_process, CURVE),
    "cnp-on-inputs": (PROCESS, by_process, POINTS),
}
cases = pytest.mark.parametrize(("learner", "answer", "model"), CASES.values(), ids=CASES)


def answers(answer: Answer, model: Model, theta: dict[str, Tensor], ep: Episode, client: int) -> list[Tensor]:
    """The textbook's, of one client's query samples."""
    (x, y), (xq, _) = own_samples(ep.support, client), own_samples(ep.query, client)
    labels = y if y.is_floating_point() else F.one_hot(y, model.task.outputs).to(x)
    z, q = (model.embed(stack(theta, 1), part.unsqueeze(0))[0] for part in (x, xq))
    return [answer(theta, z, labels, one) for one in q]


@cases
def test_update_is_the_slope_of_the_textbook_loss(learner: AmortisedLearner, answer: Answer, model: Model) -> None:
    """Every coordinate of θ, in the company of another client; more support than the convolutions reach."""
    theta, ep = meta(learner, model, dtype=F64), episode(model.task, (5, 1), (2, 3), dtype=F64)
    report = learner.update(model, theta, {}, ep, keys(range(2)))

    def objective(at: dict[str, Tensor]) -> Tensor:
        found, truth = answers(answer, model, at, ep, 0), own_samples(ep.query, 0)[1]
        return torch.stack([cost(learner, a, y) for a, y in zip(found, truth, strict=True)]).mean()

    expected = slopes(objective, theta)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(flat(pick(report.update, 0)), expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(report.metrics["loss"][0], objective(theta), rtol=1e-9, atol=1e-11)


@cases
def test_answers_are_the_textbooks(learner: AmortisedLearner, answer: Answer, model: Model) -> None:
    theta, ep = meta(learner, model, dtype=F64), episode(model.task, (4, 2, 1), (3, 2, 3), dtype=F64)
    phi = learner.adapt(model, theta, {}, ep.support, keys(range(3)))
    ours = learner.predict(model, phi, ep.query.x)
    for client in range(3):
        expected = torch.stack(answers(answer, model, theta, ep, client))[:, : model.task.outputs]
        torch.testing.assert_close(ours[client, : len(expected)], expected, rtol=1e-9, atol=1e-11)


@cases
def test_who_has_read_nothing_answers_as_with_an_empty_support(
    learner: AmortisedLearner, answer: Answer, model: Model
) -> None:
    theta, part = meta(learner, model, dtype=F64), batch(model.task, (4, 0), dtype=F64)
    phi = learner.adapt(model, theta, {}, part, keys(range(2)))
    before = learner.predict(model, learner.start(theta, 2), part.x)
    after = learner.predict(model, phi, part.x)
    torch.testing.assert_close(after[1], before[1], rtol=1e-10, atol=1e-12)
    assert (after[0] - before[0]).abs().max() > 1e-3


@cases
def test_the_order_of_samples_matters_only_to_those_that_read_a_sequence(
    learner: AmortisedLearner, answer: Answer, model: Model
) -> None:
    part = batch(model.task, (4,), dtype=F64)
    turned = Batch(*(value.flip(1) for value in (part.x, part.y, part.mask)))
    theta = meta(learner, model, dtype=F64)
    found = [learner.predict(model, learner.adapt(model, theta, {}, p, keys([0])), part.x) for p in (part, turned)]
    assert torch.allclose(*found, rtol=1e-10, atol=1e-12) is isinstance(learner, CNP)


@cases
def test_the_memory_is_no_part_of_theta(learner: AmortisedLearner, answer: Answer, model: Model) -> None:
    theta, part = meta(learner, model), batch(model.task, (4, 2))
    zero, one, two = islice(learner.adaptation_trajectory(model, theta, {}, part, keys(range(2))), 3)
    assert set(zero) == set(theta)
    assert one is two
    assert {name for name in one if not name.startswith(MEMORY)} == set(theta)
    assert not set(theta) & model.head


def test_attention_alone_reaches_beyond_the_convolutions() -> None:
    """The first of nine samples, with convolutions that reach three: it still changes the answer."""
    assert SMALL.dilations == [1, 2]
    assert replace(SMALL, length=4).dilations == [1, 2, 4]
    part = batch(CURVE.task, (9,), dtype=F64)
    other = Batch(part.x, torch.cat([part.y[:, :1] + 1.0, part.y[:, 1:]], 1), part.mask)
    theta = meta(SMALL, CURVE, dtype=F64)
    a, b = (SMALL.predict(CURVE, SMALL.adapt(CURVE, theta, {}, p, keys([0])), part.x) for p in (part, other))
    assert (a - b).abs().max() > 1e-6


def test_samples_are_written_to_slots_in_turn_until_all_are_used() -> None:
    """With a gate that is closed to what was read last, sample t alone is in slot t; the fourth takes one of them."""
    learner = replace(MEMORISING, decay=1.0)
    theta = meta(learner, CLASSES, dtype=F64) | {"lstm/gate": torch.tensor([-60.0], dtype=F64)}
    part = batch(CLASSES.task, (4,), dtype=F64)
    written = [learner.encode_support(CLASSES, stack(theta, 1), part.slice(0, n))["slots"][0, 0] for n in range(5)]
    assert not written[0].any()
    for n in range(3):
        fresh = written[n + 1] - written[n]
        assert [bool(slot.abs().max() > 1e-9) for slot in fresh] == [j == n for j in range(3)]
    kept = [torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(written[3], written[4], strict=True)]
    assert kept.count(False) == 1  # the least used one was emptied and written again


def test_a_neural_process_is_as_sure_as_its_least_deviation_at_most() -> None:
    theta, part = meta(PROCESS, CURVE), batch(CURVE.task, (4,))
    memory = PROCESS.encode_support(CURVE, stack(theta, 1), part)
    sure = {n: p - 100.0 if n == "decoder/layer1.bias" else p for n, p in stack(theta, 1).items()}
    _, sd = PROCESS.distribution(CURVE, sure, memory, part.x)
    torch.testing.assert_close(sd, torch.full_like(sd, 0.1))


def test_what_it_cannot_learn_is_refused_in_one_line() -> None:
    options = {"inputs": 3, "width": 4, "outputs": 3}
    module = TorchModule(factory="tests.cases:tanh_net", options=options, task=classification(3))
    for learner, model, reason in ((PROCESS, CLASSES, "regression only"), (RECURRENT, module, "no embedding")):
        with pytest.raises(ConfigError, match=reason) as caught:
            learner.init(model, generator(0, "init"))
        assert "\n" not in str(caught.value)
