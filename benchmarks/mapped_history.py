"""A person's old labelled windows, mapped into the new device's features, beside K shots of the new device.

    METAPULSE_DATA=… python benchmarks/mapped_history.py OUT [--to watch phone] [--folds 0 1 2 3] [--seeds 0 1 2 3 4]

R2D2 is trained on people who wear the old device alone (``configs/recorded/spsw_unseen*.toml``; fold 0 holds out the
six people of the configuration, folds 1 to 3 the others, five or six at a time). A held-out person's executions are cut
as in the meta-test; the query's are in nothing else. "overlap": both devices are worn in half of the other executions,
where the shots are from and the map is learned, without labels; the old device's labelled windows of the rest are the
history. "at once": the history is of the very executions that the shots are from. How strongly the map is pulled to its
prior and how much the history weighs are chosen on the people in meta-training, never on those judged. Finished runs in
OUT are not trained again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from few_shot import held_out
from scipy.stats import wilcoxon
from shared import finished

from metapulse.data import Samples
from metapulse.gaussian_head import GaussianHead
from metapulse.history import apart
from metapulse.methods.r2d2 import R2D2, RIDGE
from metapulse.migration.features import map_features, own_map, population_map, shared_moments
from metapulse.rng import generator
from metapulse.sim.personal import TrainedRun
from metapulse.sim.suite import read_suite
from metapulse.trees import stack, subtree, without_subtree

CONFIGS = {"watch": "spsw_unseen", "phone": "spsw_unseen_phone"}
SHOTS = (1, 3, 5)
WITHIN_S = 0.32  # half a step of the windows
GRID = tuple(
    product((3.0, 10.0, 30.0), (0.3, 1.0, 3.0))
)  # pairs that the prior weighs; history's weight over the shots'
ROWS = (
    "population only",
    "K shots",
    "raw history + K",
    "mapped by own overlap + K",
    "mapped by people's maps and own overlap + K",
)
Figures = dict[tuple[str, int, str], list[float]]  # (row, K, person) → balanced accuracy by episode and seed


@dataclass(frozen=True)
class Asked:
    """One episode of one person, as the encoder sees it: features and labels."""

    shots: tuple[np.ndarray, np.ndarray]  # in order of use
    query: tuple[np.ndarray, np.ndarray]
    history: tuple[np.ndarray, np.ndarray]
    pairs: tuple[np.ndarray, np.ndarray]


class Run:
    """A trained run: its encoder, its ridge, and the features of anybody."""

    penalty: float
    balance: float

    def __init__(self, folder: Path, new: str) -> None:
        from metapulse.sim.api import load

        self.run = TrainedRun(folder, load(folder).config)
        self.work, self.new = self.run.work, new
        _, theta = self.run._final
        self.phi, ridge = stack(without_subtree(theta, RIDGE), 1), subtree(theta, RIDGE)
        learner = self.work.adapted(self.run._trial("new_device", max(SHOTS)))
        assert isinstance(learner, R2D2)
        self.penalty = learner.ridge_factor * float(ridge["log_lambda"].exp())
        self.balance = float(ridge["balance"])
        self.tested = set(self.run.config.split.test_users)

    def features(self, x: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        """Embeddings of windows, the transform fitted on some of the same device, (n, width)."""
        inputs = torch.from_numpy(self.work.transform.apply(x, fitted, None))
        with torch.no_grad():
            z: np.ndarray = self.work.model.embed(self.phi, inputs[None])[0].double().numpy()
        return z

    def people(self, tested: bool) -> Iterator[tuple[str, int, int]]:
        """(label, client with the new device, client with the old) of people held out, or in meta-training."""
        source = self.work.source
        for user in range(source.users):
            by = {source.client(c).device: c for c in source.clients_of(user)}
            label = source.client(next(iter(by.values()))).label
            if len(by) == 2 and (label in self.tested) == tested:
                yield label, by.pop(self.new), next(iter(by.values()))

    def episodes(self, new: int, old: int, at_once: bool, count: int) -> Iterator[Asked]:
        """A person's episodes; those without both a history and shared moments are none."""
        trial = self.run._trial("new_device", max(SHOTS))
        samples, cuts = self.work.cuts(new, trial)
        recorded = self.work.source.samples(old)
        for number, cut in enumerate(cuts[:count]):
            groups = generator(0, "overlap", client=new + (number << 40)).permutation(
                np.unique(samples.group[cut.pool])
            )
            worn = groups if at_once else groups[: (len(groups) + 1) // 2]
            side = cut.pool[np.isin(samples.group[cut.pool], worn)]  # in order of use
            kept = recorded.take(apart(recorded, samples, cut.query))
            kept = kept.take(np.flatnonzero(np.isin(kept.group, groups)))
            past = np.ones(len(kept), bool) if at_once else ~np.isin(kept.group, worn)
            i, j = shared_moments(kept.take(np.flatnonzero(np.isin(kept.group, worn))), samples.take(side), WITHIN_S)
            if len(i) < 2 or not past.any():
                continue
            i = np.flatnonzero(np.isin(kept.group, worn))[i]
            z_side, z_kept = self.features(samples.x[side], samples.x[side]), self.features(kept.x, kept.x)
            z_query = self.features(samples.x[cut.query], samples.x[side])
            yield Asked(
                (z_side, samples.y[side]), (z_query, samples.y[cut.query]), (z_kept[past], kept.y[past]),
                (z_kept[i], z_side[j]),
            )  # fmt: skip

    def training_pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Features of both devices at shared moments, of the people in meta-training; no label is looked at."""
        found = []
        for _, new, old in self.people(tested=False):
            a, b = self.work.source.samples(old), self.work.source.samples(new)
            i, j = shared_moments(a, b, WITHIN_S)
            if len(i) > 1:
                found.append((self.features(a.x, a.x)[i], self.features(b.x, b.x)[j]))
        return found

    def population(self) -> tuple[np.ndarray, np.ndarray]:
        """Labelled features of the old device of the people in meta-training."""
        parts = []
        for _, _, old in self.people(tested=False):
            a: Samples = self.work.source.samples(old)
            parts.append((self.features(a.x, a.x), a.y))
        return np.concatenate([z for z, _ in parts]), np.concatenate([y for _, y in parts])

    def judged(
        self,
        parts: Sequence[tuple[np.ndarray, np.ndarray, float]],
        query: tuple[np.ndarray, np.ndarray],
        classes: np.ndarray,
    ) -> float:
        """Balanced accuracy over the offered classes, of a ridge head on parts (features, labels, weight in all)."""
        z = np.concatenate([z for z, _, _ in parts])
        y = np.concatenate([y for _, y, _ in parts])
        weight = np.concatenate([np.full(len(own), total / len(own)) for own, _, total in parts])
        hot = np.eye(self.work.task.outputs)[y]
        counts = np.maximum((hot * weight[:, None]).sum(0), 1e-9)
        root = np.sqrt(weight * counts[y] ** -self.balance)[:, None]
        a, q = (np.concatenate([f, np.full((len(f), 1), 3.0)], 1) / np.sqrt(f.shape[1]) for f in (z, query[0]))
        left = (a * root).T @ (a * root) + self.penalty * np.eye(a.shape[1])
        answers = q @ np.linalg.solve(left, (a * root).T @ ((2 * hot - 1) * root))
        guess = classes[answers[:, classes].argmax(1)]
        return float(np.mean([(guess[query[1] == c] == c).mean() for c in classes if (query[1] == c).any()]))


class Statistics(Run):
    """No encoder: mean and sd of every channel of a window; nothing is trained, so all people can be judged.

    Args:
        folder: of any run, for its transform and its cuts.
        new: the new device.
        half: 0 or 1: these people are judged, and settings are chosen on the others.
    """

    def __init__(self, folder: Path, new: str, half: int) -> None:
        super().__init__(folder, new)
        self.balance = 0.5
        self.tested = {str(n) for n in range(1, 24) if n % 2 == half}
        alone = {}
        for self.penalty in (0.003, 0.03, 0.3):  # the one that is best for shots alone, for all rows
            asked = [a for _, new_, old in self.people(tested=False) for a in self.episodes(new_, old, False, 2)]
            alone[self.penalty] = sum(sum(answers(self, one, None, 0.0, history=False)) for one in asked)
        self.penalty = max(alone, key=lambda key: alone[key])

    def features(self, x: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        """Mean and sd of every channel, (n, 24)."""
        inputs = self.work.transform.apply(x, fitted, None).astype(np.float64)
        return np.concatenate([inputs.mean(2), inputs.std(2)], 1)


def answers(run: Run, asked: Asked, prior: GaussianHead | None, weight: float, history: bool = True) -> list[float]:
    """Balanced accuracy with 1, 3 and 5 shots, of a history as it is (no prior) or mapped."""
    z, y = asked.history
    found = []
    if history and prior is not None:
        z = map_features(prior, *asked.pairs, z)
    for k in SHOTS:
        rows = np.sort(np.concatenate([np.flatnonzero(asked.shots[1] == c)[:k] for c in np.unique(asked.shots[1])]))
        classes, n = np.unique(asked.shots[1]), float(len(rows))
        parts = [(asked.shots[0][rows], asked.shots[1][rows], n), *([(z, y, weight * n)] if history else [])]
        found.append(run.judged(parts, asked.query, classes))
    return found


def priors(
    run: Run, row: str, pairs: float, people: list[tuple[np.ndarray, np.ndarray]], asked: Asked
) -> GaussianHead | None:
    """The belief about a person's map that a row begins with."""
    if row.startswith("raw"):
        return None
    return own_map(asked.pairs[0], pairs) if "by own" in row else population_map(people, pairs)


def settings_of(run: Run, row: str, people: list[tuple[np.ndarray, np.ndarray]], at_once: bool) -> tuple[float, float]:
    """What does best on people in meta-training, each of whom is left out of the maps (two episodes each)."""
    total: dict[tuple[float, float], float] = defaultdict(float)
    for number, (_, new, old) in enumerate(run.people(tested=False)):
        others = people[:number] + people[number + 1 :]
        for asked in run.episodes(new, old, at_once, 2):
            for pairs, weight in GRID:
                total[pairs, weight] += sum(answers(run, asked, priors(run, row, pairs, others, asked), weight))
    return max(total, key=lambda key: (total[key], key))


def measure(run: Run, at_once: bool, figures: Figures, chosen: dict[str, list[tuple[float, float]]]) -> None:
    """Add every row's figures on the people held out."""
    people, crowd = run.training_pairs(), run.population()
    best = {row: settings_of(run, row, people, at_once) for row in ROWS[2:]}
    for row, setting in best.items():
        chosen[row].append(setting)
    for label, new, old in run.people(tested=True):
        for asked in run.episodes(new, old, at_once, 8):
            for row in ROWS:
                if row == ROWS[0]:
                    own = [run.judged([(*crowd, float(len(crowd[0])))], asked.query, np.unique(asked.shots[1]))] * len(
                        SHOTS
                    )
                elif row == ROWS[1]:
                    own = answers(run, asked, None, 0.0, history=False)
                else:
                    pairs, weight = best[row]
                    own = answers(run, asked, priors(run, row, pairs, people, asked), weight)
                for k, value in zip(SHOTS, own, strict=True):
                    figures[row, k, label].append(value)


def table(figures: Figures) -> Iterator[str]:
    """Rows: mean over people; the difference from K shots alone, how many people gain and lose, Wilcoxon's p."""
    people = sorted({label for _, _, label in figures}, key=int)
    yield "| | " + " | ".join(f"K = {k}" for k in SHOTS) + " |\n|---|" + "---|" * len(SHOTS)
    for row in ROWS:
        cells = []
        for k in SHOTS:
            own, alone = (np.array([np.mean(figures[name, k, p]) for p in people]) for name in (row, ROWS[1]))
            gain = own - alone
            cell = f"{own.mean():.3f}"
            if row != ROWS[1] and gain.any():
                p = wilcoxon(gain, method="exact" if (gain != 0).all() else "approx").pvalue
                cell += (
                    f" ({gain.mean():+.3f}; {(gain > 0).sum()} of {len(people)} up, {(gain < 0).sum()} down; p {p:.2g})"
                )
            cells.append(cell)
        yield f"| {row} | " + " | ".join(cells) + " |"


def folds(base_people: list[str], everybody: list[str]) -> list[list[str]]:
    """The configuration's six people, then the others, drawn by number."""
    rest = [p for p in everybody if p not in base_people]
    order = [rest[i] for i in generator(0, "folds").permutation(len(rest))]
    return [base_people, *(sorted(order[i::3], key=int) for i in range(3))]


def main() -> None:
    """Train what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--to", nargs="*", default=list(CONFIGS))
    parser.add_argument("--folds", nargs="*", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--plain", nargs="*", type=int, default=[0, 1], help="0: R2D2, 1: without an encoder")
    args = parser.parse_args()
    for new in args.to:
        path = Path(__file__).parents[1] / "configs" / "recorded" / f"{CONFIGS[new]}.toml"
        config = read_suite(path).configs["r2d2"]
        sets = folds(held_out(config, 0), [str(n) for n in range(1, 24)])
        runs = []
        for seed, fold in product(args.seeds, args.folds):
            people = str(sets[fold]).replace("'", '"')
            own = read_suite(path, [f"run.seed={seed}", *([f"split.test_users={people}"] if fold else [])]).configs[
                "r2d2"
            ]
            runs.append(finished(own, args.out / path.stem / (f"fold{fold}" if fold else "0") / "r2d2" / str(seed)))
        if args.train_only:
            continue
        for plain, at_once in product(map(bool, args.plain), (False, True)):
            figures: Figures = defaultdict(list)
            chosen: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for made in [Statistics(runs[0], new, half) for half in (0, 1)] if plain else [Run(f, new) for f in runs]:
                measure(made, at_once, figures, chosen)
            what = "no encoder, all people" if plain else f"R2D2, folds {args.folds}, seeds {args.seeds}"
            worn = "the history is of the shots' executions" if at_once else "both worn in half of the executions"
            print(f"\nto {new}, {worn}; {what}\n")
            print("\n".join(table(figures)), flush=True)
            print({row: sorted(set(settings)) for row, settings in chosen.items()}, flush=True)


if __name__ == "__main__":
    main()
