"""The population's prior over maps: for every amount of overlap the kind that did best on people held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.errors import DataError
from metapulse.files import write_atomic
from metapulse.gaussian_head import GaussianHead
from metapulse.migration.base import VERSION, MapCard, read_card
from metapulse.migration.errors_in_time import NO_ERRORS, ErrorProcess
from metapulse.migration.held_out import HeldOut
from metapulse.migration.learned import (
    LearnedMap,
    evidence_of,
    evidence_values,
    head_arrays,
    head_of,
    terms_of,
)
from metapulse.migration.linear import OVERLAP_ROWS, Evidence, believe, take_rows
from metapulse.migration.pairs import Paired, read_pairs
from metapulse.migration.terms import Terms
from metapulse.sealed import sealed_json, unsealed_json

POOR = 0.25  # share of the new readings' variance below which a map is refused: a correlation of a half


@dataclass(frozen=True)
class Choice:
    """A kind of map for an amount of overlap.

    Args:
        hours: of overlap, near which it is taken.
        terms, evidence, head: the kind, and the prior over its weights.
        held_out: how it did on people held out; None: it could not be checked.
        compared: what else was tried and what that came to, in words.
    """

    hours: float
    terms: Terms
    evidence: Evidence
    head: GaussianHead
    held_out: HeldOut | None = None
    compared: str = ""

    @property
    def name(self) -> str:
        """The kind, in words."""
        return kind_name(self.terms, self.evidence)


def kind_name(terms: Terms, evidence: Evidence) -> str:
    """A kind of map, in words: "window+slow, whitened"."""
    counted = "whitened" if evidence.whitens else f"{evidence.every:g} h count once" if evidence.every else "all count"
    return f"{'+'.join(terms.names) or 'line'}, {counted}"


@dataclass(frozen=True)
class MapPrior:
    """What a population, or the literature, says of the map from one device to another.

    Args:
        choices: by hours of overlap, ascending; the first is for none.
        card: of the population.
        factor: of half a band, where it could not be checked on people.
        errors: of people's maps over time; of none where there was no population.
    """

    choices: tuple[Choice, ...]
    card: MapCard
    factor: float = 1.0
    errors: ErrorProcess = NO_ERRORS

    def personal(self, overlap: Any = None) -> LearnedMap:
        """A person's map.

        Args:
            overlap: table of one person's ``time``, ``old`` and ``new``; None, or one without pairs: the population's
                map.

        Raises:
            DataError: the table lacks a column, is of several people, or in another unit.
        """
        people = {} if overlap is None else read_pairs(overlap, "the overlap", self.card.metric).people
        if len(people) > 1:
            raise DataError(f"the overlap is of {len(people)} people ({', '.join(list(people)[:5])}): expected one")
        own = next(iter(people.values()), Paired(*(np.empty(0),) * 3))
        step = float(np.median(np.diff(own.hours))) if len(own) > 1 else 0.0
        seen = own.span + step if len(own) else 0.0
        choice = min(self.choices, key=lambda one: abs(np.log1p(one.hours) - np.log1p(seen)))
        belief = believe(choice.head, take_rows(choice.terms, [own], OVERLAP_ROWS), choice.evidence)
        factor = choice.held_out.factor if choice.held_out else self.factor
        made = LearnedMap(self.card, choice.terms, choice.evidence, belief, factor)
        return replace(made, card=self._card(choice, made, own))

    def _card(self, choice: Choice, made: LearnedMap, own: Paired) -> MapCard:
        """What the person's map rests on."""
        known, notes = choice.held_out, list(self.card.notes)
        weights = made.belief.head.mean[0, :, 0].numpy()
        if (lag := choice.terms.lag_min(weights)) is not None and abs(lag) >= 1.0:
            notes.append(f"the new device {'trails' if lag > 0 else 'leads'} the old by about {abs(lag):.0f} min")
        explained, refused = (known.explained if known else _explained(made, own)), self.card.refused
        if not known and explained < POOR:
            refused = (
                f"the old readings account for {100 * max(explained, 0.0):.0f} % of the variance of the new ones, "
                f"and a map needs {100 * POOR:.0f} %"
            )
        elif known and len(own) and _explained(made, own) < POOR:
            notes.append("this person's overlap says that the old readings tell little of the new ones")
        return replace(
            self.card,
            kind=choice.name,
            overlap=len(own),
            overlap_hours=own.span,
            rmse=known.rmse if known else None,
            rmse_identity=known.rmse_identity if known else None,
            coverage=known.coverage if known else None,
            explained=explained,
            chosen=choice.compared,
            refused=refused,
            notes=tuple(notes),
        )

    def save(self, folder: str | Path) -> None:
        """Write ``prior.json`` and ``prior.safetensors``.

        Raises:
            RunError: the folder cannot be written.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {}
        choices = []
        for index, one in enumerate(self.choices):
            drift = one.evidence.drift
            parts = head_arrays(one.head) | ({"drift": drift.logs.numpy()} if drift is not None else {})
            arrays |= {f"{index}.{name}": np.ascontiguousarray(part) for name, part in parts.items()}
            held = asdict(one.held_out) if one.held_out else None
            values = {"hours": one.hours, "terms": asdict(one.terms), "held_out": held, "compared": one.compared}
            choices.append(values | evidence_values(one.evidence))
        text = {"version": VERSION, "card": asdict(self.card), "factor": self.factor, "choices": choices}
        text["errors"] = self.errors.facts()
        data = save(arrays)
        write_atomic(folder / "prior.safetensors", data)
        write_atomic(folder / "prior.json", sealed_json(text, data))


def load_prior(folder: str | Path) -> MapPrior:
    """The prior that ``MapPrior.save`` wrote.

    Raises:
        DataError: there is none, it is damaged, or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    folder = Path(folder)
    try:
        data = (folder / "prior.safetensors").read_bytes()
        text = unsealed_json((folder / "prior.json").read_bytes(), VERSION, data)
        arrays = load(data)
        choices = tuple(_choice(index, one, arrays) for index, one in enumerate(text["choices"]))
        if not choices:
            raise ValueError("no choices")
        errors = ErrorProcess.of_facts(text["errors"])
        return MapPrior(choices, read_card(text["card"]), float(text["factor"]), errors)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        said = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{folder}: no prior can be read from it ({' '.join(str(said).split())[:200]})") from None


def _choice(index: int, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Choice:
    parts = {name.partition(".")[2]: part for name, part in arrays.items() if name.startswith(f"{index}.")}
    terms, held = terms_of(values["terms"]), values["held_out"]
    evidence = evidence_of(values, parts.get("drift"))
    known = HeldOut(**held) if held else None
    return Choice(float(values["hours"]), terms, evidence, head_of(parts, terms.width), known, str(values["compared"]))


def _explained(made: LearnedMap, own: Paired) -> float:
    """Variance of what the map says of the old readings, as a share of that with its errors.

    The old readings vary as the person's own do, from ten of them on, and before as the population's.
    """
    head, terms = made.belief.head, made.terms
    spread = float(np.std(own.old) / terms.scale) if len(own) >= 10 else 1.0
    slope = float(head.mean[0, 1 : 1 + terms.slopes, 0].mean())
    return (slope * spread) ** 2 / ((slope * spread) ** 2 + float(head.noise[0, 0]) * made.factor**2)
