"""Maps that are linear in their terms, and what people have in common: a person's weights are a draw from a Gaussian.

y(t) = wᵀφ(t) + e(t),  w ~ N(m, s²C) over people (Laird and Ware 1982). Readings minutes apart repeat each other's
error, so n readings are not n pieces of evidence. Two ways to allow for it: *counted*, where so many hours count as one
reading (a composite likelihood, which needs no model of the error: Varin, Reid and Firth 2011); *whitened*, where
``Drift`` is the model. Counted readings far from the map weigh less (Student's t with 4 degrees of freedom: Lange,
Little and Taylor 1989), since a sensor under pressure or a night half recorded says little about the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.empirical_bayes import fit
from metapulse.episodes import PerSample
from metapulse.gaussian_head import GaussianHead, condition
from metapulse.migration.drift import Drift
from metapulse.migration.pairs import Paired
from metapulse.migration.terms import Terms

DEGREES = 4.0  # of freedom of a reading's error
REWEIGHTED = 4  # times that weights and posterior are found in turn
OWN_NOISE = 6.0  # readings that the population's noise counts for, beside a person's own
EM_ROUNDS, STRENGTH = 30, 5.0  # and how many people the first guess of the spread counts for
LEARNED_ROWS, OVERLAP_ROWS = 150, 300  # a person at most, evenly taken


@dataclass(frozen=True)
class Rows:
    """A stack of people's pairs, padded.

    Args:
        hours, new: (people, n).
        level: the old reading in the terms' units, (people, n).
        terms: (people, n, width).
        mask: 1 for a pair, 0 for padding.
        span: hours that each person is seen.
    """

    hours: PerSample
    level: PerSample
    terms: Float[Tensor, "people n width"]
    new: PerSample
    mask: PerSample
    span: Float[Tensor, " people"]

    def of(self, people: Tensor) -> Rows:
        """Some of the people, by index."""
        return Rows(*(getattr(self, name)[people] for name in self.__dataclass_fields__))


def take_rows(terms: Terms, people: Sequence[Paired], most: int, kept: Sequence[np.ndarray] | None = None) -> Rows:
    """The rows to compute with: evenly taken, in twos, so that near and far ones are among them.

    Args:
        terms: computed from each person's whole history.
        people: in stack order.
        most: rows a person.
        kept: masks of those that may be taken; None: all.
    """
    chosen = []
    for index, one in enumerate(people):
        places = np.flatnonzero(kept[index]) if kept is not None else np.arange(len(one))
        chosen.append(places[_in_twos(len(places), most)])
    longest = max(1, *(len(rows) for rows in chosen))
    shape = (len(people), longest)
    hours, level, new, mask = (torch.zeros(shape, dtype=torch.float64) for _ in range(4))
    values, span = torch.zeros(*shape, terms.width, dtype=torch.float64), torch.zeros(len(people), dtype=torch.float64)
    for index, (one, rows) in enumerate(zip(people, chosen, strict=True)):
        n = len(rows)
        hours[index, :n], new[index, :n] = torch.tensor(one.hours[rows]), torch.tensor(one.new[rows])
        level[index, :n] = torch.tensor((one.old[rows] - terms.centre) / terms.scale)
        if n:
            values[index, :n] = torch.tensor(terms.of(one.hours, one.old)[rows])
        mask[index, :n], span[index] = 1.0, one.span
    return Rows(hours, level, values, new, mask, span)


def _in_twos(n: int, most: int) -> np.ndarray:
    if n <= most:
        return np.arange(n)
    first = np.linspace(0, n - 2, most // 2).astype(np.int64)
    return np.unique(np.concatenate((first, first + 1)))


@dataclass(frozen=True)
class Evidence:
    """How pairs become a belief.

    Args:
        every: hours that count as one reading; 0: whitened by the drift.
        drift: of errors; None: none is modelled, and ``every`` is above 0.
        robust: whether readings far from the map weigh less.
    """

    every: float
    drift: Drift | None = None
    robust: bool = True

    @property
    def whitens(self) -> bool:
        """Whether readings are whitened rather than counted."""
        return self.every == 0.0 and self.drift is not None

    def counted(self, rows: Rows) -> PerSample:
        """What each reading counts for, at most 1."""
        if self.whitens:
            return rows.mask
        n = rows.mask.sum(1).clamp(min=1.0)
        return rows.mask * ((rows.span / max(self.every, 1e-6) + 1.0) / n).clamp(max=1.0).unsqueeze(1)

    def whitened(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Terms and new readings to regress on, (people, n, width) and (people, n, 1)."""
        if not self.whitens or self.drift is None:
            return rows.terms, rows.new.unsqueeze(2)
        factor = self.drift.factor(rows.hours, rows.level, rows.mask)
        shown = rows.mask.unsqueeze(2)
        both = torch.cat((rows.terms * shown, rows.new.unsqueeze(2) * shown), 2)
        solved = torch.linalg.solve_triangular(factor, both, upper=False)
        return solved[..., :-1], solved[..., -1:]


