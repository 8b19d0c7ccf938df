"""One vendor's format a file: what it can say, and how an export of it looks. ``base.py`` says how to write one."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType

from metapulse.sim.fake.formats.base import Format


@cache
def formats() -> MappingProxyType[str, Format]:
    """Every format by its name: the ``FORMAT`` of the modules in this folder."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    found = (getattr(module, "FORMAT", None) for module in modules)
    return MappingProxyType({format.name: format for format in found if format is not None})
