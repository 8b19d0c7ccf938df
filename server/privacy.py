"""The privacy budget of a run: settled before the first round, counted before every round, and the end of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from client.errors import RunError
from client.privacy import secret
from server.config import Config
from server.files import read_json, write_json
from server.roster import Roster, over_selected
from strategies.privacy.plan import Plan, settle
from strategies.registry import STRATEGIES

LEDGER = "privacy.json"


def make_plan(config: Config, roster: Roster) -> Plan | None:
    """The plan of a configuration; None without privacy.

    Raises:
        ConfigError: the run would spend more than it may.
    """
    if not config.privacy.on:
        return None
    cohort = STRATEGIES.make(over_selected(config)).cohort
    return settle(config.privacy, cohort, roster.people, config.run.rounds)


class Budget:
    """Counts the rounds that people's data have been in.

    A round counts from the moment it begins: one that a kill takes away has been sent to devices, and is done again
    with other people and other noise. The count is on disk before anything leaves, and no checkpoint turns it back.

    Args:
        plan: of the run.
        roster: draws people.
        folder: of the run.
    """

    def __init__(self, plan: Plan, roster: Roster, folder: Path) -> None:
        self.plan, self._roster, self._ledger = plan, roster, folder / LEDGER
        seed = plan.settings.noise_seed
        self.secret = secret() if seed < 0 else seed
        self.begun = 0

    def resume(self, least: int) -> None:
        """Go on counting where the ledger stands.

        Args:
            least: rounds that the checkpoint knows of.

        Raises:
            RunError: the ledger is missing, damaged, or knows of fewer rounds than the checkpoint does.
        """
        if not least and not self._ledger.exists():
            return
        told = read_json(self._ledger)
        begun = told.get("begun") if isinstance(told, dict) else None
        if not isinstance(begun, int) or begun < least:
            raise RunError(f"{self._ledger} does not say how many rounds have begun; at least {least} have")
        self.begun = begun

    @property
    def exhausted(self) -> bool:
        """Whether one more round would spend more than the run may."""
        return self.plan.allowed is not None and self.begun >= self.plan.allowed

    def begin(self, round: int) -> list[int]:
        """Count a round, then draw its clients."""
        self.begun += 1
        write_json(self._ledger, {"begun": self.begun})
        release = self.plan.release
        return self._roster.persons(self.secret, round, release.cohort, self.plan.settings.sampling, release.people)

    def spent(self) -> dict[str, Any]:
        """What has been spent so far."""
        return self.plan.stated(self.begun)
