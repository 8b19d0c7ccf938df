"""The answers of a meta-test, checked reply by reply, and which clients gave none that could be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Message
from jaxtyping import Bool, Float64

from metapulse.client.spec import Trial
from metapulse.client.wire import EXAMPLES, METRICS, check_stamp
from metapulse.errors import ReplyError
from metapulse.metrics.table import is_share, may_be_undefined
from metapulse.outcome import Scores
from metapulse.server.client_sampler import SubsetGrid
from metapulse.server.reasons import grouped
from metapulse.strategies.on_demand import MessagesOnDemand
from metapulse.strategies.replies import Dropped, first_line, sift

#: Metrics that say what was asked, not how well it was answered.
FACTS = frozenset({"offered", "not_offered", "history"})


@dataclass(frozen=True)
class ClientScores:
    """One client's scores.

    Args:
        values: (episodes, steps) per metric, all finite; a share is 0 where the client's numbers overflowed.
        overflowed: where they did: then an error has no value.
        undefined: where a metric is not defined, for those of which that occurs.
    """

    values: Mapping[str, Float64[np.ndarray, "episodes steps"]]
    overflowed: Bool[np.ndarray, "episodes steps"]
    undefined: Mapping[str, Bool[np.ndarray, "episodes steps"]] = field(default_factory=dict)


@dataclass(frozen=True)
class AnswerCounts:
    """Counts of the clients that were asked a question: answered, diverged, missing.

    Args:
        shots: at so many.
        asked: clients.
        answered: those who are in means.
        diverged: those of them whose loss overflowed: shares count as 0, errors are in no mean.
        reasons: why the others are missing → how many.
    """

    scenario: str
    shots: int
    asked: int
    answered: int
    diverged: int
    reasons: Mapping[str, int]


class ScoreReplies(MessagesOnDemand):
    """Answers of an engine that holds them stacked.

    Args:
        scores: of every stack.
        message: makes the ordinary message of one position of a stack: first its clients, then its failures.
    """

    def __init__(self, scores: Sequence[Scores], message: Callable[[Scores, int], Message]) -> None:
        places = [(part, i) for part in scores for i in range(len(part.clients) + len(part.failures))]
        super().__init__(len(places), lambda index: message(*places[index]))
        self.scores = scores


def count_answers(
    scenario: str,
    shots: int,
    asked: int,
    answers: Mapping[int, ClientScores],
    apart: Iterable[str],
    dropped: list[Dropped],
) -> AnswerCounts:
    """The count of one question.

    Args:
        shots: at so many.
        asked: clients.
        answers: by client.
        apart: why some of these are in no mean.
        dropped: who gave no usable answer.
    """
    aside = list(apart)
    missing = {one.client: one.reason for one in reversed(dropped) if one.client >= 0 and one.client not in answers}
    diverged = sum(bool(answer.overflowed.any()) for answer in answers.values())
    reasons = grouped([missing[client] for client in sorted(missing)] + aside)
    return AnswerCounts(scenario, shots, asked, len(answers) - len(aside), diverged, reasons)


def read_answers(
    replies: Iterable[Message], view: SubsetGrid, trial: Trial, told: Mapping[str, Any]
) -> tuple[dict[int, ClientScores], list[Dropped]]:
    """Scores per client, and who gave none that could be used."""
    if isinstance(replies, ScoreReplies):
        return _read_stacks(replies.scores)
    asked = {node: view.client_of(node) for node in view.get_node_ids()}
    return sift(replies, asked, lambda client, reply: _read(reply, trial, told))


def _read_stacks(stacks: Iterable[Scores]) -> tuple[dict[int, ClientScores], list[Dropped]]:
    """The same checks on stacks; their names and shapes come from our own engine, their values from clients."""
    accepted: dict[int, ClientScores] = {}
    dropped: list[Dropped] = []
    for stack in stacks:
        numbers = {name: values.double().numpy() for name, values in stack.metrics.items()}
        dropped += [Dropped(client, first_line(reason)) for client, reason in stack.failures.items()]
        for client, found in zip(stack.clients, _sound(numbers) if stack.clients else [], strict=True):
            if isinstance(found, str):
                dropped.append(Dropped(client, found))
            else:
                accepted[client] = found
    return dict(sorted(accepted.items())), sorted(dropped, key=lambda one: (one.client, one.reason))


def _read(reply: Message, trial: Trial, told: Mapping[str, Any]) -> ClientScores:
    check_stamp(reply.content, told)
    records = reply.content.metric_records
    if list(records) != [METRICS]:
        raise ReplyError("a meta-test reply has one metric record 'metrics'")
    size = trial.episodes * len(trial.steps)
    scores = {}
    for name, values in records[METRICS].items():
        if name == EXAMPLES:
            continue
        if not isinstance(values, list) or len(values) != size or len(name) > 64:
            raise ReplyError(f"metric {name[:64]!r} must be a list of {size} numbers")
        scores[name] = np.array(values, dtype=np.float64).reshape(trial.episodes, len(trial.steps))
    if not scores or len(scores) > 16:
        raise ReplyError(f"{len(scores)} metrics; 1 to 16 are allowed")
    (found,) = _sound({name: values[None] for name, values in scores.items()})
    if isinstance(found, str):
        raise ReplyError(found)
    return found


def _sound(stack: Mapping[str, Float64[np.ndarray, "clients episodes steps"]]) -> list[ClientScores | str]:
    """Each client's scores, or what is wrong with them: a share must be a share.

    A number that is none says that training ran away: the worst that can be answered. Where a metric may be undefined,
    NaN says that it is.
    """
    wrong: dict[int, str] = {}
    finite = {name: np.isfinite(values) for name, values in stack.items()}
    for name, values in stack.items():
        for row in _rows(~finite[name]) if name in FACTS else ():
            wrong.setdefault(row, f"metric {name!r} is not finite")
        for row in _rows(finite[name] & ((values < 0) | (values > 1))) if is_share(name) else ():
            span = f"{values[row].min():g} to {values[row].max():g}"
            wrong.setdefault(row, f"metric {name!r} must be in [0, 1], not {span}")
    none = {name: np.isnan(values) for name, values in stack.items() if may_be_undefined(name)}
    overflowed = np.asarray(~np.stack([where | none.get(name, False) for name, where in finite.items()]).all(0))
    worst = {name: np.where(overflowed, 0.0, v) if is_share(name) else v for name, v in stack.items()}
    undefined = {name: (where & ~overflowed, where.any((1, 2))) for name, where in none.items()}
    return [
        wrong.get(row)
        or ClientScores(
            {name: values[row] for name, values in worst.items()},
            overflowed[row],
            {name: where[row] for name, (where, some) in undefined.items() if some[row]},
        )
        for row in range(len(overflowed))
    ]


def _rows(where: Bool[np.ndarray, "clients episodes steps"]) -> list[int]:
    """Clients of whom it is so anywhere."""
    rows: list[int] = np.flatnonzero(where.any((1, 2))).tolist()
    return rows
