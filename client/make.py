"""The executor of a specification: for ordinary rounds, or for the moments that are asked for before them."""

from __future__ import annotations

from collections.abc import Callable

from metapulse.client.executor import ClientExecutor
from metapulse.client.scaling import ScalingExecutor
from metapulse.client.spec import ClientConfig


def make_executor(
    spec: ClientConfig, ordinary: Callable[[ClientConfig], ClientExecutor] = ClientExecutor
) -> ClientExecutor:
    """The work of a specification.

    Args:
        spec: of an instruction.
        ordinary: makes the work of ordinary rounds; a simulated population has one of its own.

    Raises:
        ConfigError: it names something unknown.
    """
    return ScalingExecutor(spec) if spec.transform.get("name") == "global" else ordinary(spec)
