"""Old import names and those of today, so that an old name ends with a line that says the new one."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from importlib.util import find_spec

OLD = ("client", "strategies", "server", "sim")  # packages that were imported by these bare names
IMPORT = re.compile(r"\b(?:from\s+([\w.]+)\s+import\s+\(?\s*([\w\s,]*)|import\s+([\w.]+))")


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
    if top == "client" and rest.startswith(("attacks", "faults")):
        yield f"metapulse.sim.{rest}"
    yield f"metapulse.{top}.{rest}" if rest else f"metapulse.{top}"
    if top == "client" and rest:
        yield f"metapulse.sim.{rest}"
    if (top, rest) == ("sim", "notebook"):
        yield "metapulse.sim.api"


def new_name(error: BaseException, asked: str = "") -> str:
    """What to say of an error that an old name caused: "client.data is now metapulse.data, file F, line N"; else "".

    A module of the user's own that has one of the old names, and fails for a reason of its own, is left alone.

    Args:
        error: whatever an import, or code of the user's, raised.
        asked: the module that was asked for by name, where one was.
    """
    top = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ImportError) or top not in OLD:
        return ""
    there = error.path is not None  # the user's own module was found, and lacks the name that is imported from it
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    for frame in reversed(frames):
        for source, names, plain in IMPORT.findall(frame.line or ""):
            module = source or plain
            if module.partition(".")[0] == top:
                inside = [f"{module}.{name.split()[0]}" for name in names.split(",") if name.split()]
                return _said([*inside, *([] if there else [module])], f", file {frame.filename}, line {frame.lineno}")
    return "" if there else _said([asked if asked.partition(".")[0] == top else "", str(error.name)], "")


def _said(olds: list[str], place: str) -> str:
    for old in olds:
        if (new := renamed(old)) is not None:
            return f"{old} is now {new}{place}"
    return ""
