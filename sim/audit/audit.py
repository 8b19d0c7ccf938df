"""All attacks on one run, in order, and their summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metapulse.sim.audit.audited_run import read_audited_run
from metapulse.sim.audit.canary_run import CanaryAudit, canary_audit
from metapulse.sim.audit.inversion import Inversion, invert
from metapulse.sim.audit.membership import Membership, of_personal_models, of_theta
from metapulse.sim.audit.presence import Presence, presence
from metapulse.sim.audit.probe import Probe, probe_round
from metapulse.sim.audit.shadow import Shadows, shadow_audit
from metapulse.strategies.privacy.plan import shown

VICTIMS = 6  # people whose updates are inverted
DRAWS = 500  # rounds that are drawn again


@dataclass(frozen=True)
class Audit:
    """Results of all attacks on a run.

    Args:
        parameters: numbers in θ.
        mechanism: of its privacy.
        relation: which populations its claim is about; "" without one.
        spent: ε and δ that the run states, and rounds; {} without privacy.
        probe: direct assertions; None without privacy.
        presence: adding a person; None without privacy, and under local privacy.
        membership: attacks on θ and on personal models.
        inversion: attacks on updates.
        shadows: likelihood ratios of people; None where there are no shadow runs, or too few people.
    """

    name: str
    parameters: int
    mechanism: str
    relation: str
    spent: dict[str, Any]
    canaries: CanaryAudit
    probe: Probe | None
    presence: Presence | None
    membership: list[Membership]
    inversion: list[Inversion]
    shadows: Shadows | None = None

    @property
    def claimed(self) -> str:
        """ε that the run states, as it states it; "nothing" without privacy."""
        return shown(self.spent["epsilon"]) if self.spent else "nothing"

    @property
    def refuted(self) -> list[str]:
        """What of the claim cannot be true, and who says so; empty where nothing speaks against it."""
        found = []
        if self.canaries.refuted:
            found.append(f"canaries: ε ≥ {self.canaries.bound.epsilon:.4g}, claimed ≤ {self.claimed}")
        if self.presence is not None and self.presence.refuted:
            bound = f"ε ≥ {self.presence.epsilon:.4g} by worst-case data"
            found.append(f"adding a person: {bound}, claimed ≤ {self.claimed}")
        if self.presence is not None and self.presence.claimed is not None and self.presence.doubt:
            found.append(f"draws: {self.presence.doubt}")
        claimed, s = self.canaries.epsilon, self.shadows
        if s is not None and claimed is not None and s.bound.epsilon > max(claimed, self.canaries.again):
            found.append(f"shadow runs: ε ≥ {s.bound.epsilon:.4g}, claimed ≤ {self.claimed}")
        if self.probe is not None and self.probe.unclipped:
            most, count = max(self.probe.shares), len(self.probe.unclipped)
            found.append(f"assertion: {count} of {len(self.probe.shares)} count more than C, up to {most:.4g}")
        if self.probe is not None and self.probe.quiet:
            found.append(f"assertion: noise {self.probe.noise:.4g} C where {self.probe.sigma:.4g} C is claimed")
        return found


def audit_run(path: Path, canaries: int, people: int, seed: int, draws: int = DRAWS, shadows: int = 0) -> Audit:
    """Attack the finished run in a folder, and change nothing in it.

    Args:
        canaries: how many, ≥ 2.
        people: at most so many train beside the canaries, and are on either side of membership inference.
        seed: of all that the attacks draw.
        draws: rounds that are drawn again, ≥ 2.
        shadows: runs that are trained for likelihood ratios, beside one that is attacked; 0: none.

    Raises:
        RunError: the folder holds no finished run.
    """
    subject = read_audited_run(path)
    plan = subject.plan
    people_attack = of_theta(subject, people, seed)
    measured = None if plan is None else probe_round(subject, plan, seed)
    return Audit(
        subject.config.run.name,
        sum(p.numel() for p in subject.theta.values()),
        subject.config.privacy.mechanism,
        "" if plan is None else plan.release.relation,
        dict(subject.spent),
        canary_audit(subject, canaries, people, seed),
        measured,
        None if plan is None or measured is None else presence(subject, plan, measured, draws, seed),
        [*([people_attack] if people_attack else []), *of_personal_models(subject, people, seed)],
        invert(subject, VICTIMS, seed),
        shadow_audit(subject, shadows, people, seed) if shadows else None,
    )


def audit_lines(audit: Audit) -> list[str]:
    """What was found, a line each."""
    bound = audit.canaries.bound
    upper = f"claimed ≤ {audit.claimed} at δ = {audit.canaries.delta:g}" if audit.spent else "nothing claimed"
    found = [
        f"canaries: ε ≥ {bound.epsilon:.4g} (95 %), {upper}; {bound.correct} of {bound.guesses} guesses correct,"
        f" no more than {bound.ceiling:.4g} can be shown with so many"
    ]
    if audit.probe is not None:
        p = audit.probe
        found.append(f"assertions: no update may count more than C = {p.clip:g}, most counts {max(p.shares):.6g}")
        found.append(f"assertions: noise {p.noise:.4g} ± {p.error:.2g} C, claimed {p.sigma:.4g} C")
    if audit.presence is not None:
        a = audit.presence
        found.append(
            f"adding a person: ε ≥ {a.epsilon:.4g} by worst-case data, {upper};"
            f" {a.drawn:.4g} of {a.people} people drawn in a round, fewer counted in {a.fewer} of {a.replays}"
        )
    for m in audit.membership:
        between = f"[{m.low:.3f}, {m.high:.3f}]"
        found.append(f"membership, {m.name}: AUC {m.auc:.3f} {between}, control {m.control:.3f}")
    if audit.shadows is not None:
        r = audit.shadows
        found.append(
            f"shadow runs: AUC {r.auc:.3f} [{r.low:.3f}, {r.high:.3f}], control {r.control:.3f}; {r.hits:.0%} of"
            f" members found at 5 % false alarms; ε ≥ {r.bound.epsilon:.4g} (95 %), no more than"
            f" {r.bound.ceiling:.4g} can be shown with {r.people} people"
        )
    for i in audit.inversion:
        kind = ", clipped and noised" if i.private else ""
        shares = f"{i.recovered:.0%} of samples recovered, control {i.control_recovered:.0%}"
        told = shares if i.error is not None else "nothing to invert"
        found.append(f"inversion, {i.name}{kind}: {told}" + (f" ({i.nothing})" if i.nothing else ""))
    return [*found, *(f"REFUTED by {one}" for one in audit.refuted)]
