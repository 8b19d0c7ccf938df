"""Recipes: what is learned from a record. Each makes samples of one person's rows of one device, no population needed.

from metapulse.record.recipes import make_recipe, take_record

taken = take_record(Path("person.parquet"), make_recipe("glucose_30min"))
taken["Dexcom G6"].samples
"""

from __future__ import annotations

from metapulse.record.recipes.base import Recipe, Taken, make_recipe, take_record

__all__ = ["Recipe", "Taken", "make_recipe", "take_record"]
