"""Replies of ordinary ClientApps: parameters and numbers, checked one by one and turned into updates.

θ may hold what no outer optimiser should move: the running statistics of batch-norm, and whole numbers. These are
*statistics* here; they are averaged over the replies (the median under a robust aggregator), whatever the outer rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from metapulse.client.wire import decode, decode_like
from metapulse.errors import ConfigError, ReplyError
from metapulse.strategies.aggregate import weighted_mean
from metapulse.strategies.aggregators.median import Median
from metapulse.strategies.replies import MAX_WEIGHT, UpdateStack
from metapulse.trees import Params, Stacked, flatten, norms, row_like

#: Last parts of the names under which PyTorch's normalisation layers keep running statistics.
RUNNING = frozenset({"running_mean", "running_var", "num_batches_tracked"})
PRECISIONS = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class UsableReply:
    """One reply that counts.

    Args:
        values: what it sent, with θ's names, shapes and dtypes; {} for an evaluation.
        weight: of its mean, > 0.
        content: all of it, for functions that aggregate metrics.
    """

    values: Params
    weight: float
    content: RecordDict


def read_theta(arrays: ArrayRecord, where: str) -> dict[str, Tensor]:
    """θ, as the server holds it.

    Args:
        where: the strategy's name, for messages.

    Raises:
        ConfigError: an array of complex numbers, or no floating-point array that could be learned.
    """
    theta = decode(arrays)
    for name, p in theta.items():
        if p.is_complex():
            raise ConfigError(f"{where}: array {name}", str(p.dtype), "must hold real numbers")
    if not any(is_learned(name, p) for name, p in theta.items()):
        raise ConfigError(f"{where}: initial_arrays", list(theta), "hold no floating-point parameters to learn")
    return theta


def is_learned(name: str, p: Tensor) -> bool:
    """Whether the outer update moves an array: it is floating-point, and no running statistic."""
    return p.is_floating_point() and name.rpartition(".")[2] not in RUNNING


def working(p: Tensor) -> Tensor:
    """An array as it is computed with: half precision as float32, whole numbers as float64."""
    if not p.is_floating_point():
        return p.double()
    return p.float() if p.dtype == torch.float16 else p


def stored(p: Tensor, like: Tensor) -> Tensor:
    """The way back: whole numbers are rounded to the nearest one."""
    return p.to(like.dtype) if like.is_floating_point() else p.round().to(like.dtype)


def read_flower_reply(reply: Message, theta: Params | None, weighted_by: str) -> UsableReply:
    """What a reply says.

    Args:
        reply: no error.
        theta: θ, whose names and shapes its arrays must have, in any floating-point precision; None: an evaluation.
        weighted_by: name of the metric that weighs it.

    Raises:
        ReplyError: what is wrong with it, in one line.
    """
    arrays, metrics = list(reply.content.array_records.values()), list(reply.content.metric_records.values())
    if len(metrics) != 1 or (theta is not None and len(arrays) != 1):
        wanted = "one MetricRecord" if theta is None else "one ArrayRecord and one MetricRecord"
        raise ReplyError(f"a reply has {wanted}; this one has {len(arrays)} ArrayRecords, {len(metrics)} MetricRecords")
    weight = metrics[0].get(weighted_by)
    if not isinstance(weight, (int, float)) or not 0 < weight <= MAX_WEIGHT:  # not a number is neither
        told = "is missing" if weight is None else f"= {str(weight)[:40]}"
        raise ReplyError(f"metric {weighted_by!r} {told}; it must be a number > 0 and ≤ {MAX_WEIGHT:.0e}")
    return UsableReply({} if theta is None else _values(arrays[0], theta), float(weight), reply.content)


def _values(record: ArrayRecord, theta: Params) -> dict[str, Tensor]:
    def expected(name: str, p: Tensor) -> Tensor:
        told = record[name].dtype if name in record else ""
        return p.to(PRECISIONS[told]) if p.is_floating_point() and told in PRECISIONS else p

    values = decode_like(record, {name: expected(name, p) for name, p in theta.items()})
    held = {name: value.to(theta[name].dtype) for name, value in values.items()}
    if wide := [name for name, p in held.items() if p.is_floating_point() and not bool(torch.isfinite(p).all())]:
        raise ReplyError(f"array {wide[0]!r} leaves the range of {theta[wide[0]].dtype}")
    return held


def stack_of(answers: Mapping[int, UsableReply], theta: Params, reports: str) -> UpdateStack:
    """A round's updates u_i as a stack: θ − φ_i where clients report parameters φ_i, what they sent where updates.

    Args:
        answers: by node id, at least one.
        theta: θ, or a part of it.
        reports: "parameters" or "updates".
    """

    def update(name: str, p: Tensor) -> Tensor:
        sent = torch.stack([working(answer.values[name]) for answer in answers.values()])
        return working(p) - sent if reports == "parameters" else sent

    weight = torch.tensor([answer.weight for answer in answers.values()], dtype=torch.float64)
    return UpdateStack(list(answers), {name: update(name, p) for name, p in theta.items()}, weight, {})


def are_parameters(updates: UpdateStack, theta: Params) -> bool:
    """Whether most of a round's updates u_i are plainly parameters: ‖u_i − θ‖ < ‖u_i‖ / 2.

    An update is as close to θ only where a step takes away more than half of θ, and nothing else of its size.
    """
    near = {name: p - working(theta[name]) for name, p in updates.update.items()}
    return bool((norms(near) < 0.5 * norms(updates.update)).double().mean() > 0.5)


def statistics(theta: Params, stack: UpdateStack, weight: Tensor | None) -> dict[str, Tensor]:
    """The next value of what is averaged and not learned.

    Args:
        theta: the statistics of θ.
        weight: w of the weighted mean; None: the median of every number.
    """
    if not theta:
        return {}
    update: Stacked = stack.update
    wide = {name: working(p) for name, p in theta.items()}
    moved = row_like(Median().aggregate(flatten(update)), wide) if weight is None else weighted_mean(update, weight)
    return {name: stored(wide[name] - moved[name], p) for name, p in theta.items()}


def not_finite(contents: Mapping[int, RecordDict]) -> dict[str, list[int]]:
    """Metrics that are NaN or infinite somewhere, each with the nodes where they are.

    Args:
        contents: by node id, each with one MetricRecord.
    """
    odd: dict[str, list[int]] = {}
    for node, content in contents.items():
        for name, value in next(iter(content.metric_records.values())).items():
            if not all(map(math.isfinite, value if isinstance(value, list) else [value])):
                odd.setdefault(name, []).append(node)
    return odd


def alike(contents: Sequence[RecordDict]) -> tuple[list[RecordDict], list[str]]:
    """Contents with only those metrics that all of them have in the same form, and the names of those left out.

    A mean over a metric that some clients lack would be a mean over other weights than it says.

    Args:
        contents: each with one MetricRecord.
    """
    records = [next(iter(content.metric_records.values())) for content in contents]
    forms = [{name: len(v) if isinstance(v, list) else -1 for name, v in record.items()} for record in records]
    common = {name for name, form in forms[0].items() if all(other.get(name) == form for other in forms)}
    left_out = sorted({name for form in forms for name in form} - common)
    if not left_out:
        return list(contents), []
    return [_only(content, common) for content in contents], left_out


def _only(content: RecordDict, names: set[str]) -> RecordDict:
    kept = RecordDict(dict(content))
    for key, record in content.metric_records.items():
        kept[key] = MetricRecord({name: value for name, value in record.items() if name in names})
    return kept
