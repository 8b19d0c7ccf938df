"""Error grids of glucose: what a wrong value would do to the person, zones A (nothing) to E (harm).

x is the value that came true and y the one that was told, mg/dL.

Sources: Clarke, Cox, Gonder-Frederick, Carter and Pohl 1987, "Evaluating clinical accuracy of systems for
self-monitoring of blood glucose", Diabetes Care 10(5), page 623; Parkes, Slatin, Pardo and Ginsberg 2000, "A new
consensus error grid", Diabetes Care 23(8); its coordinates: Pfützner, Klonoff, Pardo and Parkes 2013, "Technical
aspects of the Parkes error grid", Journal of Diabetes Science and Technology 7(5), type 1 diabetes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metapulse.episodes import PerClient
from metapulse.losses import masked_mean
from metapulse.metrics.answers import Answers

MgDl = Float[Tensor, "*any"]
Zones = Int64[Tensor, "*any"]  # 0 to 4 for A to E
#: From (x, y) to zones.
Grid: TypeAlias = Callable[[MgDl, MgDl], Zones]
Knots: TypeAlias = Sequence[tuple[float, float]]

#: Where a zone begins above the diagonal, B to E. The last two knots of a line say how it goes on.
ABOVE: tuple[Knots, ...] = (
    ((0, 50), (30, 50), (140, 170), (280, 380), (430, 550)),
    ((0, 60), (30, 60), (50, 80), (70, 110), (260, 550)),
    ((0, 100), (25, 100), (50, 125), (80, 215), (125, 550)),
    ((0, 150), (35, 155), (50, 550)),
)
#: Where a zone begins below the diagonal, B to D; each from a vertical line at its first knot on.
BELOW: tuple[Knots, ...] = (
    ((50, 30), (170, 145), (385, 300), (550, 450)),
    ((120, 30), (260, 130), (550, 250)),
    ((250, 40), (550, 150)),
)


def clarke_zones(x: MgDl, y: MgDl) -> Zones:
    """Zones of Clarke's grid; where two of these hold, the first does.

    A: |y − x| ≤ x/5, or both below 70
    E: x ≤ 70 and y ≥ 180, or x ≥ 180 and y ≤ 70
    C: x > 70 and y > x + 110, or 130 ≤ x ≤ 180 and y < 7/5 (x − 130)
    D: x < 70 or x > 240, and 70 ≤ y < 180
    B: the rest
    """
    fits = ((y - x).abs() <= 0.2 * x) | ((x < 70) & (y < 70))
    opposite = ((x <= 70) & (y >= 180)) | ((x >= 180) & (y <= 70))
    needless = ((x > 70) & (y > x + 110)) | ((x >= 130) & (x <= 180) & (y < 1.4 * (x - 130)))
    missed = ((x < 70) | (x > 240)) & (y >= 70) & (y < 180)
    zones = torch.where(missed, 3, 1)
    for zone, there in ((2, needless), (4, opposite), (0, fits)):
        zones = torch.where(there, zone, zones)
    return zones


def parkes_zones(x: MgDl, y: MgDl) -> Zones:
    """Zones of the consensus grid for type 1 diabetes; a point on a line is in the better zone.

    Beyond 550 mg/dL lines go on as they are.
    """
    zones = torch.zeros_like(x, dtype=torch.int64)
    for zone, knots in enumerate(ABOVE, 1):
        zones = torch.where(y > _line(x, knots), zone, zones)
    for zone, knots in enumerate(BELOW, 1):
        beyond = (x > knots[0][0]) & (y < _line(x, knots))
        zones = torch.where(beyond, zones.clamp(min=zone), zones)
    return zones


def _line(x: MgDl, knots: Knots) -> MgDl:
    """y of a line through knots at x; outside them its first and last piece go on."""
    at, height = (x.new_tensor(values) for values in zip(*knots, strict=True))
    slope = height.diff() / at.diff()
    piece = (torch.searchsorted(at, x.contiguous(), right=True) - 1).clamp(0, len(slope) - 1)
    return height[piece] + slope[piece] * (x - at[piece])


def share_within(grid: Grid, last: int) -> Callable[[Answers], PerClient]:
    """A metric: the share of each client's samples in zone A (``last`` 0), or in A and B (1)."""

    def share(answers: Answers) -> PerClient:
        factor, told = mg_dl(answers.task.value_unit), answers.predicted
        good = (grid(factor * answers.true, factor * told) <= last) & told.isfinite()
        return masked_mean(good.to(answers.mask).mean(2), answers.mask)

    return share


def mg_dl(unit: str) -> float:
    """mg/dL of one of a unit of glucose; 0 for any other unit."""
    from metapulse.record.units import GLUCOSE

    return {"mg/dl": 1.0, "mmol/l": GLUCOSE}.get(unit.strip().casefold(), 0.0)
