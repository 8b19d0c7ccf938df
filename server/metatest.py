"""The meta-test: how well θ adapts to held-out people.

Every target gets K shots of its own and reports, per episode, its score before adaptation and after each step asked
for. Scores stay per client; only the summary averages.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MessageType, RecordDict
from flwr.serverapp import Grid
from jaxtyping import Bool, Float64

from metapulse.client.spec import Asked, Trial, to_json
from metapulse.client.wire import (
    ARRAYS,
    CONFIG,
    ROUND,
    RUN,
    TRIAL,
    VERSION,
    WIRE,
    WORK,
    Instructions,
    reply_stamp,
)
from metapulse.episodes import EpisodePlan
from metapulse.metrics.table import larger_is_better
from metapulse.server.answers import FACTS, AnswerCounts, ClientScores, count_answers, read_answers
from metapulse.server.client_sampler import ClientSampler, SubsetGrid
from metapulse.server.config import Config
from metapulse.server.statistics import Spread, spreads
from metapulse.settings import part
from metapulse.strategies.replies import Dropped

#: One line of metrics.parquet.
Row: TypeAlias = dict[str, Any]
#: What a row was asked.
ASKED = ("round", "phase", "scenario", "shots", "step")
#: Of what has a round and a phase.
Told = TypeVar("Told", bound=Mapping[str, Any])
#: Why a client's scores say nothing about the method, and so are in no mean.
ONE_CLASS, NOT_OFFERED = "one class offered", "no sample of a class offered"
#: The headline is the first of these that was measured.
HEADLINES = ("balanced_accuracy", "accuracy", "mse")


@dataclass(frozen=True)
class MetaTestResult:
    """Result of a meta-test: rows in a fixed order, who gave no usable answer, and the count of every question."""

    rows: list[Row]
    dropped: list[Dropped]
    people: list[AnswerCounts]


@dataclass(frozen=True)
class MetaTest:
    """Evaluates every scenario at every number of shots.

    Args:
        sampler: who is held out.
    """

    config: Config
    sampler: ClientSampler
    grid: Grid

    def looks(self, round: int) -> bool:
        """Whether a round ends with a look at validation people."""
        return self._falls(self.config.evaluation.validation_every, round)

    def due(self, round: int) -> bool:
        """Whether a round ends with a meta-test: every so many rounds, and always the last.

        A look takes its place where validation people are the ones to be asked.
        """
        e = self.config.evaluation
        if e.phase == "validation" and self.looks(round):
            return False
        return round == self.config.run.rounds or self._falls(e.every, round)

    def _falls(self, every: int, round: int) -> bool:
        return every > 0 and (round == self.config.run.rounds or round % every == 0)

    def ask(self, round: int, arrays: ArrayRecord, run: str, phase: str, scenarios: Sequence[str]) -> MetaTestResult:
        """What people answer in some scenarios, at every number of shots.

        Args:
            round: the round θ is of.
            arrays: θ.
            run: identity of the run; devices that kept something in it answer with that.
            phase: whose people where it is about held-out ones, "validation" or "test".
        """
        found = MetaTestResult([], [], [])
        for scenario in scenarios:
            clients = self.sampler.targets(scenario, phase)
            view = SubsetGrid(self.grid, clients, self.sampler.directory)
            for shots in dict.fromkeys(self.config.evaluation.shots):
                trial = self.trial(scenario, shots)
                work = to_json(self.config.client_config())
                config = ConfigRecord({WIRE: VERSION, ROUND: round, WORK: work, TRIAL: to_json(trial), RUN: run})
                content = RecordDict({ARRAYS: arrays, CONFIG: config})
                messages = Instructions(content, list(view.get_node_ids()), MessageType.EVALUATE)
                replies = self.grid.send_and_receive(messages, timeout=self.config.engine.timeout_s)
                answers, refused = read_answers(replies, view, trial, reply_stamp(config))
                found.dropped.extend(refused)
                asked = {"round": round, "phase": phase, "scenario": scenario, "shots": shots}
                rows, apart = self._rows(asked, answers, trial)
                found.rows.extend(rows)
                found.people.append(count_answers(scenario, shots, len(clients), answers, apart, refused))
        return found

    def trial(self, scenario: str, shots: int) -> Trial:
        """The question put to each target of a scenario."""
        return question(self.config, scenario, shots, self.sampler.train_devices)

    def _rows(
        self, asked: Mapping[str, Any], answers: Mapping[int, ClientScores], trial: Trial
    ) -> tuple[list[Row], list[str]]:
        """The rows of one question's answers, in order of partition id; and why some clients are in no mean."""
        clients, rows, why = sorted(answers), list[Row](), list[str]()
        telling = [informative_episodes(answers[client].values, trial) for client in clients]
        kept = [episodes if not apart else np.ones_like(episodes) for episodes, apart in telling]
        means = episode_means([answers[client] for client in clients], kept)
        for client, (_, apart), own in zip(clients, telling, means, strict=True):
            who = self.sampler.directory.client(client)
            named = {**asked, "client": client, "user": who.label, "device": who.device}
            why += [apart] if apart else []
            for metric, values in own.items():
                for step, value in zip(trial.steps, values, strict=True):
                    aside = apart or (not_defined(metric) if value is None else "")
                    if value is None or math.isfinite(value):  # an error that overflowed has no worst value
                        rows.append({**named, "step": step, "metric": metric, "apart": aside, "value": value})
        return rows, why


