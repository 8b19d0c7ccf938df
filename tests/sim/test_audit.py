"""Attacks on real small runs: what is planted is noticed, what is sound is not, and each attack beats its control."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.errors import RunError
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.server.config import build_config, merge, resolved
from metapulse.server.files import read_json
from metapulse.sim.audit.audit import Audit, audit_lines, audit_run
from metapulse.sim.audit.audited_run import AuditedRun, read_audited_run
from metapulse.sim.audit.canaries import Canaries
from metapulse.sim.audit.canary_run import canary_audit
from metapulse.sim.audit.inversion import first_layer, invert, match
from metapulse.sim.audit.membership import auc, auc_interval, of_personal_models, of_theta
from metapulse.sim.audit.page import render, write_audit
from metapulse.sim.audit.probe import PROBES, probe_round
from metapulse.sim.cli import main
from metapulse.sim.experiment import run_experiment
from metapulse.trees import norm, pick, scale, stack
from tests.mistakes import attack, caught, private
from tests.noise import addressed
from tests.pages import Tags, drawn, in_browser, text_of
from tests.runs import make

pytestmark = pytest.mark.long

CANARIES = 500


def finished(folder: Path, **privacy: Any) -> AuditedRun:
    run_experiment(private(**privacy), folder)
    return read_audited_run(folder)


@pytest.fixture(scope="module", autouse=True)
def one_draw() -> Iterator[None]:
    """What an audit finds in a private run rests on its noise."""
    with addressed():
        yield


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> AuditedRun:
    return finished(tmp_path_factory.mktemp("private") / "run")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> AuditedRun:
    """A run without privacy, of people with windows of movement and a dense first layer."""
    folder = tmp_path_factory.mktemp("bare") / "run"
    made = make(
        *("reptile", "fedreptile", "wearables", 4),
        source={"users": 24, "executions": 4},
        model={"name": "mlp", "hidden": [16]},
        learner={"inner_steps": 1},
        strategy={"cohort": 6},
        split={"test": 0.5},
        evaluation={"shots": [5], "steps": [0, 20], "episodes": 1, "adapt": {"inner_lr": 0.1}},
    )
    run_experiment(made, folder)
    return read_audited_run(folder)


@pytest.mark.parametrize(
    ("bug", "by"),
    [
        ("none", []),
        ("clipping left out", ["canaries", "norm", "adding"]),
        ("clipping × 5", ["canaries", "norm", "adding"]),
        ("noise after the optimiser", ["noise", "adding"]),
        ("one client unclipped", ["norm", "adding"]),
        ("σ halved", ["noise", "adding"]),
        ("weights by example count", ["canaries", "norm", "adding"]),
    ],
)
def test_every_planted_mistake_is_noticed(subject: AuditedRun, bug: str, by: list[str]) -> None:
    assert caught(*attack(subject, bug, CANARIES, 0)) == by


@pytest.mark.parametrize(
    "privacy",
    [
        {"sampling": "fixed"},
        {"mechanism": "client", "sampling": "fixed"},
        {"mechanism": "local"},
        {"adaptive": True, "count_noise": 20.0},
    ],
    ids=lambda privacy: "-".join(map(str, privacy.values())),
)
def test_no_mechanism_is_refuted_without_a_mistake(subject: AuditedRun, privacy: dict[str, Any]) -> None:
    """The folder's θ serves all of them; what is audited is the mechanism of the configuration."""
    changed = build_config(merge(resolved(subject.config), {"run": {"rounds": 3}, "privacy": privacy}))
    other = replace(subject, config=changed)
    assert other.plan is not None
    measured = probe_round(other, other.plan, 3)
    assert measured.shares == pytest.approx([measured.clip] * PROBES, rel=1e-3)
    assert measured.noise == pytest.approx(measured.sigma, abs=5 * measured.error)
    assert not canary_audit(other, 100, 10, 3).refuted


def test_canaries_are_heard_by_their_coins_alone() -> None:
    """θ_0 − θ_T = Σ s_i ρ v_i: canaries that are in score about ρ, others about 0, by the law of large dimensions."""
    meta = {"w": torch.zeros(100, 100)}
    signs = np.array([1, 0, -1] * 10)
    canaries = Canaries(7, signs, 3.0, np.ones(30), 5)
    report = canaries.report(meta, range(30))
    assert torch.allclose(
        torch.stack([norm(pick(report.update, i)) for i in range(30)]), torch.tensor(3.0 * np.abs(signs))
    )
    scores = canaries.scores({"w": report.update["w"].sum(0)})
    assert np.abs(scores - 3.0 * signs).max() < 1.0  # cross-talk: N(0, 20 · 9 / 10 000), sd 0.13


