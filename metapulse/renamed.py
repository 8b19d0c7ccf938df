"""Old import names and those of today, so that an old name ends with a line that says the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

OLD = ("client", "strategies", "server", "sim")  # packages that were imported by these bare names
IMPORT = re.compile(r"\b(?:from|import)\s+((?:client|strategies|server|sim)(?:\.\w+)*)")


def renamed(module: str) -> str | None:
    """The name of today of a module with an old name; None where the name is none of ours.

    Args:
        module: dotted, as in ``client.data``.
    """
    top, _, rest = module.partition(".")
    if top not in OLD:
        return None
    for name in _candidates(top, rest):
        try:
            if find_spec(name) is not None:
                return name
        except ModuleNotFoundError:
            continue
    return None


def _candidates(top: str, rest: str) -> Iterator[str]:
    if top in ("client", "strategies") and rest:  # what became the library
        part = re.sub(r"^learners\b", "methods", rest)
        yield f"metapulse.{part}"
    yield f"metapulse.{top}.{rest}" if rest else f"metapulse.{top}"
