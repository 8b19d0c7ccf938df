"""UCI-HAR as FedU's authors cut it (uci_har_fedu.toml): of every person and activity a quarter of the windows is kept.

Windows overlap by half, and the quarter is drawn window by window: most test windows share half of their signal with a
window of training on each side. That flatters every method; it is here to be compared with published figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from metapulse.data import Samples
from metapulse.settings import setting
from metapulse.sim.datasets.uci_har import UciHar

KEPT = 0.25


@dataclass(frozen=True)
class StratifiedHar(UciHar):
    """UCI-HAR with a test part that is drawn at random within each person's activities."""

    seed: int = setting(0, "of the draw", ge=0)

    def samples(self, index: int) -> Samples:
        """A person's windows; ``held_out`` are a quarter of each activity's, rounded up or down by chance."""
        own = super().samples(index)
        rng = np.random.default_rng([self.seed, index])
        kept = np.zeros(len(own.y), bool)
        for label in np.unique(own.y):
            rows = rng.permutation(np.flatnonzero(own.y == label))
            kept[rows[: int(KEPT * len(rows) + rng.random())]] = True
        return replace(own, group=np.arange(len(own.y)), held_out=kept)
