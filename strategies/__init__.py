"""What the server does with replies: validation, aggregation, outer updates, Flower strategies.

For an app of Flower's own: ``from metapulse.strategies import FedReptile``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ == "strategies":
    raise ImportError("strategies is now metapulse.strategies", name="strategies")

if TYPE_CHECKING:
    from metapulse.strategies.flower.meta_sgd import FedMetaSGD
    from metapulse.strategies.flower.methods import FedAdaptive, FedMAML, FedReptile, FedRobust
    from metapulse.strategies.flower.outer import FedOuter
    from metapulse.strategies.flower.private import FedPrivate

__all__ = ["FedAdaptive", "FedMAML", "FedMetaSGD", "FedOuter", "FedPrivate", "FedReptile", "FedRobust"]

_MODULES = {"FedMetaSGD": "meta_sgd", "FedOuter": "outer", "FedPrivate": "private"}  # the others: methods


def __getattr__(name: str) -> Any:
    """A strategy, imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.flower.{_MODULES.get(name, 'methods')}"), name)