def test_the_run_that_is_audited_is_only_read(subject: AuditedRun) -> None:
    before = {p: p.read_bytes() for p in subject.path.rglob("*") if p.is_file()}
    canary_audit(subject, 10, 5, 0)
    of_theta(subject, 10, 0)
    assert {p: p.read_bytes() for p in subject.path.rglob("*") if p.is_file()} == before


def test_without_privacy_canaries_tell_all(bare: AuditedRun) -> None:
    found = canary_audit(bare, 60, 12, 0)
    assert found.epsilon is None
    assert not found.refuted
    assert found.bound.epsilon > 1.0


def test_an_area_is_the_share_of_ordered_pairs() -> None:
    rng = generator(0, "areas")
    a, b = rng.integers(0, 5, 30) + 0.0, rng.integers(0, 4, 20) + 0.0
    pairs = np.sign(a[:, None] - b[None, :])
    assert auc(a, b) == pytest.approx((pairs.mean() + 1) / 2)
    assert auc(a, b) == pytest.approx(1 - auc(b, a))


def test_the_interval_covers() -> None:
    """Binormal scores with d' = 1: AUC = Φ(1/√2) = 0.7602; 95 % of intervals hold it."""
    rng = generator(1, "areas")
    hits = 0
    for _ in range(300):
        low, high = auc_interval(auc(rng.standard_normal(40) + 1.0, rng.standard_normal(60)), 40, 60)
        hits += low <= 0.7602 <= high
    assert hits >= 273  # fewer have probability 0.0013 at 95 %


def test_personal_models_give_their_samples_away_and_the_control_does_not(bare: AuditedRun) -> None:
    plain, relative = of_personal_models(bare, 12, 0)
    assert plain.low > 0.5
    assert relative.auc > 0.5
    for one in (plain, relative):
        assert one.control_low <= 0.5 <= one.control_high


def test_theta_that_knows_its_people_by_heart_gives_them_away(bare: AuditedRun) -> None:
    """θ descends on the very samples that members are judged by; held-out people it has not seen."""
    people = bare.people(0, 12)
    _, episode, _ = bare.work.training_episodes(1, people)
    wide = MLP(hidden=(64,), task=bare.work.task)
    pooled = episode.pooled
    whole = Batch(*(one.flatten(0, 1)[None] for one in (pooled.x, pooled.y, pooled.mask)))
    theta = stack(wide.init(generator(0, "init")), 1)
    for _ in range(150):
        theta = {name: theta[name] - 0.1 * g for name, g in wide.grad(theta, whole).items()}
    config = build_config(merge(resolved(bare.config), {"model": {"hidden": [64]}}))
    found = of_theta(replace(bare, config=config, theta=pick(theta, 0)), 12, 0)
    assert found is not None
    assert found.low > 0.5
    assert found.control_low <= 0.5 <= found.control_high


def test_one_sample_behind_a_dense_layer_is_there_to_be_read(bare: AuditedRun) -> None:
    single, *_ = invert(bare, 4, 0)
    assert (single.recovered, single.control_recovered) == (1.0, 0.0)
    assert single.error < 1e-6


def test_a_sum_hides_the_samples_behind_it(bare: AuditedRun) -> None:
    """Rows of the first layer are then means over more people's samples: no better than another person's."""
    single, alone, together = invert(bare, 4, 0)
    assert together.name == "the sum of 6 people's updates"  # half of those in training
    assert together.recovered <= alone.recovered
    assert together.recovered <= together.control_recovered + 0.05
    assert together.error > 1000 * single.error


def test_clipping_alone_hides_no_direction_but_noise_does(subject: AuditedRun) -> None:
    model = MLP(hidden=(8,), task=Task("classification", (6,), 3))
    x = torch.from_numpy(generator(0, "x").standard_normal((1, 1, 6)).astype(np.float32))
    batch = Batch(x, torch.tensor([[2]]), torch.ones(1, 1))
    update = pick(model.grad(stack(model.init(generator(0, "init")), 1), batch), 0)
    rows = first_layer(scale(update, 0.01), 6)
    assert rows is not None
    assert torch.allclose(rows, x[0].expand_as(rows), atol=1e-4)
    private = [one for one in invert(subject, 4, 0) if one.private]
    assert len(private) == 3
    assert private[0].recovered <= private[0].control_recovered + 0.25


@pytest.mark.parametrize("learner", ["local_only", "majority"])
def test_a_run_that_sends_nothing_leaves_nothing_to_invert(bare: AuditedRun, learner: str) -> None:
    table = merge(resolved(bare.config), {"learner": {"name": learner}})
    table["evaluation"]["adapt"] = {}
    config = build_config(table)
    found = invert(replace(bare, config=config), 4, 0)
    assert len(found) == 3
    for one in found:
        assert (one.error, one.recovered, one.control, one.control_recovered) == (None, 0.0, None, 0.0)
    assert found[0].nothing == "4 of 4 updates are 0 in every number"


