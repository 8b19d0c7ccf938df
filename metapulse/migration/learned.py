"""One person's map, after their overlap: the posterior over its weights, and what the overlap's errors tell nearby."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from metapulse.gaussian_head import GaussianHead
from metapulse.migration.base import Map, MapCard, Mapped, Times, Values
from metapulse.migration.drift import NUMBERS, Drift
from metapulse.migration.held_out import NORMAL_90
from metapulse.migration.linear import Belief, Evidence, Rows, foretell
from metapulse.migration.pairs import HOUR_US
from metapulse.migration.terms import Terms

AT_ONCE = 20_000  # moments: what is computed at a time


@dataclass(frozen=True)
class LearnedMap(Map):
    """A map that is linear in its terms.

    Args:
        card: what it rests on.
        terms: what it looks at.
        evidence: how pairs became the belief.
        belief: a stack of one.
        factor: of half the model's band, from people held out.
    """

    kind: ClassVar[str] = "learned"

    card: MapCard
    terms: Terms
    evidence: Evidence
    belief: Belief
    factor: float = 1.0

    def at(self, time_us: Times, old: Values) -> Mapped:
        """What the new device would have shown; NaN where the old one shows nothing, or the map refuses."""
        value, half = np.full(len(old), np.nan), np.full(len(old), np.nan)
        if not self.card.refused:
            shown = np.flatnonzero(np.isfinite(old))
            shown = shown[np.argsort(time_us[shown], kind="stable")]
            hours, reading = time_us[shown] / HOUR_US, np.asarray(old, np.float64)[shown]
            terms = self.terms.of(hours, reading) if len(shown) else np.empty((0, self.terms.width))
            for first in range(0, len(shown), AT_ONCE):
                part = slice(first, first + AT_ONCE)
                mean, variance = self._foretell(hours[part], reading[part], terms[part])
                value[shown[part]], half[shown[part]] = mean, NORMAL_90 * self.factor * np.sqrt(variance)
        return Mapped(value, value - half, value + half)

    def _foretell(self, hours: np.ndarray, reading: np.ndarray, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t, x = torch.tensor(hours)[None], torch.tensor(terms)[None]
        level = torch.tensor((reading - self.terms.centre) / self.terms.scale)[None]
        rows = Rows(t, level, x, torch.zeros_like(t), torch.ones_like(t), torch.zeros(1, dtype=torch.float64))
        mean, variance = foretell(self.belief, self.evidence, self.terms, rows)
        return mean[0].numpy(), variance[0].numpy()

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Terms and evidence as values, the belief as arrays."""
        belief, drift = self.belief, self.evidence.drift
        arrays = head_arrays(belief.head) | {name: getattr(belief, name).numpy() for name in ("hours", "level", "pull")}
        values = {"terms": asdict(self.terms), "factor": self.factor, **evidence_values(self.evidence)}
        return values, arrays | ({"drift": drift.logs.numpy()} if drift is not None else {})

    @classmethod
    def from_state(cls, card: MapCard, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> LearnedMap:
        """The map of that state."""
        terms, evidence = terms_of(values["terms"]), evidence_of(values, arrays.get("drift"))
        rest = [torch.tensor(arrays[name], dtype=torch.float64) for name in ("hours", "level", "pull")]
        belief = Belief(head_of(arrays, terms.width), *rest)
        if len({part.shape for part in rest}) != 1 or rest[0].dim() != 2 or len(rest[0]) != 1:
            raise ValueError("readings of the overlap: arrays do not fit each other")
        return cls(card, terms, evidence, belief, float(values["factor"]))


def head_arrays(head: GaussianHead) -> dict[str, np.ndarray]:
    """A head's parts by name."""
    return {name: part.contiguous().numpy() for name, part in vars(head).items()}


def head_of(arrays: Mapping[str, np.ndarray], width: int) -> GaussianHead:
    """A stack of one head; a ValueError if its shapes are not those of so many terms."""
    head = GaussianHead(*(torch.tensor(arrays[n], dtype=torch.float64) for n in ("mean", "covariance", "noise")))
    shapes = tuple(tuple(part.shape) for part in (head.mean, head.covariance, head.noise))
    if shapes != ((1, width, 1), (1, width, width), (1, 1)):
        raise ValueError(f"shapes {shapes} for {width} terms")
    return head


def terms_of(values: Mapping[str, Any]) -> Terms:
    """Terms that ``asdict`` wrote."""
    names, knots = tuple(map(str, values["names"])), tuple(map(float, values["knots"]))
    return Terms(names, float(values["centre"]), float(values["scale"]), knots)


def evidence_values(evidence: Evidence) -> dict[str, Any]:
    """All but the drift."""
    return {"every": evidence.every, "robust": evidence.robust}


def evidence_of(values: Mapping[str, Any], drift: np.ndarray | None) -> Evidence:
    """Evidence of its values, and the drift's logarithms if there are any."""
    if drift is not None and drift.shape != (NUMBERS,):
        raise ValueError(f"drift: shape {drift.shape}")
    made = None if drift is None else Drift(torch.tensor(drift, dtype=torch.float64))
    return Evidence(float(values["every"]), made, bool(values["robust"]))
