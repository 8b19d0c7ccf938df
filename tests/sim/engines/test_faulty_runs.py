"""Whole runs with attackers and faults: what is lost is named, chunks and actors change nothing, and off is off."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import to_json
from metapulse.errors import ConfigError
from metapulse.methods.base import Report
from metapulse.outcome import Outcome
from metapulse.registry import ATTACKS
from metapulse.rng import uniforms
from metapulse.server.config import Config, build_config, resolved
from metapulse.server.folder import RunFolder
from metapulse.server.simulated import FaultSettings
from metapulse.sim import experiment
from metapulse.sim.population import ClientJob, FaultyClients, Population, without_reports
from metapulse.sim.report.runs import tables
from metapulse.sim.report.runs.run_data import read_runs
from metapulse.strategies.replies import SECOND
from metapulse.trees import Params
from tests.runs import Result, make, read

ALL: dict[str, Any] = {
    "hours_per_round": 2.0,
    "outage": 0.1,
    "deadline_s": 0.3,
    "partial": 0.5,
    "duplicate": 0.2,
    "over_selection": 0.5,
}


def curves(learner: str = "fomaml", strategy: str = "fedavg", rounds: int = 2, **sections: Any) -> Config:
    """Thirty people with a curve each, all in training, twelve in a round."""
    common = {"source": {"clients": 30}, "split": {"test": 0.0}, "evaluation": {"scenarios": ["known_user"]}}
    return make(learner, strategy, "sine", rounds, **common, **{"strategy": {"cohort": 12}, **sections})


def people(learner: str = "fedavg_ft", strategy: str = "fedavg", rounds: int = 2, **sections: Any) -> Config:
    """Six people with a watch, two of whom are held out."""
    return make(learner, strategy, "wearables", rounds, **sections)


def run(config: Config, path: Path) -> Result:
    return read(path, experiment.run_experiment(config, path))


def work(config: Config) -> ClientExecutor:
    """Of an engine's clients."""
    return ClientJob(to_json(config.client_config()), Population.of(config)).work


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in RunFolder(path).events() if event["kind"] == kind]


def test_without_trouble_the_work_is_the_ordinary_one(tmp_path) -> None:
    """An attack without attackers, and faults that never occur, change no bit; without them their code is not used."""
    assert type(work(curves())) is ClientExecutor
    harmless = curves(attack={"name": "sign_flip", "fraction": 0.0}, faults={"deadline_s": 1e9})
    assert type(work(harmless)) is FaultyClients
    assert run(curves(), tmp_path / "plain").thetas[2].keys()
    plain, calm = read(tmp_path / "plain", {}), run(harmless, tmp_path / "calm")
    for ours, theirs in zip(plain.thetas, calm.thetas, strict=True):
        assert all(torch.allclose(ours[n], theirs[n], rtol=1e-6, atol=1e-7) for n in ours)  # sums by another way


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("none", "backdoor", "replacement")])
def test_an_attack_does_not_depend_on_chunks_or_on_who_asks(name: str, tmp_path) -> None:
    attack = {"name": name, "fraction": 0.4}
    whole, parts, plain = (
        run(curves(rounds=1, attack=a, engine={"chunk": chunk}), tmp_path / f"{chunk}-{a['name']}")
        for a, chunk in ((attack, 0), (attack, 5), ({"name": "none"}, 0))
    )
    for ours, theirs in zip(whole.thetas, parts.thetas, strict=True):
        assert all(torch.allclose(ours[n], theirs[n], rtol=1e-4, atol=1e-6) for n in ours)
    assert whole.digests[1] != plain.digests[1]
    bad = {c for c in range(30) if uniforms(5, "attack", 0, [c], 1)[0, 0] < 0.4}
    dropped = {e["client"] for e in events(tmp_path / f"0-{name}", "dropped")}
    assert dropped <= bad
    assert bool(dropped) == (name == "nan")


