"""Readers of export files, one vendor per file. How to write one: base.py."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from metapulse.record.readers.base import Reader


@cache
def readers() -> tuple[Reader, ...]:
    """Every reader: the ``READER`` of each module of this folder, by name."""
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    found = [module.READER for module in modules if hasattr(module, "READER")]
    return tuple(sorted(found, key=lambda reader: reader.name))
