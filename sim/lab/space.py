"""What of a method may be tuned: a range or choices for each of some settings, and settings drawn from them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from metapulse.errors import ConfigError, RunError
from metapulse.server.config import build_config, merge, resolved
from metapulse.settings import build, setting

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: Sections of a run that a method may choose; the others say what is asked of all methods alike.
TUNABLE = ("learner", "strategy", "episodes", "model", "transform", "evaluation.adapt")


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both included; whole numbers where both are."""

    low: int | float = setting(MISSING, "smallest value")
    high: int | float = setting(MISSING, "largest value")
    log: bool = setting(False, "drawn evenly on the logarithmic scale")
    step: int | float | None = setting(None, "distance of two values (none: every whole number, or all numbers)", gt=0)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError("high", self.high, f"must be > low = {self.low}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ConfigError("log", True, f"needs low > 0 and no step (low = {self.low}, step = {self.step})")
        if self.whole and isinstance(self.step, float):
            raise ConfigError("step", self.step, "must be a whole number, as low and high are")

    @property
    def whole(self) -> bool:
        """Whether it holds integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be allowed for all of them to be."""
        return self.low, self.high

    def distribution(self) -> BaseDistribution:
        """The same for optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def value(self, drawn: Any) -> Any:
        """A setting's value, from what optuna drew."""
        return drawn


@dataclass(frozen=True)
class Choices:
    """Any of some values."""

    choices: tuple[Any, ...] = setting(MISSING, "the values, two or more")

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise ConfigError("choices", list(self.choices), "expected two or more")

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values."""
        return self.choices

    def distribution(self) -> BaseDistribution:
        """Their places, for optuna, which takes no lists."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(range(len(self.choices)))

    def value(self, drawn: Any) -> Any:
        """The value at a place."""
        return self.choices[drawn]


#: What is tuned: "section.key" → values.
Space: TypeAlias = Mapping[str, Range | Choices]


def read_space(raw: Mapping[str, Any], table: Mapping[str, Any], where: str = "space") -> Space:
    """A method's search space, each key and each end of a range checked against the method's own configuration.

    Args:
        raw: "section.key" → {low, high, log, step} or {choices}.
        table: the method's raw configuration, as ``metapulse.server.config.build_config`` takes it.
        where: dotted name of the space, for error messages.

    Raises:
        ConfigError: a key that is none of the method's settings, or a value that one of them does not allow.
    """
    held = resolved(build_config(table))
    return {key: _read(key, values, table, held, f"{where}.{key}") for key, values in raw.items()}


def _read(key: str, raw: object, table: Mapping[str, Any], held: Mapping[str, Any], where: str) -> Range | Choices:
    """One key's values."""
    section, _, name = key.rpartition(".")
    if section not in TUNABLE or name == "name":
        raise ConfigError(where, key, f"must be a setting of {', '.join(TUNABLE)}")
    settings = held["learner" if section == "evaluation.adapt" else section]
    if name not in settings:
        raise ConfigError(where, key, f"no such setting (there are: {', '.join(sorted(settings))})")
    try:
        if isinstance(raw, Mapping) and "choices" in raw:
            values: Range | Choices = build(Choices, raw)
        else:
            values = build(Range, raw)
            if isinstance(settings[name], float):
                values = replace(values, low=float(values.low), high=float(values.high))
    except ConfigError as error:
        own = f"{where}.{error.key}" if error.key and error.key != key else where
        raise ConfigError(own, error.value, error.allowed) from None
    check_values(key, values, table, where)
    return values


def check_values(key: str, values: Range | Choices, table: Mapping[str, Any], where: str) -> None:
    """Refuse values that a method's setting does not allow: each end of a range and each choice is tried.

    Args:
        key: "section.key".
        values: to be tried.
        table: the method's raw configuration.
        where: dotted name of the setting's values, for error messages.

    Raises:
        ConfigError: one of them is not allowed.
    """
    for value in values.ends:
        try:
            build_config(merge(copy.deepcopy(dict(table)), nested_table({key: value})))
        except ConfigError as error:
            own = f"{where}.{error.key}" if error.key and error.key != key else where
            raise ConfigError(own, error.value, error.allowed) from None


def nested_table(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": v} as {"a": {"b": v}}: a change that ``metapulse.server.config.merge`` lays over a configuration."""
    change: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        merge(change, value)
    return change


def draw(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` points of a space, spread evenly over it: a scrambled Sobol sequence, choices at random.

    Args:
        count: ≥ 0.
        seed: of the sequence.

    Returns:
        "section.key" → value, each.

    Raises:
        RunError: optuna is not installed.

    Source: Bousquet et al. 2017, "Critical Hyper-Parameters: No Random, No Cry", arXiv:1706.03200.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise RunError("tuning needs optuna: install metapulse with the extra 'lab'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # said of QMCSampler since 3.0
        sampler = optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    distributions = {key: values.distribution() for key, values in space.items()}
    drawn = [study.ask(distributions).params for _ in range(count)]
    return [{key: space[key].value(v) for key, v in point.items()} for point in drawn]
