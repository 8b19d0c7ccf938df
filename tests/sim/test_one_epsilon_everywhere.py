"""ε as a whole run says it, in every place, is one number: dp-accounting's own of what the ledger says was released.

Configurations are drawn: METAPULSE_PRIVATE_RUNS of them, else a few. Each is asked about (``metapulse privacy``) and
run; two of three are killed twice on the way and resumed, until they are done or their budget is. Their noise is not
secret here: much of it leaves a run without a result, and which runs rests on the draw.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import dp_accounting as dp
import numpy as np
import pytest

from metapulse.rng import generator
from metapulse.server.folder import RunFolder
from metapulse.server.privacy import LEDGER
from metapulse.sim.audit.audited_run import read_audited_run
from metapulse.sim.cli import main
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.population import ClientJob

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("addressed")]

RUNS = int(os.environ.get("METAPULSE_PRIVATE_RUNS", "12"))
RELEASED = ("mechanism", "sampling", "noise_multiplier", "cohort", "people")


class Dies(LocalPool):
    """This process, which ends in the middle of a round, once."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def train(self, job: ClientJob, meta: Any, round: int, *rest: Any) -> Any:
        if round == self._at:
            raise KeyboardInterrupt
        return super().train(job, meta, round, *rest)


def drawn(index: int) -> dict[str, dict[str, Any]]:
    """A valid configuration."""
    rng = generator(17, "configuration", client=index)
    mechanism = str(rng.choice(["central", "central", "client", "local"]))
    poisson = mechanism != "client" and bool(rng.random() < 0.6)
    people = int(10 ** rng.uniform(0.8, 2.6))
    cohort = int(np.clip(people * 10 ** rng.uniform(-1.3, 0), 2, min(people, 40)))
    more = float(rng.choice([0.0, 0.0, 0.5])) if cohort * 1.5 <= people else 0.0
    published = mechanism == "central" and poisson and rng.random() < 0.3
    adaptive = mechanism == "central" and rng.random() < 0.4
    costs = {"epsilon": float(10 ** rng.uniform(-0.5, 1.2))} if rng.random() < 0.35 else {}
    if not costs or rng.random() < 0.3:
        costs = {"noise_multiplier": float(10 ** rng.uniform(-0.2, 1.3))}
    privacy = {
        "mechanism": mechanism,
        "sampling": "poisson" if poisson else "fixed",
        "accountant": str(rng.choice(["pld", "rdp"])),
        "delta": float(10 ** rng.uniform(-8, -2.5)),
        "clip": float(10 ** rng.uniform(-1, 1)),
        **({"people": 2 * people} if published else {}),
        **({"adaptive": True, "count_noise": 50.0} if adaptive else {}),
        **({"noise_seed": index} if rng.random() < 0.15 else {}),
        **costs,
    }
    secure = mechanism != "central" and cohort >= 8 and rng.random() < 0.4
    return {
        "run": {"rounds": int(rng.integers(1, 5)), "seed": index},
        "source": {"name": "sine", "clients": people + 1},
        "transform": {"name": "none"},
        "model": {"name": "sine", "hidden": [4]},
        "episodes": {"split": "samples", "shots": 5},
        "split": {"test": 0.0, "validation": 0.0, "test_users": ["sine-0"]},
        "learner": {"name": "reptile", "inner_steps": 1},
        "strategy": {"name": str(rng.choice(["fedreptile", "fedavg"])), "cohort": cohort, "weighting": "uniform"},
        "evaluation": {"split": "samples", "scenarios": ["new_user"], "episodes": 1, "steps": [0], "shots": [2]},
        "faults": {"over_selection": more},
        "checkpoint": {"every": int(rng.integers(1, 4))},
        "privacy": privacy,
        "secure_aggregation": {"on": secure, "range": 50.0},
    }


def toml(table: dict[str, dict[str, Any]]) -> str:
    """Numbers, strings, booleans and lists are written in TOML as in JSON."""
    parts = [[f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in held.items())] for name, held in table.items()]
    return "\n".join("\n".join(part) for part in parts)


