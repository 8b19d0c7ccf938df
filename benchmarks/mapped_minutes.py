"""Apple Watch and Fitbit minutes (``aw_fitbit``): can a history on the old device help with K minutes of the new one?

    METAPULSE_DATA=… python benchmarks/mapped_minutes.py

Nothing in the file says which minutes of the two devices are the same, so by the rule that a history holds none of the
query's moments there is no history at all. What is asked here is easier: the history is the first half of every
activity on the old device, the shots are from the first half on the new one, the query is its second half, and the
history is of the same bouts. Class means on standardised features; the map is a ridge from one device's activity means
to the other's, of the other 48 people; a class's history weighs as one shot.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import wilcoxon

from metapulse.rng import generator
from metapulse.sim.datasets.aw_fitbit import FEATURES, LABELS, AwFitbit
from metapulse.transforms import Standardise

SHOTS, EPISODES = (1, 3, 5, 10), 8
Means = dict[int, np.ndarray]  # by class


@dataclass(frozen=True)
class Side:
    """One person with one device: raw and standardised minutes, labels, and rows of the two halves of every class."""

    raw: np.ndarray
    x: np.ndarray
    y: np.ndarray
    first: np.ndarray
    second: np.ndarray


def sides() -> dict[tuple[int, str], Side]:
    """Everybody who wore both devices, by person and device."""
    source, found = AwFitbit(), {}
    for user in range(source.users):
        for index in source.clients_of(user):
            samples = source.samples(index)
            own = [np.flatnonzero(samples.y == c) for c in np.unique(samples.y)]
            first = np.sort(np.concatenate([rows[: len(rows) // 2] for rows in own]))
            if len(first):
                x = Standardise().apply(samples.x, samples.x[first], None).astype(np.float64)
                rest = np.setdiff1d(np.arange(len(samples)), first)
                found[user, source.client(index).device] = Side(samples.x, x, samples.y, first, rest)
    both = {user for user, _ in found if all((user, device) in found for device in source.devices)}
    return {key: side for key, side in found.items() if key[0] in both}


def means(x: np.ndarray, y: np.ndarray) -> Means:
    """The mean of every class that is there."""
    return {int(c): x[y == c].mean(0) for c in np.unique(y)}


def joined(shots: Means, counts: dict[int, int], more: Means) -> Means:
    """Class means of the shots, with another mean that weighs as one shot."""
    return {c: (counts[c] * m + more[c]) / (counts[c] + 1) if c in more else m for c, m in shots.items()}


def accuracy(centres: Means, x: np.ndarray, y: np.ndarray) -> float:
    """Balanced accuracy over the classes that have a mean."""
    classes = np.array(sorted(centres))
    guess = classes[((x[:, None] - np.stack([centres[c] for c in classes])) ** 2).sum(2).argmin(1)]
    return float(np.mean([(guess[y == c] == c).mean() for c in classes if (y == c).any()]))


def table(found: dict[tuple[int, str], Side], old: str, new: str) -> None:
    """One direction."""
    people = sorted({user for user, _ in found})
    figures: dict[tuple[str, int], list[float]] = defaultdict(list)
    own = {key: means(side.x, side.y) for key, side in found.items()}
    for user in people:
        a, b, others = found[user, old], found[user, new], [p for p in people if p != user]
        pairs = [(own[p, old][c], own[p, new][c]) for p in others for c in own[p, old].keys() & own[p, new].keys()]
        x, z = (np.array(side) for side in zip(*pairs, strict=True))
        one = np.c_[x, np.ones(len(x))]
        weights = np.linalg.solve(one.T @ one + np.eye(one.shape[1]), one.T @ z)
        crowd = {c: np.mean([own[p, new][c] for p in others if c in own[p, new]], 0) for c in range(len(LABELS))}
        raw = means(a.x[a.first], a.y[a.first])
        mapped = {c: np.append(m, 1.0) @ weights for c, m in raw.items()}
        query = b.x[b.second], b.y[b.second]
        for k in SHOTS:
            each: dict[str, list[float]] = defaultdict(list)
            for episode in range(EPISODES):
                rows = generator(0, "episode", client=user + (episode << 40)).permutation(b.first)
                rows = np.concatenate([rows[b.y[rows] == c][:k] for c in np.unique(b.y[rows])])
                shots = means(b.x[rows], b.y[rows])
                counts = {c: int((b.y[rows] == c).sum()) for c in shots}
                each["population only"].append(accuracy({c: crowd[c] for c in shots}, *query))
                each["K shots"].append(accuracy(shots, *query))
                each["population + K"].append(accuracy(joined(shots, counts, crowd), *query))
                each["raw history + K"].append(accuracy(joined(shots, counts, raw), *query))
                each["mapped history + K"].append(accuracy(joined(shots, counts, mapped), *query))
            for row, values in each.items():
                figures[row, k].append(float(np.mean(values)))
    print(f"\n{old} → {new}, {len(people)} people\n\n| | " + " | ".join(f"K = {k}" for k in SHOTS) + " |")
    print("|---|" + "---|" * len(SHOTS))
    for row in dict.fromkeys(name for name, _ in figures):
        cells = []
        for k in SHOTS:
            gain = np.subtract(figures[row, k], figures["K shots", k])
            said = "" if row == "K shots" else f" ({gain.mean():+.3f}; p {wilcoxon(gain).pvalue:.2g})"
            cells.append(f"{np.mean(figures[row, k]):.3f}{said}")
        print(f"| {row} | " + " | ".join(cells) + " |")


def agreement(found: dict[tuple[int, str], Side], old: str, new: str) -> None:
    """Whether the two devices say the same of one person in one activity: heart rate, over people and activities."""
    at, people = list(FEATURES).index("heart_rate"), sorted({user for user, _ in found})
    told = []
    for user, label in product(people, range(len(LABELS))):
        rows = [found[user, device].raw[found[user, device].y == label, at] for device in (old, new)]
        if min(map(len, rows)) >= 5:
            told.append((label, float(rows[0].mean()), float(rows[1].mean())))
    label, a, b = (np.array(column) for column in zip(*told, strict=True))
    inside = [np.corrcoef(a[label == c], b[label == c])[0, 1] for c in range(len(LABELS)) if (label == c).sum() > 4]
    print(
        f"\nmean heart rate of an activity on both devices: r = {np.corrcoef(a, b)[0, 1]:.2f} over {len(a)} activities;"
    )
    print(f"within an activity, over people: {', '.join(f'{r:.2f}' for r in inside)}")


def main() -> None:
    """Print both directions, and what the devices have in common."""
    found = sides()
    for old, new in (("apple_watch", "fitbit"), ("fitbit", "apple_watch")):
        table(found, old, new)
    agreement(found, "apple_watch", "fitbit")


if __name__ == "__main__":
    main()
