"""Every error metapulse raises on purpose.

    MetapulseError
    ├── ConfigError       a setting: unknown key, wrong type, out of range
    ├── DataError         a data set, an export file, or one client's samples
    ├── ClientError       work that failed on one client; carries round, client, stage
    ├── ReplyError        a reply that failed its checks; carries the reason
    ├── InstructionError  an instruction that a device refuses; carries the reason
    ├── EngineError       an engine that could not run (workers lost, no nodes)
    │   └── NoResultError a run whose rounds came to nothing
    └── RunError          a run folder: missing, damaged, or of another configuration

A message is one line. It names what was wrong, the offending value, and what is allowed.
"""

from __future__ import annotations

__all__ = [
    "ClientError",
    "ConfigError",
    "DataError",
    "EngineError",
    "InstructionError",
    "MetapulseError",
    "NoResultError",
    "ReplyError",
    "RunError",
]

SHOWN = 300  # characters of a value in a message


class MetapulseError(Exception):
    """Base of every error that metapulse raises on purpose."""


class ConfigError(MetapulseError):
    """A setting is unknown, of the wrong type, or out of range.

    Args:
        key: dotted name of the setting, as in the TOML file.
        value: what was given.
        allowed: what would have been right, in words.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key} = {_shown(value)}: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, object, str]]:
        return type(self), (self.key, self.value, self.allowed)


def _shown(value: object) -> str:
    try:
        said = repr(value)
    except ValueError:  # Python writes no whole number of over 4300 digits
        return "a number of too many digits"
    return said if len(said) <= SHOWN else f"{said[: SHOWN // 2]}… ({len(said)} characters)"


class DataError(MetapulseError):
    """A data set, an export file, or one client's samples cannot be used as asked."""


class ClientError(MetapulseError):
    """Work failed on one client; the round goes on without it.

    Args:
        round: federated round, from 1.
        client: partition id of the client.
        stage: what it was doing: "episode", "train", "evaluate".
        reason: the underlying problem, one line.
    """

    def __init__(self, round: int, client: int, stage: str, reason: str) -> None:
        super().__init__(f"round {round}, client {client}, {stage}: {reason}")
        self.round, self.client, self.stage, self.reason = round, client, stage, reason

    def __reduce__(self) -> tuple[type[ClientError], tuple[int, int, str, str]]:
        return type(self), (self.round, self.client, self.stage, self.reason)


class ReplyError(MetapulseError):
    """A client's reply failed its checks and is dropped."""


class InstructionError(MetapulseError):
    """A device refuses an instruction, or could not follow it; the reason is one line."""


class EngineError(MetapulseError):
    """An engine could not run the messages it was given."""


class NoResultError(EngineError):
    """A run that came to nothing: no usable reply, every round given up, or no client could be judged."""


class RunError(MetapulseError):
    """A run folder is missing, damaged, or belongs to another configuration."""
