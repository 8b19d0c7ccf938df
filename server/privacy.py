"""The privacy budget of a run: fixed before the first round, charged before every round."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from metapulse.client.privacy import secret
from metapulse.data import id_difference, look_alike
from metapulse.errors import ConfigError, RunError
from metapulse.files import sync_folder
from metapulse.registry import TRANSFORMS
from metapulse.server.client_sampler import ClientSampler, over_selected
from metapulse.server.config import Config
from metapulse.server.files import is_sealed, read_json, sealed
from metapulse.strategies.privacy.accounting import Release
from metapulse.strategies.privacy.plan import PrivacyPlan, complete_plan
from metapulse.strategies.registry import STRATEGIES
from metapulse.transforms import Global

LEDGER = "privacy.jsonl"
BEGUN = "privacy-begun"  # the event that says what the ledger's last line says: how many rounds have begun


def make_plan(config: Config, sampler: ClientSampler) -> PrivacyPlan | None:
    """The plan of a configuration; None without privacy.

    Raises:
        ConfigError: the run would spend more than it may.
    """
    if not config.privacy.on:
        return None
    if pair := look_alike(sampler.labels, case=True):
        told = f"two people, or one twice? They differ in {id_difference(pair)} alone, and privacy is a person's"
        raise ConfigError("source", list(pair), f"{told}: give each one id")
    cohort, people = STRATEGIES.make(over_selected(config)).cohort, config.privacy.people or sampler.people
    transform = TRANSFORMS.make(config.transform)
    scaled = min(transform.people, people) if isinstance(transform, Global) else 0
    return complete_plan(config.privacy, cohort, people, config.run.rounds, scaled)


class Budget:
    """Counts the rounds that people's data have been in.

    A round counts from the moment it begins: one that a kill takes away has been sent to devices, and is done again
    with other people and other noise. A line of the ledger says what is released; it is on disk before anything
    leaves, no line is ever changed, and no checkpoint turns them back.

    Args:
        data: digest of the data; "" where none is known here.
        note: writes an event, once the ledger has its line: a line that is lost later is missed.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        sampler: ClientSampler,
        folder: Path,
        data: str = "",
        note: Callable[..., object] = lambda *told, **facts: None,
    ) -> None:
        self.plan, self._sampler, self._ledger = plan, sampler, folder / LEDGER
        seed = plan.settings.noise_seed
        self.secret = secret() if seed < 0 else seed
        self.begun, self._note = 0, note
        self.scales = 0  # how often people were asked for their scale
        self._whole = True  # the ledger ends with a whole line
        about = {"data": data, "who": population(sampler)}
        self._record, self._scale = plan.record() | about, plan.scale_record() | about

    def resume(self, least: int) -> None:
        """Go on counting where the ledger stands.

        Args:
            least: rounds that the checkpoint knows of.

        Raises:
            RunError: the ledger is missing, damaged, knows of fewer rounds than the checkpoint does, or rounds have
                begun under another plan.
        """
        lines = self._lines()
        for place, line in enumerate(lines, 1):
            told = _read(line)
            if told is None:  # cut short by a kill: it began, and what it was to say stands in its neighbours
                continue
            if told.get("begun") != place:
                raise RunError(
                    f"{self._ledger}: line {place} is number {told.get('begun')}; lines are missing or doubled"
                )
            record = self._scale if told.get("round") == 0 else self._record
            if other := [key for key in self._record if told.get(key) != record.get(key)]:
                said = ", ".join(f"{key} was {told.get(key)!r} and is {record.get(key)!r}" for key in other)
                raise RunError(f"{self._ledger}: {len(lines)} rounds have begun under another plan: {said}")
            if not is_sealed(self._ledger, told):
                raise RunError(f"{self._ledger}: line {place} is damaged, or was changed: its checksum does not fit")
        self.scales = sum(1 for told in map(_read, lines) if told is not None and told.get("round") == 0)
        self.begun = len(lines) - self.scales
        if self.begun < least:
            raise RunError(f"{self._ledger} knows of {self.begun} rounds that have begun; at least {least} have")

    def _lines(self) -> list[bytes]:
        """What the ledger says, a line each, the last one perhaps cut short."""
        if (older := self._ledger.with_name("privacy.json")).exists():
            begun = read_json(older)
            raise RunError(f"{older} says {begun} and not what was released; start a new run")
        try:
            content = self._ledger.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"{self._ledger} cannot be read: {error.strerror or error}") from None
        self._whole = not content or content.endswith(b"\n")
        return content.splitlines()

    @property
    def exhausted(self) -> bool:
        """Whether one more round would spend more than the run may."""
        allowed = self.plan.allowed if self.scales < 2 else self.plan.allows(self.scales)
        return allowed is not None and self.begun >= allowed

    def begin(self, round: int, clip: float) -> list[int]:
        """Count a round, then draw its clients.

        Args:
            round: federated round, ≥ 1.
            clip: C of the round.

        Raises:
            RunError: it cannot be counted.
        """
        self._enter(round, clip, self._record)
        self.begun += 1
        self._note(round, BEGUN, begun=self.begun)
        release = self.plan.release
        return self._sampler.persons(self.secret, round, release.cohort, self.plan.settings.sampling, release.people)

    def begin_scale(self, clip: float) -> tuple[list[int], PrivacyPlan, int]:
        """Count the question for people's scale, then draw whom it goes to.

        Args:
            clip: length of an answer at most.

        Returns:
            Partition ids, the plan of this one release, and a secret of its own.

        Raises:
            ConfigError: no round would be left.
            RunError: it cannot be counted.
        """
        assert self.plan.first is not None
        left = self.plan.allowed if not self.scales else self.plan.allows(self.scales + 1)
        if left is not None and left < 1:
            told = f"leaves no round after {self.scales + 1} questions for people's scale"
            raise ConfigError("privacy.epsilon", self.plan.settings.epsilon, told)
        self._enter(0, clip, self._scale)
        self.scales += 1
        first, s = replace(self.plan.first, sigma=self.plan.release.sigma), self.plan.settings
        own = secret() if s.noise_seed < 0 else s.noise_seed + 1
        clients = self._sampler.persons(own, 0, first.cohort, s.sampling, first.people)
        return clients, PrivacyPlan(replace(s, clip=clip, adaptive=False), first, 1), own

    def _enter(self, round: int, clip: float, record: Mapping[str, Any]) -> None:
        count = self.begun + self.scales + 1
        told = {"round": round, "begun": count, **record, "clip": clip}
        line = json.dumps(sealed(self._ledger, told), sort_keys=True)
        try:
            _append(self._ledger, ("" if self._whole else "\n") + line + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self._ledger}: {error.strerror or error}; nothing was sent") from None
        self._whole = True

    def spent(self) -> dict[str, Any]:
        """What has been spent so far, by what the ledger says was released."""
        return self.plan.stated(self.begun, self.scales)