def direct(releases: Counter[tuple[Any, ...]], delta: float, accountant: str) -> float:
    """dp-accounting called without anything of ours, of rounds that have begun."""
    if not releases:
        return 0.0
    ((mechanism, sampling, sigma, cohort, people),) = releases
    rounds = releases.total()
    if sampling == "poisson" and mechanism != "local":
        event = dp.PoissonSampledDpEvent(cohort / people, dp.GaussianDpEvent(sigma))
        found = dp.pld.PLDAccountant() if accountant == "pld" else dp.rdp.RdpAccountant()
        return float(found.compose(event, rounds).get_epsilon(delta))
    if accountant == "pld":
        return float(dp.get_epsilon_gaussian(sigma / 2 / math.sqrt(rounds), delta))
    one = dp.GaussianDpEvent(sigma / 2)
    if mechanism != "local":
        one = dp.SampledWithoutReplacementDpEvent(people, cohort, one)
    found = dp.rdp.RdpAccountant(neighboring_relation=dp.NeighboringRelation.REPLACE_ONE)
    return float(found.compose(one, rounds).get_epsilon(delta))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def section(page: str) -> str:
    found = page[page.index("<h2>Privacy</h2>") :]
    return found[: found.index("</section>")]


@pytest.mark.parametrize("index", range(RUNS))
def test_one_number_everywhere(
    index: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, path, run = drawn(index), tmp_path / "plan.toml", tmp_path / "run"
    path.write_text(toml(table))
    privacy, rounds = table["privacy"], table["run"]["rounds"]
    code, planned = told(capsys, "privacy", str(path))
    assert code == 0, planned
    lost = index % 3 if index % 3 <= rounds else 0  # the round in which it is killed, twice
    begin, again = ("run", str(path), "--out", str(run)), ("resume", str(run))
    twice = False
    if lost:
        with monkeypatch.context() as patch:
            patch.setattr("metapulse.sim.experiment._pool", lambda engine: Dies(lost))
            assert told(capsys, *begin)[0] == 130
            code, terminal = told(capsys, *again)
            twice = code == 130  # or the budget has ended it before
    if twice or not lost:
        code, terminal = told(capsys, *(again if lost else begin))
    assert code == 0 or "absurd numbers" in terminal, terminal  # much noise leaves no result, and one ε

    lines = [json.loads(line) for line in (run / LEDGER).read_text().splitlines()]
    releases = Counter(tuple(line[key] for key in RELEASED) for line in lines)
    found = math.inf if "noise_seed" in privacy else direct(releases, privacy["delta"], privacy["accountant"])
    shown = "∞" if found == math.inf else f"{math.ceil(found * 1e4 - 1e-6) / 1e4:.4f}"
    folder, subject = RunFolder(run), read_audited_run(run)
    events = folder.events()
    (plan,) = [event for event in events if event["kind"] == "privacy"]
    state = json.loads((folder.checkpoints()[-1] / "state.json").read_text())
    spent = [event for event in events if event["kind"] == "privacy-spent"][-1]
    for place in (spent, state["privacy"], folder.summary()["privacy"], dict(subject.spent)):
        assert place["rounds"] == len(lines)
        assert float(place["epsilon"]) == pytest.approx(found, rel=1e-9, abs=1e-12)
    assert (subject.claimed is None) == (found == math.inf)
    assert subject.plan is not None
    assert subject.plan.epsilon(len(lines)) == pytest.approx(found, rel=1e-9, abs=1e-12)
    assert re.search(r"^privacy: ε = (∞|[\d.]+)", terminal, re.M)[1] == shown  # type: ignore[index]
    assert f">{shown}</td>" in section((run / "report.html").read_text(encoding="utf-8"))
    for key in ("noise_multiplier", "cohort", "people", "delta", "rate", "relation", "mechanism"):
        assert plan[key] == lines[-1][key]
    ended = [event for event in events if event["kind"] == "privacy-limit"]
    assert len(ended) == 1 if lost and not twice else len(ended) <= bool(lost)
    if not lost:
        last = re.search(rf"^after {rounds} of {rounds} rounds: ε = (\S+) \(pld\), (\S+) \(rdp\)", planned, re.M)
        assert last is not None
        assert last[{"pld": 1, "rdp": 2}[privacy["accountant"]]] == shown
    if limit := privacy.get("epsilon"):
        assert found == math.inf or found <= limit