def question(config: Config, scenario: str, shots: int, old: tuple[str, ...] = ()) -> Trial:
    """What each target of a scenario is asked.

    Args:
        scenario: one of ``metapulse.server.evaluation.SCENARIOS``.
        shots: support samples per class, or in all for regression (0: all).
        old: device models of meta-training, which a scenario with a history adapts on first.
    """
    e = config.evaluation
    return Trial(
        name=scenario.removesuffix("_history"),  # the same episodes with and without history
        plan=EpisodePlan("held_out" if scenario == "known_user" else e.split, shots, e.query),
        history=old if scenario.endswith("_history") else (),
        **part(Asked, e) | {"steps": tuple(sorted(set(e.steps)))},
    )


def informative_episodes(answer: Mapping[str, np.ndarray], trial: Trial) -> tuple[np.ndarray, str]:
    """Which episodes of a client say something about the method, and why none does ("": some do).

    Where answers are restricted to the classes offered, one class alone leaves no choice: the answer is right or wrong
    whatever was learnt. Where the rest is left out, a query without a class that was offered has no score.
    """
    if not trial.restrict or not {"offered", "not_offered"} <= answer.keys():
        return np.ones(trial.episodes, dtype=np.bool_), ""
    choice = answer["offered"][:, 0] > 1
    asked = np.ones_like(choice) if trial.not_offered == "wrong" else answer["not_offered"][:, 0] < 1
    telling = choice & asked
    return telling, "" if telling.any() else NOT_OFFERED if choice.any() else ONE_CLASS


def episode_means(
    answers: Sequence[ClientScores], kept: Sequence[Bool[np.ndarray, " episodes"]]
) -> list[dict[str, list[float | None]]]:
    """Each client's mean of every metric over episodes, step by step; None where it is defined in none of them.

    Args:
        answers: of some clients.
        kept: the episodes of each that count, at least one; facts are told of all.
    """
    alike: dict[tuple[str, ...], list[int]] = {}  # clients that answered in the same metrics
    for row, answer in enumerate(answers):
        alike.setdefault(tuple(answer.values), []).append(row)
    means: list[dict[str, list[float | None]]] = [{} for _ in answers]
    for names, rows in alike.items():
        counted = np.stack([kept[row] for row in rows])[:, :, None]
        for name in names:
            values = np.stack([answers[row].values[name] for row in rows])
            there = np.broadcast_to(counted | (name in FACTS), values.shape)
            if any(name in answers[row].undefined for row in rows):
                nowhere = np.zeros(values.shape[1:], dtype=np.bool_)
                there = there & ~np.stack([answers[row].undefined.get(name, nowhere) for row in rows])
            for row, found in zip(rows, _means_where(values, there), strict=True):
                means[row][name] = found
    return means


def _means_where(
    values: Float64[np.ndarray, "clients episodes steps"], there: Bool[np.ndarray, "clients episodes steps"]
) -> list[list[float | None]]:
    if there.all():
        whole: list[list[float | None]] = values.mean(1).tolist()
        return whole
    count = there.sum(1)
    means = np.where(there, values, 0.0).sum(1) / np.maximum(count, 1)
    return [
        [mean if n else None for mean, n in zip(*one, strict=True)]
        for one in zip(means.tolist(), count.tolist(), strict=True)
    ]


def not_defined(metric: str) -> str:
    """Why a client has no number of a metric that all its numbers are there for."""
    return f"{metric} not defined"


