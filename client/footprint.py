"""How much memory an instruction's work will need, estimated from its settings without allocating anything.

Bytes are rounded up from what was measured (peaks of numpy's and torch's allocations); the limit they are held against
is a device's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

MB = 2**20
#: Learners that go back along the inner path, and so keep every point of it: φ_k and its gradient.
PATH_KEPT = ("anil", "boil", "cavia", "maml", "maml_pp", "meta_curvature", "meta_lstm", "meta_sgd")
POINT = 8  # bytes of a parameter at one point: φ_k and the gradient there
ADAPTED = 16  # bytes of a parameter while it is adapted: φ_k, gradient, step, φ_{k+1}
READ = 5  # numbers that the LSTM of ``meta_lstm`` keeps of a parameter, for each of its hidden units: gates and state
WINDOW = 110_000  # bytes of a window, of six activities: NumPy's streams of limb and sensor, and what is cut
NUMBER = 64  # bytes of a number of generated data and of what it is made from


def training_bytes(parameters: int, learner: object) -> int:
    """Bytes of one client's round: 8 B × parameters × (steps + 2) where the path is kept, else 16 B × parameters.

    Args:
        parameters: numbers in θ.
        learner: its table; what is malformed is refused elsewhere.
    """
    told = _table(learner)
    kept = told.get("name") in PATH_KEPT
    points = 2 + (_count(told, "inner_steps", 10) if kept else 0)
    return POINT * points * parameters * _beside(told)


def trial_bytes(parameters: int, learner: object, episodes: int) -> int:
    """Bytes of a trial, whose episodes are adapted at once: 16 B × parameters × episodes.

    Args:
        parameters: numbers in θ.
        learner: its table.
        episodes: ≥ 1.
    """
    return ADAPTED * parameters * episodes * _beside(_table(learner))


def data_bytes(source: object) -> int:
    """Bytes in which a client's samples are generated, and the population where it is drawn as a whole.

    Args:
        source: its table.
    """
    told = _table(source)
    name, clients = told.get("name"), _count(told, "clients", 0)
    if name == "wearables":
        return WINDOW * _count(told, "windows", 6) * _count(told, "executions", 4)
    if name == "mixture":
        components = _count(told, "components", 3)
        return 3200 * (_count(told, "test", 5000) + components) + 17 * (clients or 300) * components
    if name == "leaf":
        return 30_000 * (clients or 1000) + NUMBER * 305 * _count(told, "clusters", 1)
    if name == "synthetic":
        return 10**6 * (1 if told.get("variant") == "lazy" else clients or 100)
    sizes = (v for k, v in told.items() if k not in ("clients", "users", "seed"))
    return NUMBER * math.prod(max(v, 1) for v in sizes if isinstance(v, int))


def _beside(learner: Mapping[str, object]) -> int:
    return READ * max(_count(learner, "hidden", 20), 1) if learner.get("name") == "meta_lstm" else 1


def _table(section: object) -> Mapping[str, object]:
    return section if isinstance(section, Mapping) else {}


def _count(section: Mapping[str, object], key: str, default: int) -> int:
    value = section.get(key, default)
    return abs(math.ceil(value)) if isinstance(value, (int, float)) and math.isfinite(value) else default
