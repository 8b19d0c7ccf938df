"""Seeds crossed with people: how far a mean over both can be trusted.

Every person is judged after every training run, so a number is μ + person + seed + rest, and a seed's luck is common to
all people. Taking people for independent then calls luck a difference; taking seeds for everything forgets that other
people would have been judged otherwise. A mean therefore gets three standard errors, and must stand up to each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import nctdtrinc, stdtr, stdtrit

Values = Float64[np.ndarray, "seeds people"]


class StandardError(NamedTuple):
    """A standard error and its degrees of freedom."""

    se: float
    df: float


def errors(values: Values, pilot: int = 0) -> list[StandardError]:
    """Standard errors of the mean over people, over seeds, and over both at once.

    se² = MS_people / SU, MS_seeds / SU, and their sum; the sum has Satterthwaite's degrees of freedom
    (MS_people + MS_seeds)² / (MS_people² / (U − 1) + MS_seeds² / (S − 1)). It counts the variance of the rest
    twice where once would do, which errs on the safe side.

    Where the first P seeds decided how many there are, by how much they vary, MS_seeds is of what they have not shown:

        MS_seeds = (sum of squares of S seeds − that of the first P) / (S − P)

    with S − P degrees of freedom. For normal values it is independent of the decision and of the mean, as a plain
    MS_seeds is not: one stops where it came out small.

    Args:
        values: one number per seed and person, those of the pilot first.
        pilot: P, seeds whose variation decided on S; 0: S was settled before.

    Returns:
        Those that can be had: of one seed there is no error over seeds, of one person none over people, and none over
        seeds of a pilot alone.

    Source: Clark 1973, "The language-as-fixed-effect fallacy", min F′; Satterthwaite 1946 for the degrees of freedom;
        Stein 1945, "A two-sample test for a linear hypothesis whose power is independent of the variance", for pilots.
    """
    seeds, people = values.shape
    found = []
    if people > 1:
        found.append(StandardError(float(values.mean(0).std(ddof=1)) / people**0.5, people - 1))
    if (df := seeds - max(pilot, 1)) > 0:
        by_seed = values.mean(1)
        shown = _squares(by_seed[:pilot]) if pilot else 0.0
        found.append(StandardError((max(_squares(by_seed) - shown, 0.0) / df / seeds) ** 0.5, df))
    if len(found) == 2:
        variance = sum(se**2 for se, _ in found)
        spread = sum(se**4 / df for se, df in found)
        found.append(StandardError(variance**0.5, variance**2 / spread if spread else 1.0))
    return found


def _squares(values: Float64[np.ndarray, " n"]) -> float:
    return float(np.square(values - values.mean()).sum())


def crossed_p_value(values: Values, pilot: int = 0) -> float:
    """Two-sided p that the mean is zero: the largest of those over people, over seeds, and over both.

    Args:
        values: differences, one per seed and person.
        pilot: as for ``errors``.

    Returns:
        1 where there is one seed or one person only, or the pilot alone: then nothing can be shown about others.
    """
    mean, found = abs(float(values.mean())), errors(values, pilot)
    if mean == 0.0 or len(found) < 3:
        return 1.0
    return max(2.0 * float(stdtr(df, -mean / se)) if se else 0.0 for se, df in found)


def detectable(values: Values, alpha: float, power: float = 0.8, pilot: int = 0) -> float:
    """The true difference that a test at level alpha finds with the given probability, with the variation seen.

    max over the three errors of se · nc, where a t of noncentrality nc exceeds its critical value with that
    probability.

    Args:
        values: differences, one per seed and person.
        alpha: two-sided level, after whatever correction, in (0, 1).
        power: in (0.5, 1).
        pilot: as for ``errors``.

    Returns:
        0 where nothing varies; infinity where one seed or one person can show nothing.

    Source: Cohen 1988, "Statistical power analysis for the behavioral sciences", Chapter 2.
    """
    found = errors(values, pilot)
    return found_with_power(found, alpha, power) if len(found) == 3 else float("inf")


def found_with_power(found: Sequence[StandardError], alpha: float, power: float = 0.8) -> float:
    """``detectable`` with these standard errors."""
    return max(se * float(nctdtrinc(df, 1.0 - power, stdtrit(df, 1.0 - alpha / 2.0))) for se, df in found)


@dataclass(frozen=True)
class Components:
    """Variances of a number per seed and person: μ + person + seed + rest.

    Args:
        person: between people, of what holds in every seed.
        seed: between seeds, of what holds for all people.
        rest: of what is left.
    """

    person: float
    seed: float
    rest: float

    def errors(self, seeds: int, people: int, pilot: int = 0) -> list[StandardError]:
        """Standard errors as ``errors`` finds them, expected of so many seeds and people, ≥ 2 each.

        ``pilot`` of the seeds, fewer than all, decided how many there are.

        σ²_person / U + σ²_rest / (SU), σ²_seed / S + σ²_rest / (SU), and their sum.
        """
        by_person = self.person / people + self.rest / (seeds * people)
        by_seed = self.seed / seeds + self.rest / (seeds * people)
        both, by_seeds = by_person + by_seed, seeds - max(pilot, 1)
        spread = by_person**2 / (people - 1) + by_seed**2 / by_seeds
        df = both**2 / spread if spread else 1.0
        return [
            StandardError(by_person**0.5, people - 1),
            StandardError(by_seed**0.5, by_seeds),
            StandardError(both**0.5, df),
        ]


def components(values: Values) -> Components:
    """Variances by the method of moments, of a two-way layout with one number a cell; what comes out below 0 is 0.

    Args:
        values: one number per seed and person, two or more of each.

    Source: Searle, Casella and McCulloch 1992, "Variance components", Section 4.5.
    """
    seeds, people = values.shape
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    left = float(np.square(rest).sum()) / ((seeds - 1) * (people - 1))
    person = float(values.mean(0).var(ddof=1)) - left / seeds
    seed = float(values.mean(1).var(ddof=1)) - left / people
    return Components(max(person, 0.0), max(seed, 0.0), left)


def half_width(values: Values, level: float = 0.95, pilot: int = 0) -> float:
    """Half the width of the interval of the mean that inverts ``crossed_p_value``; 0 for a single number.

    Args:
        values: one number per seed and person.
        level: coverage, in (0, 1).
        pilot: as for ``errors``; infinity where there is the pilot alone.
    """
    if 0 < len(values) <= pilot:
        return float("inf")
    return max((float(stdtrit(df, (1.0 + level) / 2.0)) * se for se, df in errors(values, pilot)), default=0.0)
