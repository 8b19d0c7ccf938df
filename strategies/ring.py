"""The neighbour graph of secure aggregation: how many neighbours are needed, and what may be opened.

With n clients of which γn collude with the server and δn are lost, a circle of k neighbours and a threshold t are safe
with σ bits and open with η bits where

    P(the graph of honest survivors falls apart) ≤ n(n − k − 1)/2 · C(n−k, b−k)/C(n, b) < 2^−(σ+1),  b = γn + δn
    n P(more than t − 1 of a client's neighbours collude) ≤ 2^−(σ+1)
    n P(fewer than t of them are left) ≤ 2^−η

the last two by the tails of a hypergeometric distribution. Among all of the cohort nothing is left to chance.

Source: Bell, Bonawitz, Gascón, Lepoint and Raykova 2020, ePrint 2020/704, Section 3; the union bound over two breaks of
the circle as in the authors' program (google-parfait/federated-compute, graph_parameter_finder.cc).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from metapulse.errors import ReplyError

CORRECTNESS = 20.0  # η: a round within the asked drop-out is refused with probability 2^−20 at most
SMALL = 20  # clients that all share with all: it costs little
EPSILON = 1e-14  # what a product of a share and a count may be short of a whole number


@dataclass(frozen=True)
class Risk:
    """What a round of n clients is to withstand.

    Args:
        clients: n ≥ 1.
        corrupt: clients that collude with the server.
        lost: clients that drop out.
        security: σ, bits.
    """

    clients: int
    corrupt: int
    lost: int
    security: float

    @classmethod
    def of(cls, clients: int, corrupt: float, lost: float, security: float) -> Risk:
        """The same from shares γ and δ: ⌊γn⌋ and ⌊δn⌋."""
        colluding, gone = (math.floor((share + EPSILON) * clients) for share in (corrupt, lost))
        return cls(clients, colluding, gone, security)

    def holds(self, neighbours: int, lost: int | None = None) -> bool:
        """Whether honest survivors stay together in a circle of k neighbours, but for 2^−(σ+1).

        Args:
            neighbours: k.
            lost: clients that did drop out; None: as many as asked.
        """
        n, bad = self.clients, self.corrupt + (self.lost if lost is None else lost)
        if neighbours > bad or neighbours >= n - 1:
            return True
        pairs = math.log(n) + math.log(n - neighbours - 1) - math.log(2)
        return bool(pairs + _choose(n - neighbours, bad - neighbours) - _choose(n, bad) < self._log_chance)

    def thresholds(self, neighbours: int) -> tuple[int, int]:
        """The least threshold that is safe, and the largest that opens under the asked drop-out.

        Args:
            neighbours: k; n − 1 or more: all of the cohort.
        """
        n = self.clients
        if neighbours >= n - 1:
            return max(2, self.corrupt + 1), n - self.lost
        corrupt, left = tail(n, self.corrupt, neighbours), tail(n, self.lost, neighbours)
        most = int(np.argmax(n * np.append(corrupt[1:], 0.0) <= math.exp(self._log_chance)))  # P(X > x)
        gone = int(np.argmax(n * np.append(left[1:], 0.0) <= 2.0**-CORRECTNESS))
        return max(2, most + 1), neighbours - gone

    def neighbours(self) -> int:
        """The least k, even, that is safe and opens; n − 1, all others, where none does."""
        for k in range(2, self.clients - 1, 2):
            if self.holds(k):
                least, most = self.thresholds(k)
                if least <= most:
                    return k
        return self.clients - 1

    def threshold(self, neighbours: int) -> int:
        """t: as near to a majority as the asked drop-out allows, and never less than is safe.

        Above a majority not even a server that lies about who is there gets both secrets of a client.
        """
        least, most = self.thresholds(neighbours)
        return max(least, min(most, min(neighbours + 1, self.clients) // 2 + 1))

    @property
    def _log_chance(self) -> float:
        return -(self.security + 1) * math.log(2)


def tail(population: int, marked: int, drawn: int) -> Float64[np.ndarray, " counts"]:
    """P(X ≥ x) for x = 0 … ``drawn``, X hypergeometric: how many of those drawn are marked.

    Summed from the far end, so that the smallest probabilities are right too.
    """
    rest = population - marked
    x = np.arange(max(0, drawn - rest), min(drawn, marked) + 1, dtype=np.float64)
    first = _choose(marked, int(x[0])) + _choose(rest, drawn - int(x[0])) - _choose(population, drawn)
    ratios = (marked - x[:-1]) * (drawn - x[:-1]) / ((x[:-1] + 1) * (rest - drawn + x[:-1] + 1))
    probabilities = np.zeros(drawn + 1)
    probabilities[x.astype(np.int64)] = np.exp(first + np.concatenate([[0.0], np.log(ratios).cumsum()]))
    sums: Float64[np.ndarray, " counts"] = probabilities[::-1].cumsum()[::-1]
    return sums


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


class Ring:
    """A round's clients in a random circle; each shares its secrets with those within a distance, itself included.

    Args:
        clients: partition ids.
        risk: what is to be withstood.
        neighbours: k, even, half of them on either side; n − 1 or more: all others.
        threshold: t ≥ 2.
        rng: draws the circle.

    Source:
        Bell et al. 2020, ePrint 2020/704, Section 3 (a Harary graph under a random order).
    """

    def __init__(
        self, clients: Sequence[int], risk: Risk, neighbours: int, threshold: int, rng: np.random.Generator
    ) -> None:
        self._order: Int64[np.ndarray, " clients"] = rng.permutation(np.array(clients, dtype=np.int64))
        self._place = {client: i for i, client in enumerate(self._order.tolist())}
        self.risk, self.threshold = risk, threshold
        self.width = min(neighbours + 1, len(clients))

    def around(self, client: int, present: Collection[int]) -> list[int]:
        """Those of its neighbourhood who are present, ascending."""
        places = self._place[client] - self.width // 2 + np.arange(self.width)
        return sorted(c for c in self._order[places % len(self._order)].tolist() if c in present)

    def surrounded(self, stage: str, members: Collection[int]) -> list[int]:
        """Those who have as many as the threshold around them, when all others have been left out, ascending.

        Raises:
            ReplyError: none has.
        """
        left = set(members)
        while left:
            counts = self._counts(left)
            short = {c for c in left if counts[self._place[c]] < self.threshold}
            if not short:
                return sorted(left)
            left -= short
        raise ReplyError(f"{stage}: {len(members)} are left, and {self.threshold} are needed around each")

    def must_hold(self, stage: str, members: Collection[int], present: Collection[int]) -> None:
        """Make sure that as many as the threshold are present around each member.

        Raises:
            ReplyError: names the stage, and the member with the fewest.
        """
        counts = self._counts(present)
        counts[~np.isin(self._order, list(members))] = self.width
        fewest = int(counts.argmin())
        if not members or counts[fewest] < self.threshold:
            who = f"{counts[fewest]} are left around client {self._order[fewest]}" if members else "no client is left"
            raise ReplyError(f"{stage}: {who}, {self.threshold} are needed")

    def must_hide(self, stage: str, senders: Collection[int]) -> None:
        """Make sure that the sum of the senders' vectors is all that can be read once their secrets are open.

        Masks between two senders stay; so each connected part of their graph has a sum of its own that can be read.

        Raises:
            ReplyError: the graph falls apart, or would without those who collude; or two honest ones are not left.
        """
        risk, here = self.risk, len(senders)
        if here < risk.corrupt + 2:
            raise ReplyError(f"{stage}: {here} are left, {risk.corrupt + 2} are needed for two of them to be honest")
        if (parts := self.parts(senders)) > 1:
            raise ReplyError(f"{stage}: those who are left fall apart into {parts} groups, whose sums could be read")
        lost = risk.clients - here
        if risk.corrupt and not risk.holds(self.width - 1, max(lost, risk.lost)):
            most = f"{risk.security:g} bits allow fewer with {self.width - 1} neighbours"
            raise ReplyError(f"{stage}: {lost} of {risk.clients} are lost, {most}")

    def parts(self, members: Collection[int]) -> int:
        """Connected parts of the graph of some clients."""
        if self.width >= len(self._order):
            return 1
        places = np.flatnonzero(np.isin(self._order, list(members)))
        gaps = np.diff(places, append=places[0] + len(self._order))  # around the circle
        return max(1, int((gaps > self.width // 2).sum()))

    def _counts(self, present: Collection[int]) -> Int64[np.ndarray, " clients"]:
        """How many are present around each place, itself included."""
        there, back = np.isin(self._order, list(present)).astype(np.int64), self.width // 2
        lapped = np.concatenate([[0], there[len(there) - back :], there, there[: self.width - 1 - back]]).cumsum()
        counts: Int64[np.ndarray, " clients"] = lapped[self.width :] - lapped[: -self.width]
        return counts
