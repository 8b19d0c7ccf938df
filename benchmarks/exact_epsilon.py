"""Lower bounds on the true ε of Poisson rounds, beside what is stated: by the worst data there is, on one coordinate.

One person's update is +C, everybody else's −C, and the attacker knows all coins but the person's. Where n others are
drawn, the person moves the sum by C; where a cohort is full and he pushes another out, by 2C. A round is then a mixture
of two Gaussians, and the privacy loss of T rounds is known by convolution: losses are rounded down to a grid, so that
δ(ε), and the ε at which it is δ, come out too small, never too large. "cut" is the rule that kept no more than a cohort
of those drawn; "all" asks everybody, which is what private rounds do.

    python benchmarks/exact_epsilon.py [--rule all] [--rule cut]
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from strategies.privacy.accounting import Release, epsilon

#: (N, cohort, σ, T, δ).
SETTINGS = (
    (60, 30, 4.5, 20, 1e-5),
    (100, 50, 20.0, 400, 1e-5),
    (100, 90, 10.0, 100, 1e-5),
    (1000, 100, 20.0, 1000, 1e-6),
    (40, 20, 3.0, 5, 1e-4),
    (50, 5, 1.0, 10, 1e-4),
    (50, 45, 8.0, 50, 1e-4),
    (200, 20, 2.0, 100, 1e-5),
    (200, 100, 30.0, 1000, 1e-5),
    (400, 40, 4.0, 200, 1e-5),
    (500, 250, 15.0, 60, 1e-5),
    (1000, 10, 0.8, 50, 1e-5),
    (2000, 200, 10.0, 500, 1e-6),
    (5000, 50, 1.0, 300, 1e-6),
)
STEP, SIZE = 1e-4, 2**19  # of the grid of losses: from −26 to 26


def lower_bound(people: int, cohort: int, sigma: float, rounds: int, delta: float, rule: str) -> float:
    """ε is at least this; the better of both directions of neighbours.

    Args:
        people: N.
        cohort: qN.
        sigma: σ.
        rounds: T.
        delta: δ.
        rule: "all" or "cut".
    """
    q, grid = cohort / people, STEP * (np.arange(SIZE + 1) - SIZE // 2)
    others = np.arange(people) if rule == "cut" else np.array([0])
    weights = stats.binom(people - 1, q).pmf(others) if rule == "cut" else np.ones(1)
    there, gone = np.zeros(SIZE), np.zeros(SIZE)
    kinds: dict[tuple[float, float], float] = {}
    for n, weight in zip(others.tolist(), weights.tolist(), strict=True):
        full = rule == "cut" and n >= cohort
        kind = (2.0, q * cohort / (n + 1)) if full else (1.0, q)
        kinds[kind] = kinds.get(kind, 0.0) + weight
    for (moved, chance), weight in kinds.items():
        if weight > 1e-14:
            with np.errstate(all="ignore"):  # losses below log(1 − p) do not occur
                x = sigma**2 / moved * np.log((np.expm1(grid) + chance) / chance) + moved / 2
            x = np.where(np.isnan(x), -np.inf, x)
            out, inside = stats.norm.cdf(x / sigma), stats.norm.cdf((x - moved) / sigma)
            gone += weight * np.diff(out)
            there += weight * np.diff((1 - chance) * out + chance * inside)
    # Of the loss of the other direction, −L, a cell's upper end is the lower one.
    return max(_at(there, rounds, delta), _at(gone[::-1], rounds, delta))


def _at(cells: np.ndarray, rounds: int, delta: float) -> float:
    """The ε at which T rounds of a loss have δ."""
    centred = np.roll(cells, -(SIZE // 2))
    total = np.fft.irfft(np.fft.rfft(centred) ** rounds, SIZE)
    mass = np.roll(total, SIZE // 2).clip(0.0)
    losses = STEP * (np.arange(SIZE) - SIZE // 2)
    mass[mass < 1e-15] = 0.0  # rounding of the transform

    def too_much(epsilon: float) -> bool:
        above = losses > epsilon
        return float(mass[above] @ -np.expm1(epsilon - losses[above])) > delta

    low, high = 0.0, float(losses[-1])
    if not too_much(low):
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if too_much(middle) else (low, middle)
    return low


def main() -> None:
    """A line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", action="append", choices=("all", "cut"))
    parser.add_argument("--first", type=int, default=len(SETTINGS), help="so many of the settings")
    asked = parser.parse_args()
    print("N, cohort, σ, T, δ: stated; true ε is at least")
    for people, cohort, sigma, rounds, delta in SETTINGS[: asked.first]:
        stated = epsilon(Release(sigma, cohort, people, "poisson"), rounds, delta)
        found = {rule: lower_bound(people, cohort, sigma, rounds, delta, rule) for rule in asked.rule or ("all", "cut")}
        told = ", ".join(f"{rule} {value:.3f}{' REFUTED' if value > stated else ''}" for rule, value in found.items())
        print(f"{people}, {cohort}, {sigma:g}, {rounds}, {delta:g}: {stated:.3f}; {told}", flush=True)


if __name__ == "__main__":
    main()
