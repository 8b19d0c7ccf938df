"""Which work a specification asks for: ordinary rounds, or the question that comes before them."""

from __future__ import annotations

from collections.abc import Callable

from metapulse.client.scaling import Scaling
from metapulse.client.spec import WorkSpec
from metapulse.client.work import Work


def make_work(spec: WorkSpec, ordinary: Callable[[WorkSpec], Work] = Work) -> Work:
    """The work of a specification.

    Args:
        spec: of an instruction.
        ordinary: makes the work of ordinary rounds; a simulated population has one of its own.

    Raises:
        ConfigError: it names something unknown.
    """
    return Scaling(spec) if spec.transform.get("name") == "global" else ordinary(spec)