def population(sampler: ClientSampler) -> str:
    """A digest of the published ids of all people of the training; of a large population, of how many there are."""
    told = blake2b(digest_size=16)
    for label in sampler.labels or [str(sampler.people)]:
        told.update(label.encode() + b"\0")
    return told.hexdigest()


def released(folder: Path) -> Counter[Release]:
    """The releases in a run's ledger: each kind of round, and how many of it have begun.

    Raises:
        RunError: there is no ledger, or no whole line in it.
    """
    try:
        lines = [_read(line) for line in (folder / LEDGER).read_bytes().splitlines()]
    except OSError as error:
        raise RunError(f"{folder / LEDGER} cannot be read: {error.strerror or error}") from None
    known = [line for line in lines if line is not None]
    if lines and not known:
        raise RunError(f"{folder / LEDGER} has no whole line")
    counts: Counter[Release] = Counter()
    for line in (one or known[-1] for one in lines):
        sampling: Any = "none" if line["mechanism"] == "local" else line["sampling"]
        counts[Release(line["noise_multiplier"], line["cohort"], line["people"], sampling)] += 1
    return counts


def _read(line: bytes) -> dict[str, Any] | None:
    """A line of the ledger; None for one that was cut short."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _append(path: Path, text: str) -> None:
    """Append to a file and wait until it is on the disk, and the folder knows of the file."""
    fresh = not path.exists()
    with path.open("ab") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    if fresh:
        sync_folder(path.parent)
