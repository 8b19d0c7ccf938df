"""The ``[evaluation]`` section: what the meta-test asks, of whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from metapulse.client.spec import Asked
from metapulse.episodes import Split
from metapulse.errors import ConfigError
from metapulse.metrics.chosen import check_chosen
from metapulse.settings import setting

Scenario: TypeAlias = Literal["known_user", "new_user", "new_device", "new_device_history"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


def once(key: str, named: Sequence[str]) -> None:
    """Refuse a list that names one entry twice.

    Raises:
        ConfigError: it does.
    """
    if twice := sorted({name for name in named if list(named).count(name) > 1}):
        raise ConfigError(key, list(named), f"each may be named once; named twice: {', '.join(twice)}")


@dataclass(frozen=True)
class EvaluationSettings(Asked):
    """The meta-test: who is asked, with how many shots, and judged after how many steps."""

    every: int = setting(0, "rounds between meta-tests (0: at the end only)", ge=0)
    validation_every: int = setting(
        0,
        "rounds between looks at meta-validation people (0: none); the last round looks too, and test people are then"
        " judged at the last round and at the best one that these looks found",
        ge=0,
    )
    phase: Literal["validation", "test"] = setting("test", "which held-out people are asked")
    scenarios: tuple[Scenario, ...] = setting(
        ("new_user",),
        "known_user: people of the training on samples of theirs that are in no round (the publisher's test part where"
        " episodes.split is held_out, else half of what they have, cut as evaluation.split says; no device trains"
        " on what another of the person keeps at the same moment); new_user: held-out people; new_device: held-out"
        " people on a device model of evaluation.devices; new_device_history: the same after adapting on their old"
        " devices",
    )
    devices: tuple[str, ...] = setting((), "device models of new_device (empty: those not in split.train_devices)")
    validation_devices: tuple[str, ...] = setting(
        (), "device models on which validation people answer new_device (empty: split.train_devices)"
    )
    clients: int = setting(100, "held-out clients per scenario at most", ge=1)
    shots: tuple[int, ...] = setting((5,), "support samples per class, or in all for regression (0: all)", ge=0)
    query: int = setting(0, "query samples per episode (0: all)", ge=0)
    split: Split = setting("groups", "what keeps support and query apart, as in [episodes]")
    main_metric: str = setting(
        "",
        "the metric that decides on the best round and in tuning, and that reports and comparisons are about; one of"
        " evaluation.metrics (empty: balanced_accuracy, or mse)",
    )

    def __post_init__(self) -> None:
        for key in ("scenarios", "shots", "steps"):
            named = list(getattr(self, key))
            if len(set(named)) < len(named):
                raise ConfigError(f"evaluation.{key}", named, "each may be named once: people would count twice")
            if not named and key != "scenarios":
                raise ConfigError(f"evaluation.{key}", named, "must name one at least")
        for key in ("devices", "validation_devices", "metrics"):
            once(f"evaluation.{key}", getattr(self, key))
        check_chosen(self.metrics)
        if self.main_metric and self.main_metric not in self.metrics:
            there = f"must be one of evaluation.metrics: {', '.join(self.metrics) or 'it names none'}"
            raise ConfigError("evaluation.main_metric", self.main_metric, there)
        if self.validation_every and not self.held_out:
            raise ConfigError(
                "evaluation.validation_every", self.validation_every, "needs a scenario with held-out people"
            )

    @property
    def held_out(self) -> tuple[Scenario, ...]:
        """Scenarios whose people are not in meta-training; known people have no samples that are for choosing only."""
        return tuple(scenario for scenario in self.scenarios if scenario != "known_user")
