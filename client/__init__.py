"""What runs on a device: the ClientApp, the executor, the wire format, state between rounds, local privacy.

For an app of Flower's own: ``from metapulse.client import meta_app``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ == "client":
    raise ImportError("client is now metapulse.client", name="client")

if TYPE_CHECKING:
    from metapulse.client.own_app import meta_app

__all__ = ["meta_app"]


def __getattr__(name: str) -> Any:
    """``meta_app``, imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.own_app"), name)
