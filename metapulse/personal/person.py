"""A person's model: the population's start, what the person's own record has taught since, and how sure it is.

    folder/person.json           recipe, names of model and transform, card
    folder/person.safetensors    encoder, population's start, belief over the head, state of the intervals
    folder/map/                  map of the old device, where there is one

It knows one device, the one the person wears now, and needs neither the run nor a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metapulse.errors import ConfigError, DataError, RunError
from metapulse.files import write_atomic
from metapulse.gaussian_head import GaussianHead
from metapulse.migration.base import Map, load_map
from metapulse.personal.conformal import Conformal, pack, unpack
from metapulse.personal.features import FeatureMap
from metapulse.personal.past import Devices
from metapulse.personal.start import PopulationStart
from metapulse.personal.walk import Forecasts, Origin, PersonState, refreshed_at, walk
from metapulse.record.recipes.base import Questions, Recipe, device_rows, make_recipe
from metapulse.sealed import read_tensors, sealed_json, unsealed_json

if TYPE_CHECKING:
    import polars as pl

    from metapulse.personal.explain import Explanation

VERSION = 3
FACTS, TENSORS, MAP = "person.json", "person.safetensors", "map"
HEAD = ("mean", "covariance", "noise")  # parts of a belief over the head


@dataclass(frozen=True)
class Abstention:
    """When a person's model says that it does not know.

    Args:
        outcomes: own outcomes that a forecast needs behind it.
        seen: share of a window that must have been measured.
    """

    outcomes: int = 3
    seen: float = 0.5

    def reasons(self, questions: Questions, made: Forecasts, unlike: float) -> np.ndarray:
        """Why each forecast is withheld, "" where it is not: the first of these that holds."""
        tests = (
            (questions.seen < self.seen, f"less than {self.seen:.0%} of the window was measured"),
            (made.outcomes < self.outcomes, f"fewer than {self.outcomes} outcomes of this device so far"),
            (made.unlike > unlike, "unlike any window of the population"),
            (~np.isfinite(made.promised), "no interval holds: too many of the last forecasts missed"),
        )
        said = np.full(len(questions), "", object)
        for holds, why in reversed(tests):
            said[holds] = why
        return said


@dataclass(frozen=True)
class PersonModel:
    """Forecasts for one person with one device.

    Args:
        recipe: what is forecast, as a name or a table of name and settings.
        features: encoder and transform, fixed.
        start: what is known of the population; ``start.prior`` is the belief before anything was known of the person.
        origins: belief after the old device's history, before the new device's own outcomes; by what could be known of
            the history when, the first of them ``ALWAYS``.
        belief: over the head now.
        interval: conformal state now.
        map: of the old device's readings into the new one's; None: there is none.
        card: what it was made of and how well it did, plain values (docs/personal.md).
        abstention: when it withholds a forecast.
    """

    recipe: str | Mapping[str, Any]
    features: FeatureMap
    start: PopulationStart
    origins: tuple[Origin, ...]
    belief: GaussianHead
    interval: Conformal
    map: Map | None
    card: Mapping[str, Any]
    abstention: Abstention = Abstention()

    @property
    def prior(self) -> GaussianHead:
        """The population's belief over heads."""
        return self.start.prior

    @cached_property
    def made(self) -> Recipe:
        """The recipe."""
        return make_recipe(self.recipe)

    @property
    def state(self) -> PersonState:
        """What changes as the person is watched."""
        return PersonState(self.belief, self.interval)

    @property
    def fresh(self) -> PersonState:
        """The state before the new device's first outcome."""
        own = replace(self.interval, own=np.empty(0), level=self.interval.miss, judged=0, missed=0)
        return PersonState(self.origins[0].belief, own)

    def questions(self, record: str | Path, device: str = "") -> Questions:
        """Every forecast that a record allows for the model's device.

        Raises:
            DataError: the record lacks the device, or what the recipe needs.
        """
        return questions_of(Path(record), self.made, device or str(self.card["device"]))[1]

    def walk(self, questions: Questions) -> tuple[Forecasts, PersonState]:
        """Forecasts of each moment from what was known then, and the state after.

        Moments up to ``card["adapted_until"]`` are walked again from before the first outcome; later ones go on from
        the belief that was saved, and learn as outcomes come.
        """
        new = questions.time > int(self.card["adapted_until"])
        again, then = walk(self.start, self.features, self.fresh, questions.where(~new), later=self.origins[1:])
        after, now = walk(self.start, self.features, self.state, questions.where(new))
        count = float(self.card["outcomes"])
        after = replace(after, outcomes=after.outcomes + count)
        parts = {k: np.concatenate([getattr(again, k), getattr(after, k)]) for k in Forecasts.__dataclass_fields__}
        return Forecasts(**parts), now if new.any() else then

    def predict(self, record: str | Path, device: str = "") -> pl.DataFrame:
        """Forecasts for every moment of a record, the last ones of times still to come.

        Args:
            record: "person.parquet".
            device: another device model of the record; "": the model's own.

        Returns:
            ``time`` of the forecast and ``due``, the time it is for (UTC); ``value``, ``lower`` and ``upper`` in the
            metric's unit, null where it abstained; ``abstained`` and ``reason``; and ``came``, the value then, null
            where it has not come.

        Raises:
            DataError: the record cannot be read, or lacks what the recipe needs.
        """
        asked = self.questions(record, device)
        made, _ = self.walk(asked)
        return frame(asked, made, self.abstention.reasons(asked, made, self.start.unlike))

    def explain(self, record: str | Path, at: str = "", device: str = "") -> Explanation:
        """What moved one forecast, and whose experience it rests on.

        It is explained with the head of that moment, which knew nothing of what came later.

        Args:
            record: "person.parquet".
            at: moment of the forecast, ISO 8601, UTC unless it says; "": the last one.
            device: another device model of the record; "": the model's own.

        Raises:
            DataError: the record cannot be read, or no forecast was made by then.
        """
        from metapulse.personal.explain import explained, moment

        asked = self.questions(record, device)
        row, until = moment(asked.time, at), int(self.card["adapted_until"])
        then = asked.where(np.arange(len(asked)) <= row)
        before = 0 if then.time[-1] <= until else int((then.time <= until).sum())  # of the walk that it belongs to
        refreshed = then.time[before + refreshed_at(row - before)]
        known = replace(then, y=np.where(then.due <= refreshed, then.y, np.nan))
        at_the_time = tuple(one for one in self.origins if one.known_from <= refreshed)
        made, state = replace(self, origins=at_the_time).walk(known)
        told_of = frame(then, made, self.abstention.reasons(then, made, self.start.unlike))
        found = explained(self.features, self.start, state.belief, self.made, then.x[-1], then.unit)
        facts = {**told_of.row(-1, named=True), "base": float(then.base[-1]), **found.facts}
        return replace(found, facts=facts)

    def save(self, folder: str | Path) -> Path:
        """Write the model's folder; one of the model that is there is replaced.

        Raises:
            RunError: the folder cannot be written, or holds something else.
        """
        from safetensors.torch import save

        out = Path(folder)
        check_folder(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            data = save({name: t.detach().clone().contiguous() for name, t in self._tensors().items()})
            if self.map is not None:
                self.map.save(out / MAP)
            write_atomic(out / TENSORS, data)
            facts = {
                "version": VERSION,
                "recipe": self.recipe,
                "features": self.features.facts(),
                "start": dict(self.start.facts),
                "map": "" if self.map is None else _digest(out / MAP / "map.json"),
                "abstention": {"outcomes": self.abstention.outcomes, "seen": self.abstention.seen},
                "card": dict(self.card),
                "tensors": blake2b(data, digest_size=16).hexdigest(),
            }
            write_atomic(out / FACTS, sealed_json(facts))
        except OSError as error:
            raise RunError(f"{out}: cannot be written: {error.strerror or error}") from None
        return out

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"start.{name}": t for name, t in self.start.tensors().items()}
        tensors |= {f"params.{name}": t for name, t in self.features.params.items()}
        tensors |= {f"interval.{name}": torch.from_numpy(a) for name, a in pack(self.interval).items()}
        beliefs = [one.belief for one in self.origins]
        tensors |= {f"origins.{part}": torch.cat([getattr(one, part) for one in beliefs]) for part in HEAD}
        tensors["origins.known_from"] = torch.tensor([one.known_from for one in self.origins])
        tensors |= {f"belief.{part}": getattr(self.belief, part) for part in HEAD}
        return tensors | {"fitted": torch.from_numpy(self.features.fitted)}

    @classmethod
    def load(cls, folder: str | Path) -> PersonModel:
        """The model that ``save`` wrote.

        Raises:
            DataError: there is none, it is damaged, or of another version.
        """
        path = Path(folder)
        try:
            facts = unsealed_json((path / FACTS).read_bytes(), VERSION)
        except FileNotFoundError:
            raise DataError(
                f"{path}: no person's model ({FACTS} is missing); metapulse personalize makes one"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path / FACTS}: damaged ({error})") from None
        tensors, _ = read_tensors(path / TENSORS)
        try:
            if _digest(path / TENSORS) != facts["tensors"]:
                raise DataError(f"{path / TENSORS}: damaged, or of another model than {FACTS}")
            past = load_map(path / MAP) if facts["map"] else None
            if past is not None and _digest(path / MAP / "map.json") != facts["map"]:
                raise DataError(f"{path / MAP}: of another model than {FACTS}")
            given = {name: _part(tensors, f"{name}.") for name in ("start", "params", "interval", "origins", "belief")}
            return cls(
                facts["recipe"],
                FeatureMap.of_facts(facts["features"], given["params"], tensors["fitted"].numpy()),
                PopulationStart.of_tensors(given["start"], facts["start"]),
                _origins(given["origins"]),
                GaussianHead(**given["belief"]),
                unpack({name: t.numpy() for name, t in given["interval"].items()}),
                past,
                facts["card"],
                Abstention(**facts["abstention"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise DataError(f"{path}: a damaged person's model ({type(error).__name__}: {error})") from None


def check_folder(folder: str | Path) -> None:
    """Refuse a place where a person's model cannot be written.

    Raises:
        RunError: it is there already and no person's model.
    """
    out = Path(folder)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / FACTS).exists())):
        raise RunError(f"{out}: is there already and no person's model; name another folder")


