"""Write the blocks of docs/methods.md that follow from the registry: ``python docs/dev/methods.py``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metapulse.methods.base import Learner
from metapulse.methods.method import Method
from metapulse.registry import METHODS
from metapulse.settings import default_of, is_setting, plain
from metapulse.strategies.registry import STRATEGIES

PAGE = Path(__file__).resolve().parents[1] / "methods.md"
BEGIN = "<!-- from the registry, by python docs/dev/methods.py -->"
END = "<!-- until here -->"
#: What strategies do, where a method does not say it of its own.
STEP = {
    ("fedavg", "samples"): "θ ← θ − Σ n_i u_i / Σ n_i",
    ("fedavg", "uniform"): "θ ← θ − mean(u_i)",
    ("fedmaml", "uniform"): "θ ← θ − β Adam(mean(u_i))",
}


def block(method: Method) -> str:
    """One method: formula, what the client sends, what the server does, what stays, settings, citation."""
    kind, server = method.learner, method.server
    made = STRATEGIES.make(method.halves["strategy"])
    lines = [f"### {method.name}", "", *_cited(method), ""]
    reads = "all of its samples" if not kind.uses_query_set else "support, judged on query"
    lines.append(f"- **Client** (trains on {reads}): sends {_code(method.sends)}.")
    said = ", ".join([f"`{server.strategy}`", *(f"`{k} = {_toml(v)}`" for k, v in server.settings.items())])
    step = server.step or STEP[server.strategy, made.weighting]
    lines.append(f"- **Server** ({said}): {step}.{_rests(method, made)}")
    lines.append(f"- **Stays on the device**: {_code(method.keeps) or 'nothing'}.")
    lines.append(f"- **Test time**: {_code(method.adapts)}.")
    lines.append(f"- **Settings**: {', '.join(_settings(method)) or 'none'}.")
    if needs := list(_needs(method)):
        lines.append(f"- **Needs**: {', '.join(needs)}.")
    if method.baseline:
        lines.append("- **A baseline**: it learns nothing from others; comparisons test it apart from competitors.")
    if method.notes:
        lines.append(f"- **Here**: {_code(method.notes)}")
    return "\n".join(lines)


def pairs() -> str:
    """Which methods rest on what of their server."""
    rows = ["| method | goes with | rests on |", "|---|---|---|"]
    for name in METHODS:
        method = METHODS[name]
        if method.server.fixed:
            made = STRATEGIES.make(method.halves["strategy"])
            keys = [key for key in method.server.fixed if key != "name"]
            held = ", ".join(f"`{key} = {_toml(_name(getattr(made, key)))}`" for key in keys)
            own = "this strategy alone" if "name" in method.server.fixed else ""
            rows.append(f"| `{name}` | `{method.server.strategy}` | {held or own} |")
    return "\n".join(rows)


def page(text: str) -> str:
    """The page with both generated parts made anew."""
    parts = [pairs(), "\n\n".join(block(METHODS[name]) for name in METHODS)]
    for part in parts:
        before, _, rest = text.partition(f"{BEGIN}\n")
        _, _, after = rest.partition(f"{END}\n")
        text = f"{before}<!-- BEGUN -->\n{part}\n<!-- ENDED -->\n{after}"
    return text.replace("<!-- BEGUN -->", BEGIN).replace("<!-- ENDED -->", END)


def _cited(method: Method) -> Iterator[str]:
    paper, kind = method.paper, method.learner
    where = f"`metapulse/methods/{kind.__module__.rpartition('.')[2]}.py: {kind.__name__}`"
    about = [f"{paper.authors} {paper.year}" if paper.year else "", f"arXiv:{paper.arxiv}" if paper.arxiv else ""]
    cited = ", ".join(word for word in (*about, paper.where if paper.year else "") if word)
    yield f"{paper.title}{f' ({cited})' if cited else ''}; {where}."


def _rests(method: Method, made: Any) -> str:
    keys = [key for key in method.server.fixed if key != "name"]
    if "name" in method.server.fixed:
        return " With another strategy it is another algorithm."
    held = ", ".join(f"`{key} = {_toml(_name(getattr(made, key)))}`" for key in keys)
    return f" It rests on {held}." if held else ""


def _settings(method: Method) -> Iterator[str]:
    for field in dataclasses.fields(method.learner):
        if is_setting(field) and field.name not in method.computed:
            yield f"`{field.name} = {_toml(plain(default_of(field)))}`"
    for name in method.computed:
        yield f"`{name}`, which is computed from cohort and population"


def _needs(method: Method) -> Iterator[str]:
    if method.head:
        yield "a model with a head"
    if method.tasks != Learner.kinds:
        yield " or ".join(method.tasks)


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _code(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    written = page(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(written, encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {len(METHODS)} methods\n")