def test_a_dense_layer_that_did_not_move_shows_nothing_by_itself() -> None:
    update = {"layer0.weight": torch.zeros(3, 6), "layer0.bias": torch.zeros(3), "layer1.bias": torch.ones(2)}
    assert first_layer(update, 6) is None


def test_a_network_of_which_some_rows_are_dead_is_inverted_where_it_moved(bare: AuditedRun) -> None:
    """θ of one unit that no input wakes: the bias of the first layer has a gradient of 0."""
    config = build_config(merge(resolved(bare.config), {"model": {"hidden": [1]}}))
    dead = replace(bare, config=config)
    theta = dead.work.init()
    first = next(name for name in theta if name.endswith("bias"))
    found = invert(replace(dead, theta=theta | {first: theta[first] - 1e6}), 4, 0)
    assert [one.nothing for one in found] == [""] * 3
    assert all(one.error is not None for one in found)


def test_a_search_finds_inputs_where_nothing_can_be_read_off() -> None:
    """Of a smooth model, the input whose gradient points the same way is the input."""
    model = MLP(hidden=(24,), activation="tanh", task=Task("classification", (6,), 3))
    rng = generator(0, "x")
    x = torch.from_numpy(rng.standard_normal((1, 1, 6)).astype(np.float32))
    start = stack(model.init(generator(0, "init")), 1)
    batch = Batch(x, torch.tensor([[1]]), torch.ones(1, 1))
    found = match(model, start, pick(model.grad(start, batch), 0), batch, rng)
    assert float((found - x[0]).square().sum() / x.square().sum()) < 0.05


@pytest.fixture(scope="module")
def audited(subject: AuditedRun) -> Audit:
    return audit_run(subject.path, 200, 20, 0)


def test_the_page_says_what_the_numbers_say(audited: Audit, tmp_path: Path) -> None:
    page = render(audited)
    text = text_of(page)
    assert not Tags(page).reaching
    assert [f"{b.epsilon:.4g}" in text and f"{b.ceiling:.4g}" in text for b in audited.canaries.bounds] == [True] * 4
    bars = drawn(page)["figure-0"]["data"]
    assert sorted(bars[1]["x"]) == sorted(b.epsilon for b in audited.canaries.bounds)
    assert "Nothing speaks against the claim" in text
    assert "refuted" not in text
    write_audit(audited, tmp_path / "audit.html")
    told = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert told["canaries"]["epsilon"] == audited.canaries.epsilon
    assert told["refuted"] == []
    assert any(line.startswith("canaries: ε ≥ ") and "claimed ≤" in line for line in audit_lines(audited))


def test_the_page_and_the_lines_say_what_left_nothing_to_invert(audited: Audit) -> None:
    nothing = replace(audited.inversion[0], error=None, control=None, nothing="4 of 4 updates are 0 in every number")
    made = replace(audited, inversion=[nothing])
    assert f"inversion, {nothing.name}: nothing to invert (4 of 4 updates are 0 in every number)" in audit_lines(made)
    assert "4 of 4 updates are 0 in every number" in text_of(render(made))


@pytest.mark.e2e
def test_a_browser_draws_the_page(audited: Audit, tmp_path: Path) -> None:
    write_audit(audited, tmp_path / "audit.html")
    assert in_browser(tmp_path / "audit.html", 1200, 900).count('class="main-svg"') >= 2


def test_the_command_writes_the_page_and_fails_where_the_claim_is_false(
    subject: AuditedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    arguments = ["audit", str(subject.path), "--canaries", "20", "--people", "8", "--out", str(page)]
    assert main(arguments) == 0
    stated = read_json(subject.path / "summary.json")["privacy"]["epsilon"]
    said = capsys.readouterr().out
    assert f"page: {page}, numbers: {page.with_suffix('.json')}" in said
    claims = re.findall(r"claimed ≤ ([\d.]+)", said)
    bound = f"{math.ceil(stated * 1e4 - 1e-6) / 1e4:.4f}"
    assert claims == [bound] * 2  # canaries, and adding a person: of 27 in the crowd, and of the run's own
    assert page.exists()
    assert json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))["spent"]["epsilon"] == stated
    assert main([*arguments[:-1], str(tmp_path / "page.json")]) == 2
    monkeypatch.setattr("metapulse.client.privacy.shrinkage", lambda norms, clip: torch.ones_like(norms))
    assert main(arguments) == 2
    assert re.search("claim of privacy is refuted: adding .*; assertion: 32 of 32 count", capsys.readouterr().err)
    assert '<span class="warn">refuted</span>' in page.read_text(encoding="utf-8")


def test_an_unfinished_run_is_refused(subject: AuditedRun, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((subject.path / "config.json").read_bytes())
    with pytest.raises(RunError, match="holds no finished run"):
        read_audited_run(tmp_path)