def first_guess(terms: Terms, rows: Rows, evidence: Evidence) -> GaussianHead:
    """Where EM begins: the line through all pairs, a slope of one where only an offset is asked for."""
    mask, new = rows.mask, rows.new
    weights = torch.zeros(terms.width, dtype=torch.float64)
    spread = 0.1 * torch.eye(terms.width, dtype=torch.float64)
    spread[0, 0] = spread[1, 1] = 0.3
    if "offset" in terms.names:
        weights[1], spread[1, 1] = terms.scale, 0.0
        weights[0] = ((new - terms.scale * rows.level) * mask).sum() / mask.sum()
    else:
        shown = mask.unsqueeze(2)
        flat, y = (rows.terms * shown).flatten(0, 1), (new * mask).flatten()
        ridge = 1e-3 * torch.eye(terms.width, dtype=torch.float64)
        weights = torch.linalg.solve(flat.T @ flat + ridge, flat.T @ y)
    noise = 0.5 * ((new - rows.terms @ weights) * mask).square().sum() / mask.sum()
    if evidence.whitens and evidence.drift is not None:
        above = 1.0 + float((evidence.drift.total(rows.level) * mask).sum() / mask.sum())
        noise, spread = noise / above, spread * above
    noise = noise.clamp(min=1e-9).reshape(1, 1)
    return GaussianHead(weights.reshape(1, -1, 1), spread.unsqueeze(0), noise)


def learn_prior(terms: Terms, rows: Rows, evidence: Evidence) -> GaussianHead:
    """The population's prior over weights, by EM; a stack of one."""
    start = first_guess(terms, rows, evidence)
    x, y = evidence.whitened(rows)
    return fit(x, y, evidence.counted(rows), start, EM_ROUNDS, shrinkage=STRENGTH / len(x))


@dataclass(frozen=True)
class Belief:
    """What is known of people's weights after their overlap, and their errors near it.

    Args:
        head: over weights.
        hours, level, pull: of the overlap's readings, for what their errors tell of moments nearby, (people, n);
            ``pull`` is R⁻¹ of the residuals, 0 where nothing is told.
    """

    head: GaussianHead
    hours: PerSample
    level: PerSample
    pull: PerSample


def believe(prior: GaussianHead, rows: Rows, evidence: Evidence) -> Belief:
    """The posterior of each person's weights.

    Args:
        prior: of everyone, a stack of one.
        rows: the overlap.
        evidence: how it counts.
    """
    people = len(rows.mask)
    each = GaussianHead(
        prior.mean.expand(people, -1, -1), prior.covariance.expand(people, -1, -1), prior.noise.expand(people, 1)
    )
    x, y = evidence.whitened(rows)
    counts = evidence.counted(rows)
    weights, head = counts, condition(each, x, y, counts)
    for _ in range(0 if evidence.whitens or not evidence.robust else REWEIGHTED):
        apart = ((y - x @ head.mean).squeeze(2).square()) / head.noise
        weights = counts * (DEGREES + 1.0) / (DEGREES + apart)
        head = condition(each, x, y, weights)
    residual = (rows.new - (rows.terms @ head.mean).squeeze(2)) * rows.mask
    if not evidence.whitens:
        misfit = (weights * residual.square()).sum(1, keepdim=True)
        own = (OWN_NOISE * prior.noise + misfit) / (OWN_NOISE + counts.sum(1, keepdim=True))
        head = replace(head, noise=own)
    pull = torch.zeros_like(residual)
    if evidence.drift is not None:
        factor = evidence.drift.factor(rows.hours, rows.level, rows.mask)
        pull = torch.cholesky_solve(residual.unsqueeze(2), factor).squeeze(2) * rows.mask
    head = GaussianHead(*(part.contiguous() for part in (head.mean, head.covariance, head.noise)))  # as when loaded
    return Belief(head, rows.hours, rows.level, pull)


def foretell(belief: Belief, evidence: Evidence, terms: Terms, at: Rows) -> tuple[PerSample, PerSample]:
    """Mean and variance of new readings.

    Args:
        belief: after the overlap.
        evidence: that made it.
        terms: of the map; the pieces of a line with bends never fall, so that the map is monotone.
        at: moments and their terms.
    """
    weights = belief.head.mean
    if "bends" in terms.names:
        weights = weights.clone()
        weights[:, 1 : 1 + terms.slopes] = weights[:, 1 : 1 + terms.slopes].clamp(min=0.0)
    x, mean = at.terms, (at.terms @ weights).squeeze(2)
    spread = 1.0 + torch.einsum("cni,cij,cnj->cn", x, belief.head.covariance, x)
    if evidence.drift is not None:
        shared = evidence.drift.shared(at.hours, at.level, belief.hours, belief.level)
        mean = mean + (shared @ belief.pull.unsqueeze(2)).squeeze(2)
        if evidence.whitens:
            spread = spread + evidence.drift.total(at.level)
    return mean, spread * belief.head.noise
