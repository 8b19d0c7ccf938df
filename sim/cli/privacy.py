"""``metapulse privacy``: what noise costs, what noise a budget needs, what a plan costs round by round."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from metapulse.strategies.privacy.plan import PrivacyPlan


def add_privacy_command(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command()(privacy)


def privacy(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.toml]", help="A configuration; without one, the options say all.")
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for 'run'.")] = None,
    people: Annotated[int | None, typer.Option(min=1, help="People who may be drawn.")] = None,
    cohort: Annotated[int | None, typer.Option(min=1, help="People in a round.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds.")] = None,
    noise: Annotated[float | None, typer.Option(help="Noise multiplier σ; give it or --epsilon, or both.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Budget ε.")] = None,
    delta: Annotated[float | None, typer.Option(help="δ of every ε.")] = None,
    sampling: Annotated[Literal["poisson", "fixed"] | None, typer.Option(help="How people are drawn.")] = None,
    accountant: Annotated[Literal["pld", "rdp"] | None, typer.Option(help="Whose ε counts.")] = None,
) -> None:
    """Tell what a plan costs, and how much noise its budget needs; nothing is run."""
    options: dict[str, Any] = {"noise_multiplier": noise, "epsilon": epsilon, "delta": delta}
    options |= {"sampling": sampling, "accountant": accountant}
    given = {key: value for key, value in options.items() if value is not None}
    plan = _of_options(people, cohort, rounds, given) if config is None else _of_file(config, sets or (), given)
    for line in describe_plan(plan):
        print(line)


def _of_options(people: int | None, cohort: int | None, rounds: int | None, given: dict[str, Any]) -> PrivacyPlan:
    from metapulse.settings import build
    from metapulse.strategies.privacy.plan import complete_plan
    from metapulse.strategies.privacy.settings import PrivacySettings

    if people is None or cohort is None or rounds is None:
        raise typer.BadParameter("without a configuration, --people, --cohort and --rounds are needed")
    settings = build(PrivacySettings, {"mechanism": "central", **given}, "privacy")
    return complete_plan(settings, cohort, people, rounds)


def _of_file(path: Path, sets: Any, given: dict[str, Any]) -> PrivacyPlan:
    from metapulse.client.executor import ClientExecutor
    from metapulse.errors import ConfigError
    from metapulse.server.client_sampler import ClientSampler
    from metapulse.server.config import build_config, load_config, merge
    from metapulse.server.privacy import make_plan
    from metapulse.sim.engines.cohort import SourceDirectory

    table, _ = load_config(path, sets)
    config = build_config(merge(table, {"privacy": given}))
    sampler = ClientSampler(SourceDirectory(ClientExecutor(config.client_config()).source), config)
    plan = make_plan(config, sampler)
    if plan is None:
        raise ConfigError(
            "privacy.mechanism", "none", "nothing to account for; choose one (--set privacy.mechanism=central)"
        )
    return plan


def _scale(plan: PrivacyPlan) -> list[str]:
    if (first := plan.first) is None:
        return []
    told = f"people's scale, once before them: {first.cohort} of {first.people} people"
    return [f"{told} ({first.sampling}), σ = {first.sigma:.6g}; every ε here includes it"]


def describe_plan(plan: PrivacyPlan) -> list[str]:
    """The plan in lines: what is claimed, what one round does, and ε after some of its rounds by both accountants."""
    from metapulse.strategies.privacy.accounting import analysis
    from metapulse.strategies.privacy.plan import shown

    s, release = plan.settings, plan.release
    deviation = plan.multiplier * s.clip / release.cohort
    marks = sorted({max(1, round(plan.rounds * share)) for share in (0.0, 0.01, 0.1, 0.25, 0.5, 1.0)})
    kinds: tuple[Literal["pld", "rdp"], ...] = ("pld", "rdp")
    costs = [(t, *(shown(plan.epsilon(t, one)) for one in kinds)) for t in marks]
    lines = [
        f"people N = {release.people}, in a round qN = {release.cohort} ({s.sampling}), q = {release.rate:.6g}",
        f"noise multiplier σ = {release.sigma:.6g}, clip C = {s.clip:g}: {deviation:.4g} on every number of the mean",
        f"relation: {release.relation}; δ = {s.delta:g}; accountant {s.accountant}, {plan.facts()['library']}",
        *_scale(plan),
        *(f"after {t} of {plan.rounds} rounds: ε = {pld} (pld), {rdp} (rdp)" for t, pld, rdp in costs),
        f"pld: {analysis(release, plan.rounds, 'pld')}",
        *(f"warning: {warning}" for warning in plan.warnings),
    ]
    if plan.allowed is not None:
        most = f"at least {plan.allowed}" if plan.allowed == 2 * plan.rounds else f"{plan.allowed}"
        lines.append(f"ε ≤ {s.epsilon:g} allows {most} rounds")
    return lines
