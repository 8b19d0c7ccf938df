"""``meta_app``: a Flower ClientApp made of a module, a client's data, and one of metapulse's methods.

It answers the ordinary messages of any Flower strategy. An instruction holds the module's state dict, and what the
method learns besides (Meta-SGD's rates); the reply holds the same names:

    θ − u   u being the method's update, as FedAvg, FedReptile and FedMAML read it
    u       where the instruction's configuration says reports = "updates"

Where a method trains, as Reptile, θ − u is what training ended at; where it reports a gradient, as MAML, it is θ after
a step of rate 1 along it. Frozen parameters and buffers come back as they came, or as zeros among updates.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn

from metapulse.client.memory import ContextMemory, recall, remember
from metapulse.client.own_data import Side, episode_of, read_side, task_of
from metapulse.client.wire import EXAMPLES, METRICS, REPORTS, ROUND, UPDATES, decode, encode
from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError, InstructionError
from metapulse.losses import task_metrics
from metapulse.methods.base import Learner
from metapulse.methods.meta_sgd import RATE
from metapulse.models.draws import drawing
from metapulse.models.given import GivenModule, made_of
from metapulse.registry import LEARNERS
from metapulse.rng import Keys, generator
from metapulse.trees import Params, Stacked, all_finite, pick

#: From a client's context to its support and query.
Data: TypeAlias = Callable[[Context], tuple[Side, Side]]

CLIENTS = 2**40  # addresses of randomness go so far
SHOWN = {"loss": "loss", "accuracy": "acc", "balanced_accuracy": "balanced_acc", "mse": "loss", "mae": "mae"}


def meta_app(
    module: nn.Module | Callable[[], nn.Module],
    data: Data,
    method: str = "maml",
    *,
    evaluation_data: Data | None = None,
    adapt_steps: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> ClientApp:
    """A ClientApp that trains a module by one of metapulse's methods, and judges it before and after adaptation.

    Training reports ``train_loss``; evaluation adapts on support and reports, of query, ``eval_loss`` and ``eval_acc``
    (``eval_mae`` for regression, where the loss is the mean squared error) after adaptation, and the same names with
    ``_before`` before it. Both report ``num-examples``. What a method keeps on a device stays in the node's context.

    Args:
        module: a module from (samples, *features) to (samples, outputs), or what makes one without arguments; float32
            parameters, no batch-norm. Whole-number targets make it a classifier.
        data: from a client's context to (support, query), each a pair of tensors or a loader of batches. Methods
            without an inner split of their own (Reptile, FedAvg) train on the support alone.
        method: "maml", "fomaml", "reptile", "meta_sgd" (with ``FedMetaSGD``), or another of ``metapulse methods`` that
            learns the module's parameters.
        evaluation_data: as ``data``, for evaluations; None: ``data``'s, on whose query MAML and its relatives train.
        adapt_steps: steps of adaptation before it is judged, ≥ 0; None: as many as in training.
        seed: of minibatches and dropout, ≥ 0.
        settings: of the method, as ``inner_lr`` and ``inner_steps``.

    Returns:
        What an app's ``clientapp`` names: ``app = meta_app(Net, data)``.

    Raises:
        ConfigError: an unknown method or setting, or a module that cannot serve.
    """
    made = module() if callable(module) and not isinstance(module, nn.Module) else module
    if not isinstance(made, nn.Module):
        raise ConfigError("module", type(made).__name__, "must be a torch.nn.Module, or make one")
    for name, given in (("data", data), ("evaluation_data", evaluation_data or data)):
        if not callable(given):
            raise ConfigError(
                name, type(given).__name__, "must be a function from a client's context to (support, query)"
            )
    if adapt_steps is not None and (type(adapt_steps) is not int or adapt_steps < 0):
        raise ConfigError("adapt_steps", adapt_steps, "must be a whole number ≥ 0")
    learner: Learner = LEARNERS.make({"name": method, **settings})
    worker = _Client(made_of(made), learner, method, data, evaluation_data or data, adapt_steps, seed)
    app = ClientApp()
    app.train()(worker.train)
    app.evaluate()(worker.evaluate)
    return app


@dataclass(frozen=True)
class _Round:
    """What one instruction asks of one client: the model, θ, the samples, and where its randomness is."""

    model: GivenModule
    theta: dict[str, Tensor]
    episode: Episode
    keys: Keys
    state: Stacked


@dataclass(frozen=True)
class _Client:
    """See ``meta_app``."""

    module: nn.Module
    learner: Learner
    method: str
    data: Data
    evaluation_data: Data
    adapt_steps: int | None
    seed: int

    @property
    def _learned(self) -> list[str]:
        """Names of the module's parameters that are learned, each once."""
        return [name for name, p in self.module.named_parameters() if p.requires_grad]

    def train(self, message: Message, context: Context) -> Message:
        """θ − u or u, and the training loss."""
        key, record, config = _opened(message)
        round = _round(config)
        work = self._begin(record, context, self.data, round, round - 1)
        episode = work.episode
        if not self.learner.uses_query_set:
            episode = Episode(episode.support, episode.query.slice(0, 0))
        with drawing(work.keys):
            report = self.learner.update(work.model, work.theta, work.state, episode, work.keys)
        update = pick(report.update, 0)
        if not all_finite(update):
            raise InstructionError("the update holds NaN or infinity")
        if report.state:
            remember(ContextMemory(context.state), round, 0, pick(report.state, 0))
        arrays = self._reply(record, work, update, config.get(REPORTS) == UPDATES)
        numbers = {("train_loss" if k == "loss" else k): float(v[0]) for k, v in report.metrics.items()}
        return _answer(message, {EXAMPLES: float(report.weight[0]), **numbers}, {key: arrays})

    def evaluate(self, message: Message, context: Context) -> Message:
        """Losses and accuracies of the query before and after adaptation on the support."""
        _, record, config = _opened(message)
        round = _round(config)
        work = self._begin(record, context, self.evaluation_data, round, round)
        steps = self.learner.inner_steps if self.adapt_steps is None else self.adapt_steps
        query, numbers = work.episode.query, {EXAMPLES: float(work.episode.query.counts[0])}
        with drawing(work.keys):
            at = sorted({0, steps})
            path = self.learner.adapted_at(work.model, work.theta, work.state, work.episode.support, work.keys, at)
            for k, phi in zip(at, path, strict=True):
                judged = self._judge(work, phi, query)
                for when in [when for when, step in (("_before", 0), ("", steps)) if step == k]:
                    numbers |= {f"eval_{SHOWN[name]}{when}": value for name, value in judged.items()}
        return _answer(message, numbers, {})

    def _judge(self, work: _Round, phi: Stacked, query: Batch) -> dict[str, float]:
        with torch.no_grad():
            answers = self.learner.predict(work.model, phi, query.x)
        return {name: float(m[0]) for name, m in task_metrics(work.model.task, answers, query.y, query.mask).items()}

    def _begin(self, record: ArrayRecord, context: Context, data: Data, round: int, kept: int) -> _Round:
        """The samples, the model that fits them, and θ in it.

        Raises:
            InstructionError: the arrays are not those that this method learns of this module.
        """
        sides = data(context)
        if not isinstance(sides, (tuple, list)) or len(sides) != 2:
            raise InstructionError("data must return two: support and query")
        support, query = read_side(sides[0], "support"), read_side(sides[1], "query")
        net, besides = self._loaded(record)
        with torch.no_grad():
            outputs = net(support[0][:2])
        if not isinstance(outputs, Tensor) or outputs.dim() != 2:
            raise InstructionError("the module must return one tensor of shape (samples, outputs)")
        task, other = (task_of(x, y, outputs.shape[1]) for x, y in (support, query))
        if task != other:
            raise InstructionError(f"support and query are of different tasks: {task} and {other}")
        model = GivenModule(type(net).__name__, task=task, given=net)
        theta = {name: p.detach() for name, p in net.named_parameters() if name in self._learned} | besides
        self._check(theta, model)
        partition = context.node_config.get("partition-id", context.node_id)
        keys = Keys(self.seed, round, [int(str(partition)) % CLIENTS])
        state = recall(ContextMemory(context.state), kept) or self.learner.initial_state(model, theta)
        return _Round(model, theta, episode_of(support, query), keys, {k: p.unsqueeze(0) for k, p in state.items()})

    def _loaded(self, record: ArrayRecord) -> tuple[nn.Module, dict[str, Tensor]]:
        """A module with the arrays that came, and what came besides; rates of what nothing moves are left out."""
        own, values = self.module.state_dict(), decode(record)
        if missing := sorted(set(own) - set(values)):
            raise InstructionError(f"arrays of the module are missing: {', '.join(missing[:3])}")
        for name, p in own.items():
            if values[name].shape != p.shape:
                raise InstructionError(f"array {name} is {list(values[name].shape)}; the module's is {list(p.shape)}")
        net = copy.deepcopy(self.module)
        net.load_state_dict({name: values[name] for name in own})  # in the module's own precision
        constant = {RATE + name for name in own} - {RATE + name for name in self._learned}
        return net, {name: p for name, p in values.items() if name not in own and name not in constant}

    def _check(self, theta: Params, model: GivenModule) -> None:
        """Refuse arrays that lack what the method learns, or hold more."""
        learned = {name: p.shape for name, p in self.learner.init(model, generator(self.seed, "init")).items()}
        found = {name: p.shape for name, p in theta.items()}
        if odd := sorted(name for name in {*learned, *found} if learned.get(name) != found.get(name)):
            hint = "; FedMetaSGD sends the rates" if self.method == "meta_sgd" else ""
            wrong = f"{self.method} learns other arrays than it was sent"
            raise InstructionError(f"{wrong}: {', '.join(odd[:3])}{hint}")

    def _reply(self, record: ArrayRecord, work: _Round, update: Params, updates: bool) -> ArrayRecord:
        """θ − u or u under the names and in the order that came; a parameter of two names has one update."""
        first: dict[int, str] = {}
        own = self.module.named_parameters(remove_duplicate=False)
        called = {name: first.setdefault(id(p), name) for name, p in own}
        sent = {}
        for name, p in decode(record).items():
            u = update.get(called.get(name, name), torch.zeros_like(p))
            sent[name] = u if updates else p - u
        return encode(sent)


def _opened(message: Message) -> tuple[str, ArrayRecord, ConfigRecord]:
    """The one array record of an instruction, with its key, and its configuration.

    Raises:
        InstructionError: there is none, or more than one.
    """
    records, configs = message.content.array_records, message.content.config_records
    if len(records) != 1:
        raise InstructionError(f"an instruction has one ArrayRecord; this one has {len(records)}")
    ((key, record),) = records.items()
    return key, record, next((c for c in configs.values() if ROUND in c), ConfigRecord())


def _round(config: ConfigRecord) -> int:
    return int(str(config.get(ROUND, 0)))


def _answer(message: Message, numbers: Mapping[str, float], arrays: Mapping[str, ArrayRecord]) -> Message:
    return Message(RecordDict({**arrays, METRICS: MetricRecord(dict(numbers))}), reply_to=message)
