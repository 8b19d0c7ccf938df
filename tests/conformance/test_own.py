"""``metapulse conformance`` on learners of one's own: one that keeps the contract, and each law broken in one way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.base import Report, SumSpec
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.reptile import Reptile
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.sim.cli import main
from metapulse.sim.conformance import learners, stacks
from metapulse.sim.conformance.learners import LearnerUnderTest
from metapulse.sim.conformance.suite import CHECKS, Check, run_check
from metapulse.trees import Params, Stacked, has_clients, scale, weighted_sum


class Ascends(Reptile):
    """Reports φ_K − θ."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        report = super().update(model, meta, state, episode, keys)
        return replace(report, update=scale(report.update, -1.0))


class Draws(Reptile):
    """Draws without an address."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        report = super().update(model, meta, state, episode, keys)
        noisy = {name: p + 0.01 * p.abs().mean() * torch.randn_like(p) for name, p in report.update.items()}
        return replace(report, update=noisy)


class Writes(Reptile):
    """Changes θ in place."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        next(iter(meta.values())).mul_(1.001)
        return super().update(model, meta, state, episode, keys)


class Deaf(FOMAML):
    """Begins at θ, wherever it is told to begin."""

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        return super().adaptation_trajectory(model, meta, state, support, keys)


class Looks(FOMAML):
    """Takes padding for samples."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        everything = Batch(episode.query.x, episode.query.y, torch.ones_like(episode.query.mask))
        return super().update(model, meta, state, Episode(episode.support, everything), keys)


class Mingles(Reptile):
    """Every client reports the mean over the stack."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        report = super().update(model, meta, state, episode, keys)
        return replace(report, update={n: p.mean(0, keepdim=True).expand_as(p) for n, p in report.update.items()})


class Hoards(Reptile):
    """Keeps a state that is not read."""

    def initial_state(self, model: Model, meta: Params) -> Params:
        return {"rounds": torch.zeros(())}

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        before = state["rounds"] if state else torch.zeros(len(keys.clients))
        return replace(super().update(model, meta, {}, episode, keys), state={"rounds": before + 1.0})


class FirstAlone(Reptile):
    """Lets all clients of a stack begin at the first one's θ, whatever run they are of."""

    many_runs: ClassVar[bool] = True

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        first = {name: p[0] for name, p in meta.items()} if has_clients(meta) else meta
        return super().update(model, first, state, episode, keys)


