"""``metapulse conformance``: the checks that every registered learner passes, for one of your own."""

from __future__ import annotations

from typing import Annotated

import typer

from metapulse.sim.conformance.traits import TRAITS

KNOWN = "; ".join(f"{trait}: {meaning}" for trait, meaning in TRAITS.items())


def conformance(
    learner: Annotated[str, typer.Argument(metavar="LEARNER", help="package.module:Name, or a registered name.")],
    traits: Annotated[
        list[str] | None,
        typer.Option("--trait", metavar="TRAIT", help=f"What it is by design; again for more. {KNOWN}."),
    ] = None,
) -> None:
    """Check a learner against the contract; exits with 1 if it breaks it."""
    from metapulse.errors import ConfigError
    from metapulse.methods.base import Learner
    from metapulse.registry import LEARNERS
    from metapulse.sim.conformance.learners import LearnerUnderTest
    from metapulse.sim.conformance.suite import examine

    for trait in traits or ():
        if trait not in TRAITS:
            raise ConfigError("--trait", trait, f"must be one of {', '.join(TRAITS)}")
    kind = LEARNERS[learner]
    if not (isinstance(kind, type) and issubclass(kind, Learner)):
        raise ConfigError("learner", learner, "is not a subclass of metapulse.methods.base.Learner")
    verdicts = list(examine(LearnerUnderTest(learner, frozenset(traits or ()))))
    for verdict in verdicts:
        if verdict.problem:
            where = f" ({verdict.model})" if verdict.model else ""
            print(f"{'not for it' if verdict.refused else 'BROKEN'}: {verdict.check}{where}: {verdict.problem}")
    broken = sum(bool(v.problem) and not v.refused for v in verdicts)
    refused = sum(v.refused for v in verdicts)
    print(f"{learner}: {len(verdicts) - broken - refused} checks hold, {broken} broken, {refused} not for it")
    if broken:
        raise typer.Exit(1)