def _digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _origins(tensors: Mapping[str, Tensor]) -> tuple[Origin, ...]:
    times, heads = tensors["known_from"].tolist(), GaussianHead(*(tensors[part] for part in HEAD))
    return tuple(Origin(time, heads.of(torch.tensor([row]))) for row, time in enumerate(times))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def questions_of(
    record: Path, recipe: Recipe, device: str = "", devices: Devices | None = None
) -> tuple[str, Questions]:
    """Device model and questions of a record: of the one asked for, or of the one that was worn last.

    Args:
        record: "person.parquet".
        recipe: what is forecast.
        device: its model; "": the one that was worn last.
        devices: the record's rows, where they have been read; None: they are read.

    Raises:
        DataError: the record lacks it, or what the recipe needs.
    """
    devices = device_rows(record, recipe)[0] if devices is None else devices
    found = {name: recipe.questions(rows) for name, rows in devices.items()}
    if device:
        if device not in found:
            there = ", ".join(found) or f"nothing of {recipe.forecasts}"
            raise DataError(f"{record}: no {device!r} with {recipe.forecasts}; it has {there}")
        found = {device: found[device]}
    if not found:
        raise DataError(f"{record}: no {recipe.forecasts} that can be used")
    able = {name: asked for name, asked in found.items() if len(asked)}
    if not able:
        lacks = "; ".join(f"{name}: {asked.lacks}" for name, asked in found.items())
        raise DataError(f"{record}: too little to forecast from ({lacks})")
    return max(able.items(), key=lambda one: int(one[1].time[-1]))


def frame(questions: Questions, made: Forecasts, reasons: np.ndarray) -> pl.DataFrame:
    """Forecasts as a table, in the metric's unit; see ``PersonModel.predict``."""
    import polars as pl

    half = made.promised * made.scale
    instant = pl.Datetime("us", "UTC")
    table = pl.DataFrame(
        {
            "time": pl.Series(questions.time).cast(instant),
            "due": pl.Series(questions.due).cast(instant),
            "value": questions.value(made.mean),
            "lower": questions.value(made.mean - half),
            "upper": questions.value(made.mean + half),
            "abstained": reasons != "",
            "reason": pl.Series(reasons.tolist(), dtype=pl.String),
            "came": questions.value(questions.y),
        }
    )
    shown = pl.when("abstained").then(None)
    return table.with_columns(
        *(shown.otherwise(pl.col(name)).alias(name) for name in ("value", "lower", "upper")),
        came=pl.col("came").fill_nan(None),
    )