class Silent(Reptile):
    """Reports no loss."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        return replace(super().update(model, meta, state, episode, keys), metrics={})


class Overshoots(Reptile):
    """Adapts with a rate that is too large by far."""

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        return replace(Reptile(), inner_lr=50.0).adaptation_trajectory(model, meta, state, support, keys, start)


class Idle(Reptile):
    """Takes a step where it was told to take none."""

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        more = Reptile(**{**vars(self), "inner_steps": max(self.inner_steps, 1)})
        return more.update(model, meta, state, episode, keys)


class Ahead(FOMAML):
    """``adapt`` is a step ahead of the path."""

    def adapt(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, steps: int | None = None
    ) -> Stacked:
        return next(islice(self.adaptation_trajectory(model, meta, state, support, keys), 1 + (steps or 0), None))


@dataclass(frozen=True)
class Undocumented(Reptile):
    """Has a setting that is not checked."""

    width: int = field(default=3)


class Absent(Reptile):
    """Moves, because of the sum over clients, who has no support."""

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        for phi in super().adaptation_trajectory(model, meta, state, support, keys, start):
            yield {name: p + 1e-3 * (p.mean(0) - p) for name, p in phi.items()}


class Refuses(Reptile):
    """Is for some models only, and does not say so."""

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        if len(model.task.features) > 1:
            raise ConfigError("model.name", type(model).__name__, "must be a model of flat features")
        return super().adaptation_trajectory(model, meta, state, support, keys, start)


class Drifts(Reptile):
    """Its start does not depend on the generator it is given."""

    def init(self, model: Model, rng: object) -> dict[str, torch.Tensor]:
        return {name: torch.rand(p.shape) for name, p in super().init(model, rng).items()}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Remembers(Reptile):
    """Its first round is told from one with the initial state."""

    def initial_state(self, model: Model, meta: Params) -> Params:
        return {"boost": torch.zeros(())}

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        report = super().update(model, meta, {}, episode, keys)
        factor = 1.5 if state else 1.0
        kept = {"boost": torch.ones(len(keys.clients))}
        return replace(report, update=scale(report.update, factor), state=kept)


@dataclass(frozen=True)
class Miscounts(Reptile):
    """Its sum counts all clients alike, whatever it is asked for."""

    def update_sum(
        self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys, sum_spec: SumSpec
    ) -> tuple[Report, Params]:
        report = self.update(model, meta, state, episode, keys)
        return replace(report, update={}), weighted_sum(report.update, torch.ones(len(keys.clients)))


class Boasts(Reptile):
    """Tells a mean that is not its answer."""

    def predictive(self, model: Model, phi: Stacked, x: Tensor) -> tuple[Tensor, Tensor]:
        answers = self.predict(model, phi, x)
        return answers + 1.0, torch.ones_like(answers)


#: Learner → the check that must find it.
BROKEN = {
    Ascends: learners.update_descends,
    Draws: learners.same_inputs_same_bits,
    Writes: learners.update_has_the_shape_of_theta,
    Deaf: learners.path_begins_where_it_is_told,
    Looks: stacks.neither_padding_nor_company_changes_a_client,
    Mingles: stacks.neither_padding_nor_company_changes_a_client,
    Hoards: stacks.what_a_device_keeps_matters,
    FirstAlone: stacks.runs_side_by_side_are_runs_alone,
    Silent: learners.update_has_the_shape_of_theta,
    Overshoots: learners.small_steps_descend_the_support_loss,
    Idle: learners.no_steps_learn_nothing_locally,
    Ahead: learners.adapt_reads_the_path,
    Undocumented: learners.settings_and_paper_are_documented,
    Absent: learners.clients_without_support_do_not_move,
    Refuses: learners.same_inputs_same_bits,
    Drifts: learners.theta_has_an_address,
    Remembers: stacks.a_device_keeps_all_that_it_remembers,
    Miscounts: stacks.a_sum_is_that_of_the_updates,
    Boasts: learners.variances_go_with_the_answers,
}


@pytest.mark.parametrize(("learner", "check"), BROKEN.items(), ids=lambda x: x.__name__)
def test_a_broken_law_is_found(learner: type, check: Check) -> None:
    def broken(model: str) -> bool:
        try:
            run_check(check, LearnerUnderTest(f"{__name__}:{learner.__name__}"), model)
        except AssertionError:
            return True
        return False

    assert any(broken(model) for model in CHECKS[check] or ("",))


def test_every_check_finds_something() -> None:
    assert set(BROKEN.values()) == set(CHECKS)


def test_a_broken_law_is_named_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", f"{__name__}:Ascends"]) == 1
    *said, last = capsys.readouterr().out.splitlines()
    (first,) = [line for line in said if not line.startswith("not for it: ")]
    assert first == "BROKEN: update descends: AssertionError: a small step along −update lowers the loss"
    assert re.fullmatch(r".*:Ascends: \d+ checks hold, 1 broken, \d+ not for it", last)


def test_one_that_keeps_it_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "reptile"]) == 0
    *excused, last = capsys.readouterr().out.splitlines()
    why = {line.rsplit(": ", 1)[1] for line in excused}
    assert why - {"it offers no sum"} == {
        "its devices keep nothing",
        "it tells no variance",
    }  # without compiled code, updates are not summed
    assert re.fullmatch(rf"reptile: \d+ checks hold, 0 broken, {len(excused)} not for it", last)


def test_what_it_says_of_itself_excuses_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", f"{__name__}:Refuses", "--trait", "particular"]) == 0
    assert re.search(r", 0 broken, [1-9]\d* not for it\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["metapulse.trees:Flat"], "is not a subclass of metapulse.methods.base.Learner"),
        (["no.such.module:Name"], "cannot be imported"),
        (["reptil"], "must be one of"),
        (["reptile", "--trait", "lazy"], "--trait = 'lazy': must be one of at_once, untrained"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