def rows_in_means(rows: Iterable[Row]) -> list[Row]:
    """The rows that are in means."""
    return [row for row in rows if not row.get("apart") or row["metric"] in FACTS]


def left_out(rows: Iterable[Row]) -> dict[str, int]:
    """How many clients are in no mean, by reason; each once, in however many scenarios and shots."""
    found = {(row["apart"], row["client"]) for row in rows if row.get("apart")}
    return {reason: sum(why == reason for why, _ in found) for reason in sorted({why for why, _ in found})}


def undefined_counts(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For how many clients a metric is not defined: one entry per (round, phase, scenario, shots, metric)."""
    keys, found = ("round", "phase", "scenario", "shots", "metric"), dict[tuple[Any, ...], set[int]]()
    for row in rows:
        if (why := row.get("apart")) and why == not_defined(row["metric"]):
            found.setdefault(tuple(row[key] for key in keys), set()).add(row["client"])
    return [dict(zip(keys, key, strict=True)) | {"clients": len(clients)} for key, clients in sorted(found.items())]


def summarise(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry per (round, scenario, shots, step, metric): the spread over clients, and how many are ``apart``.

    Apart are also those for whom the metric is not defined. Where all are there is no entry for what they would have
    scored.
    """
    rows = list(rows)
    question = itemgetter(*ASKED)
    apart: dict[tuple[Any, ...], set[int]] = {}
    for row in rows:
        if why := row.get("apart"):
            own = (row["metric"],) if why == not_defined(row["metric"]) else ()
            apart.setdefault((*question(row), *own), set()).add(row["client"])
    found = _spreads(rows_in_means(rows))
    out = []
    for key in sorted(found, key=json.dumps):
        *asked, metric = key
        numbers = dict(vars(found[key]))
        if metric not in FACTS:
            numbers["apart"] = sum(len(apart.get(k, ())) for k in (tuple(asked), key))
        out.append({**dict(zip(ASKED, asked, strict=True)), "metric": metric} | numbers)
    return out


def _spreads(rows: Iterable[Row]) -> dict[tuple[Any, ...], Spread]:
    """(``ASKED``, metric) → the spread over clients; computed together for all that the same people have."""
    groups: dict[tuple[Any, ...], tuple[list[float], list[str]]] = defaultdict(lambda: ([], []))
    address = itemgetter(*ASKED, "metric")
    for row in rows:
        values, users = groups[address(row)]
        values.append(row["value"])
        users.append(row["user"])
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for key, (_, users) in groups.items():
        alike[tuple(users)].append(key)
    found: dict[tuple[Any, ...], Spread] = {}
    for names, keys in alike.items():
        number = {user: i for i, user in enumerate(sorted(set(names)))}
        person = np.array([number[user] for user in names], dtype=np.int64)
        table, better = np.array([groups[key][0] for key in keys]), [larger_is_better(key[-1]) for key in keys]
        found.update(zip(keys, spreads(table, person, better), strict=True))
    return found


def headline_metric(scores: Iterable[Mapping[str, Any]], main: str = "") -> str:
    """The metric that decides, and that a comparison is read for: of rows, or of a summary's scores.

    Args:
        main: the one that was chosen (``evaluation.main_metric``); "": the first of ``HEADLINES`` that was measured.
    """
    if main:
        return main
    names = {str(score["metric"]) for score in scores} - FACTS
    return next((name for name in HEADLINES if name in names), min(names, default=""))


def headline(rows: list[Row], main: str = "") -> float | None:
    """One number for the progress line: the first scenario's main metric at the last step, mean over clients."""
    rows = rows_in_means(rows)
    if not rows:
        return None
    first = rows[0]
    metric = headline_metric(rows, main)
    step = max(r["step"] for r in rows)
    wanted, key = ("scenario", "shots", "metric", "step"), (first["scenario"], first["shots"], metric, step)
    chosen = [value for *own, value in map(itemgetter(*wanted, "value"), rows) if tuple(own) == key]
    return float(np.mean(chosen)) if chosen else None


def last_scores(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The summary's scores of the last meta-test."""
    return of_last(summary["scores"])


def of_last(told: Iterable[Told]) -> list[Told]:
    """What is told of the last meta-test: of test people where they were asked, else of validation people."""
    found = list(told)
    last = max((one["round"] for one in found), default=0)
    there = [one for one in found if one["round"] == last]
    return [one for one in there if one["phase"] == "test"] or there