@pytest.mark.parametrize(("name", "setting", "factor"), [("ipm", {"epsilon": 3.0}, -3.0), ("alie", {"z": 1e-9}, 1.0)])
def test_colluders_report_what_they_make_of_all_the_honest(name: str, setting: dict, factor: float, tmp_path) -> None:
    """(h μ + f c μ) / (h + f) for a report of c μ, μ being the mean of the h honest, whatever the chunks."""
    config = curves(rounds=1, attack={"name": name, "fraction": 0.4, **setting}, engine={"chunk": 5})
    plain = curves(rounds=1, attack={"name": "nan", "fraction": 0.4})  # the same people, and these are dropped
    attacked, honest = run(config, tmp_path / "attacked"), run(plain, tmp_path / "honest")
    f = len(events(tmp_path / "honest", "dropped"))
    assert 0 < f < 12
    expected = (12 - f + f * factor) / 12
    for key, start in honest.thetas[0].items():
        step, mean = attacked.thetas[1][key] - start, honest.thetas[1][key] - start
        assert torch.allclose(step, expected * mean, rtol=1e-3, atol=1e-6)


def test_no_round_survives_without_anybody_honest(tmp_path) -> None:
    """Colluders without honest clients to learn from are honest."""
    attack = {"name": "ipm", "fraction": 1.0}
    alone, plain = run(curves(attack=attack), tmp_path / "a"), run(curves(), tmp_path / "b")
    assert all(torch.allclose(alone.thetas[2][n], plain.thetas[2][n], rtol=1e-5, atol=1e-6) for n in plain.thetas[2])


def test_a_stock_strategy_is_attacked_as_well(tmp_path) -> None:
    attacked = run(curves(strategy="stock-median", attack={"name": "ipm", "fraction": 0.4}), tmp_path / "a")
    assert attacked.digests[1] != run(curves(strategy="stock-median"), tmp_path / "b").digests[1]


def test_the_meta_test_says_whether_the_backdoor_is_there(tmp_path) -> None:
    """Always-attacked against never-begun, in the same world; the success of the trigger is a share of samples."""
    backdoor = {"name": "replacement", "fraction": 0.6, "share": 1.0, "boost": 4.0, "width": 32}
    success = {}
    for first in (1, 1000):
        result = run(
            people(rounds=6, attack={**backdoor, "first": first}, evaluation={"steps": [0], "shots": [4]}),
            tmp_path / str(first),
        )
        rows = [row["value"] for row in result.rows if row["metric"] == "attack_success_rate"]
        assert rows
        assert all(0.0 <= value <= 1.0 for value in rows)
        success[first] = sum(rows) / len(rows)
    assert success[1] > success[1000] + 0.3


