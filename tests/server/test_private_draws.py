"""Who is asked in a round of a private run: all people who were drawn, whatever the cohort says, on every engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from scipy import stats

from metapulse.client.wire import Instructions
from metapulse.errors import NoResultError
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.run import Run
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.sources.sine import Sine
from tests.runs import make

PEOPLE, COHORT, ROUNDS = 100, 20, 120
MECHANISMS = {
    "central": {"mechanism": "central"},
    "adaptive": {"mechanism": "central", "adaptive": True, "count_noise": 5.0},
    "local": {"mechanism": "local"},
}


def config(rounds: int, strategy: str, privacy: dict[str, Any], **sections: dict[str, Any]) -> Config:
    return make(
        "reptile",
        strategy,
        "sine",
        rounds,
        source={"clients": PEOPLE},
        split={"test": 0.0, "validation": 0.0},
        learner={"inner_steps": 1},
        strategy={"cohort": COHORT, "weighting": "uniform"},
        evaluation={"scenarios": []},
        checkpoint={"every": rounds},
        privacy={"noise_multiplier": 2.0, "delta": 1e-3, "noise_seed": 8, **privacy},
        **sections,
    )


class Counting(CohortGrid):
    """The cohort engine, which notes how many are asked: as a stack, message by message, or of devices all away."""

    def __init__(self, how: str) -> None:
        super().__init__(PEOPLE)
        self.asked: list[int] = []
        self._how = how

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Sequence[Message]:
        assert isinstance(messages, Instructions)
        self.asked.append(len(list(messages.nodes)))
        if self._how == "away":
            return []
        return super().send_and_receive(list(messages) if self._how == "alone" else messages, timeout=timeout)

    def add_up(self, content: Any, clients: list[int], terms: Any) -> Any:
        self.asked.append(len(clients))
        return super().add_up(content, clients, terms)


def asked(made: Config, path: Path, how: str = "stack") -> list[int]:
    grid = Counting(how)
    with suppress(NoResultError):  # where no device answers, and devices make the noise, θ stays where it is
        Run(made, grid, SourceDirectory(Sine(clients=PEOPLE)), path).start()
    return grid.asked


def fits_binomial(counts: Sequence[int], people: int, rate: float) -> float:
    """p of a χ² test over five classes that are about equally likely."""
    law = stats.binom(people, rate)
    edges = sorted({int(law.ppf(share)) for share in (0.2, 0.4, 0.6, 0.8)})
    share = np.diff([0.0, *law.cdf(edges), 1.0])
    seen = np.bincount(np.searchsorted(edges, counts), minlength=len(share))
    return float(stats.chisquare(seen, share * len(counts)).pvalue)


@pytest.mark.parametrize(
    ("strategy", "mechanism"), [*(("fedreptile", one) for one in MECHANISMS), ("fedavg", "central")]
)
def test_how_many_are_asked_is_binomial(strategy: str, mechanism: str, tmp_path: Path) -> None:
    """N = 100, q = 1/5, 120 rounds: 44 % of them ask more than 20 people; one seed."""
    counts = asked(config(ROUNDS, strategy, MECHANISMS[mechanism]), tmp_path / "run", "away")
    assert len(counts) == ROUNDS
    assert max(counts) > COHORT
    assert fits_binomial(counts, PEOPLE, COHORT / PEOPLE) > 1e-3


def test_message_by_message_the_same_people_are_asked(tmp_path: Path) -> None:
    made = config(8, "fedreptile", MECHANISMS["central"])
    alone, stacked, away = (asked(made, tmp_path / how, how) for how in ("alone", "stack", "away"))
    assert alone == stacked == away


def test_under_secure_aggregation_everybody_who_was_drawn_is_asked(tmp_path: Path) -> None:
    secure = {"on": True, "range": 64.0}
    bare = asked(config(8, "fedreptile", MECHANISMS["local"]), tmp_path / "bare", "away")
    summed = asked(config(8, "fedreptile", MECHANISMS["local"], secure_aggregation=secure), tmp_path / "secure")
    assert summed == bare
    assert max(bare) > COHORT


@pytest.mark.parametrize("more", [0.5, 1.0])
def test_over_selection_is_part_of_the_rate(more: float, tmp_path: Path) -> None:
    """Asking half as many again doubles nothing in silence: q, the denominator and ε are those of the larger cohort."""
    made = config(ROUNDS, "fedreptile", MECHANISMS["central"], faults={"over_selection": more})
    counts = asked(made, tmp_path / "run", "away")
    (plan,) = [event for event in RunFolder(tmp_path / "run").events() if event["kind"] == "privacy"]
    assert plan["rate"] == pytest.approx((1 + more) * COHORT / PEOPLE)
    assert fits_binomial(counts, PEOPLE, plan["rate"]) > 1e-3


def test_one_person_more_changes_nobody_elses_coins() -> None:
    """A hundred people and one more, with the same coins: the draws differ by the one person, or not at all."""
    made = config(1, "fedreptile", MECHANISMS["central"])
    rosters = [ClientSampler(SourceDirectory(Sine(clients=n)), made) for n in (PEOPLE, PEOPLE + 1)]
    joined = 0
    for round in range(1, 200):
        fewer, more = (set(sampler.persons(5, round, COHORT, "poisson", PEOPLE)) for sampler in rosters)
        assert more - fewer <= {PEOPLE}
        assert fewer <= more
        joined += more != fewer
    assert stats.binomtest(joined, 199, COHORT / PEOPLE).pvalue > 0.001


def test_secure_rounds_of_nobody_and_of_one_are_given_up_and_counted(tmp_path: Path) -> None:
    """Ten people, two expected: of 40 rounds (1 − q)^10 + 10 q (1 − q)^9 = 38 % have no person or one, for q = .2."""
    rounds = 40
    made = make(
        "reptile",
        "fedreptile",
        "sine",
        rounds,
        source={"clients": 10},
        split={"test": 0.0, "validation": 0.0},
        learner={"inner_steps": 1},
        strategy={"cohort": 2, "weighting": "uniform"},
        evaluation={"scenarios": []},
        checkpoint={"every": rounds},
        privacy={"noise_multiplier": 2.0, "delta": 1e-3, "noise_seed": 8, "mechanism": "local"},
        secure_aggregation={"on": True},
    )
    source = Sine(clients=10)
    Run(made, CohortGrid(10), SourceDirectory(source), tmp_path).start()
    sampler = ClientSampler(SourceDirectory(source), made)
    drawn = [len(sampler.persons(8, t, 2, "poisson", 10)) for t in range(1, rounds + 1)]
    folder = RunFolder(tmp_path)
    stepped = {event["round"]: event["step"] for event in folder.events() if event["kind"] == "round"}
    assert min(drawn) == 0
    assert 1 in drawn
    assert [stepped[t] for t in range(1, rounds + 1)] == [n > 1 for n in drawn]
    assert len((tmp_path / "privacy.jsonl").read_text().splitlines()) == rounds
