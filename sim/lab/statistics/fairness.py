"""How evenly a method serves clients."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def gini(values: Float64[np.ndarray, " n"]) -> float:
    """Gini coefficient: mean absolute difference of two clients, over twice the mean.

    Σ_i (2i − n − 1) x_(i) / (n Σ x), x_(i) rising.

    Args:
        values: one per client, ≥ 0.

    Returns:
        0 where all have the same (also where all have nothing), up to 1 − 1/n where one has everything.

    Source: Gini 1912, "Variabilità e mutabilità"; this form: Sen 1973, "On economic inequality".
    """
    n, total = len(values), float(values.sum())
    ranks = 2.0 * np.arange(1, n + 1) - n - 1.0
    return float(ranks @ np.sort(values)) / (n * total) if total else 0.0