def test_a_backdoor_for_curves_is_refused_before_the_run_begins(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"attack\.target"):
        experiment.run_experiment(curves(attack={"name": "backdoor"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_colluders_are_refused_where_nobody_holds_all_updates(tmp_path) -> None:
    for name in ("alie", "ipm"):
        with pytest.raises(ConfigError, match=r"attack\.name = .*cohort engine"):
            experiment.run_experiment(curves(attack={"name": name}, engine={"name": "flower"}), tmp_path / "run")


def test_every_lost_reply_is_named_and_the_rest_counts(tmp_path) -> None:
    """asked = counted + lost, round by round; duplicates are refused and lose nothing."""
    config = curves(rounds=6, faults=ALL | {"samples_per_s": 15.0})  # known people: half of the samples are in rounds
    result = run(config, tmp_path / "run")
    dropped = events(tmp_path / "run", "dropped")
    for done in events(tmp_path / "run", "round"):
        assert done["asked"] == 18  # twelve, and half as many more
        mine = [e for e in dropped if e["round"] == done["round"]]
        lost = [e["client"] for e in mine if e["reason"] != SECOND]
        again = [e["client"] for e in mine if e["reason"] == SECOND]
        assert len(set(lost)) == len(lost)
        assert done["clients"] == 18 - len(lost)
        assert not set(lost) & set(again)
        assert done["dropped"] == len(mine)
    kinds = ("not on its charger", "no Wi-Fi", "dropped out", "late", SECOND)
    assert all(any(kind in e["reason"] for e in dropped) for kind in kinds)
    assert result.summary["dropped"] == len(dropped)
    causes = tables.dropped_replies(read_runs([tmp_path / "run"]))
    for kind in kinds:
        several = sum(kind in e["reason"] for e in dropped)
        assert re.search(rf'<td class="number">{several}</td>(?:(?!<tr>).)*{kind}', causes)


def test_faults_are_the_same_in_chunks_and_after_a_stop(tmp_path) -> None:
    config = curves(rounds=4, faults=ALL)
    whole = run(config, tmp_path / "whole")
    parts = run(curves(rounds=4, faults=ALL, engine={"chunk": 4}), tmp_path / "parts")
    told = [(e["round"], e["client"], e["reason"]) for e in events(tmp_path / "whole", "dropped")]
    assert told
    assert told == [(e["round"], e["client"], e["reason"]) for e in events(tmp_path / "parts", "dropped")]
    assert all(torch.allclose(whole.thetas[4][n], parts.thetas[4][n], rtol=1e-4, atol=1e-6) for n in whole.thetas[4])
    resumed = tmp_path / "whole"
    (resumed / "summary.json").unlink()
    for late in ("000003", "000004"):
        _remove(resumed / "checkpoints" / late)
    again = read(resumed, experiment.resume_experiment(resumed))
    assert again.digests == whole.digests
    assert [(e["round"], e["client"], e["reason"]) for e in events(resumed, "dropped")] == told


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()


def test_a_device_whose_reply_is_late_keeps_what_it_learnt() -> None:
    config = people("fedper", faults={"deadline_s": 1e-6})
    late = work(config)
    outcome = late.train(late.init(), 1, [0, 1])
    assert outcome.report is None
    assert [outcome.failures[c].split(": ", 1)[1][:4] for c in (0, 1)] == ["late", "late"]
    assert outcome.keepers == [0, 1]
    assert outcome.state


def test_an_outcome_without_some() -> None:
    def grown(n: int) -> Params:
        return {"w": torch.arange(float(n))}

    report = Report(grown(3), torch.ones(3), {}, {"loss": torch.tensor([1.0, 2.0, 3.0])})
    left = without_reports(Outcome([4, 5, 9], report, {}), {5: "late"})
    assert left.clients == [4, 9]
    assert left.report.update["w"].tolist() == [0.0, 2.0]
    assert left.report.metrics["loss"].tolist() == [1.0, 3.0]
    assert without_reports(Outcome([4], report, {}), {4: "late"}).report is None


def test_partial_work_weighs_what_it_is() -> None:
    """The weight of a reply is the number of samples it rests on, and that is what was used."""
    full = work(people("fedavg"))
    half = work(people("fedavg", faults={"partial": 1.0, "partial_least": 0.4}))
    theta, clients = full.init(), [0, 1, 2, 3]
    all_of_it, some = full.train(theta, 1, clients).report.weight, half.train(theta, 1, clients).report.weight
    assert (some < all_of_it).any()
    assert (some >= (0.4 * all_of_it).floor()).all()


def test_the_sections_survive_the_resolved_configuration() -> None:
    config = people(attack={"name": "backdoor", "target": 2}, faults=ALL)
    again = build_config(json.loads(json.dumps(resolved(config))))
    assert again.digest() == config.digest()
    assert again.faults == FaultSettings(**ALL)
    with pytest.raises(ConfigError, match=r"attack\.name"):
        people(attack={"name": "magic"})
    with pytest.raises(ConfigError, match=r"attack\.fraction"):
        people(attack={"name": "nan", "fraction": 1.5})
    with pytest.raises(ConfigError, match=r"faults\.outage"):
        people(faults={"outage": 1.0})
