"""Aggregators against those of byzfl, where it is installed; it brings torchvision and seaborn, so it is no dependency.

Its Krum counts n − f − 1 neighbours where the paper has n − f − 2: its f + 1 is our f.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metapulse.strategies.aggregators.centred_clipping import centred_clipping
from metapulse.strategies.aggregators.geometric_median import geometric_median
from metapulse.strategies.aggregators.krum import Krum, MultiKrum
from metapulse.strategies.aggregators.median import median
from metapulse.strategies.aggregators.nnm import mixed
from metapulse.strategies.aggregators.trimmed_mean import trimmed_mean

byzfl = pytest.importorskip("byzfl.aggregators", reason="byzfl is not installed")


@pytest.mark.parametrize(("clients", "f"), [(7, 1), (11, 2), (23, 5), (50, 9)])
@pytest.mark.parametrize("seed", range(5))
def test_they_agree(clients: int, f: int, seed: int) -> None:
    x = torch.randn(clients, 40, generator=torch.Generator().manual_seed(seed)) + 0.5
    x[:f] *= -10
    wide = x.double().numpy()
    pairs = {
        "median": (median(x), byzfl.Median()(wide)),
        "trimmed mean": (trimmed_mean(x, f), byzfl.TrMean(f)(wide)),
        "Krum": (Krum(attackers=f).aggregate(x), byzfl.Krum(f + 1)(wide)),
        "multi-Krum": (MultiKrum(attackers=f, keep=clients - f - 1).aggregate(x), byzfl.MultiKrum(f + 1)(wide)),
        "mixing": (mixed(x, f), byzfl.NNM(f)(wide)),
        "clipping": (centred_clipping(x, torch.zeros(40), 2.0, 3), byzfl.CenteredClipping(L=3, tau=2.0)(wide)),
        "geometric median": (geometric_median(x, 400, 1e-9), byzfl.GeometricMedian(nu=1e-9, T=400)(wide)),
    }
    for name, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours.double().numpy(), theirs, rtol=1e-9, atol=1e-12, err_msg=name)
