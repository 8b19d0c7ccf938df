"""Learners, one paper per file; each a frozen dataclass of hyper-parameters with pure methods.

The package can be called: ``mp.methods()`` lists what is in it. A function of the package's name in ``metapulse`` would
be lost as soon as one of its modules is imported, because Python then puts the package there.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metapulse.rows import Rows


class _Methods(ModuleType):
    def __call__(self) -> Rows:
        from metapulse.listing import methods

        return methods()


sys.modules[__name__].__class__ = _Methods
