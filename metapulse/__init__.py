"""metapulse: federated meta-learning for wearables.

    import metapulse as mp

    print(mp.methods())  # what there is, with its papers
    result = mp.run("mine.toml", out="runs/mine", run={"rounds": 50})
    result.scores  # the last meta-test
    model = mp.load("runs/mine").model(person="17")  # θ, adapted to a person's own samples
    model.predict(x)

The names in ``__all__`` are the public API, with the packages ``metapulse.strategies`` (for a Flower app of one's own)
and ``metapulse.data``, ``metapulse.methods`` and ``metapulse.models`` (to add to). They are loaded when they are first
used: this file loads neither PyTorch nor Flower nor Ray, and the library below it does without the latter two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metapulse import migration
    from metapulse.errors import ConfigError, DataError, MetapulseError, RunError
    from metapulse.listing import methods
    from metapulse.personal.person import PersonModel
    from metapulse.rows import Rows
    from metapulse.sim.api import compare, load, report, resume, run
    from metapulse.sim.personal import PersonalModel
    from metapulse.sim.personalize import personalize
    from metapulse.sim.results import ComparisonResult, Result

    __version__: str

__all__ = [
    "ComparisonResult",
    "ConfigError",
    "DataError",
    "MetapulseError",
    "PersonModel",
    "PersonalModel",
    "Result",
    "Rows",
    "RunError",
    "__version__",
    "compare",
    "load",
    "methods",
    "migration",
    "personalize",
    "report",
    "resume",
    "run",
]

_MODULES = {
    "errors": ("ConfigError", "DataError", "MetapulseError", "RunError"),
    "personal.person": ("PersonModel",),
    "rows": ("Rows",),
    "sim.api": ("compare", "load", "report", "resume", "run"),
    "sim.personal": ("PersonalModel",),
    "sim.personalize": ("personalize",),
    "sim.results": ("ComparisonResult", "Result"),
}
_PACKAGES = ("migration",)
_HOME = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, from the module that has it (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version(__name__)
    elif name == "methods":  # the package itself, which can be called
        value = import_module(f"{__name__}.methods")
    elif name in _PACKAGES:
        value = import_module(f"{__name__}.{name}")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
