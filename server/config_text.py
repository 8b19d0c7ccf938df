"""Configurations as TOML: what a run was given, and every setting with its default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

import tomli_w

from metapulse.data import outline
from metapulse.errors import ConfigError
from metapulse.methods.method import Method
from metapulse.registry import ENGINES, METHODS, SOURCES
from metapulse.server.config import REGISTRIES, Config, build_config, resolved
from metapulse.server.effect import idle
from metapulse.server.method import HALVES
from metapulse.settings import choices, is_setting, is_used, plain
from metapulse.strategies.registry import STRATEGIES

ENTRIES = {**REGISTRIES, "engine": ENGINES}
#: Sections that say what a method's run is about; the others are about protection, trouble and machines.
ABOUT = ("run", "source", "split", "transform", "model", "method", "learner", "episodes", "strategy", "evaluation")
#: The model for samples of so many axes.
MODEL = {1: "mlp", 2: "cnn1d", 3: "cnn2d"}


def to_toml(table: Mapping[str, Any]) -> str:
    """Plain nested tables as TOML."""
    return tomli_w.dumps(table)


def commented_default() -> str:
    """The full default configuration, a comment for every key."""
    config = Config()
    out = ["# metapulse: every setting with its default. A key left out has the value shown here.\n"]
    for section in dataclasses.fields(Config):
        out.append(f"\n[{section.name}]")
        if section.name in ENTRIES:
            names, chosen = ", ".join(ENTRIES[section.name]), resolved(config)[section.name]["name"]
            out.append(f'name = "{chosen}"  # one of {names}, or package.module:Name')
        out += [_commented(*one) for one in _settings(config, section.name)]
    return "\n".join(out) + "\n"


def commented_method(name: str, source: str = "") -> str:
    """A configuration of one method: what it reads, and nothing else, a comment for every key.

    Args:
        name: of the method.
        source: of the data; "": the default, or curves for a method of regressions alone.

    Raises:
        ConfigError: there is no such method or source, or the one cannot learn from the other.
    """
    method = METHODS[name]
    source = source or (Config().source["name"] if "classification" in method.tasks else "sine")
    task = outline(SOURCES.make({"name": source}))
    if task.kind not in method.tasks:
        raise ConfigError("source.name", source, f"{name} learns {' and '.join(method.tasks)} only, not {task.kind}")
    model = MODEL[task.axes]
    config = build_config({"method": {"name": name}, "source": {"name": source}, "model": {"name": model}})
    hidden = {*idle(config), *(f"strategy.{key}" for key in method.server.fixed)}
    hidden |= {"method.free", *(f"learner.{key}" for key in method.computed)}
    if task.kind == "regression":
        hidden |= {"evaluation.restrict", "evaluation.not_offered"}
    others = ", ".join(f"[{f.name}]" for f in dataclasses.fields(Config) if f.name not in ABOUT)
    out = [*_about(method), f"# Not shown, and at their defaults (`metapulse config --all` prints them): {others}."]
    for section in ABOUT:
        named = [f'name = "{getattr(config, section)["name"]}"'] if section in set(REGISTRIES) - set(HALVES) else []
        settings = list(_settings(config, section))
        values = {field.name: value for field, _, value in settings}
        lines = named + [
            _commented(field, hint, value)
            for field, hint, value in settings
            if f"{section}.{field.name}" not in hidden and is_used(field, SimpleNamespace(**values))
        ]
        out += [f"\n[{section}]", *lines] if lines else []
    return "\n".join(out) + "\n"


def _about(method: Method) -> Iterator[str]:
    """What a method is, as comments."""
    paper, server = method.paper, method.server
    cited = (f"{paper.authors} {paper.year}" if paper.year else "", paper.arxiv and f"arXiv:{paper.arxiv}", paper.where)
    yield f"# {method.name}: {paper.title} ({', '.join(word for word in cited if word)})"
    yield f"# A client sends {method.sends.replace('``', '`')}."
    made = STRATEGIES.make(method.halves["strategy"])
    rests = [f"{key} = {_in_one_line(plain(getattr(made, key)))}" for key in server.fixed if key != "name"]
    yield f"# The server is {server.strategy}" + (f"; the method rests on its {', '.join(rests)}." if rests else ".")


def _settings(config: Config, section: str) -> Iterator[tuple[dataclasses.Field[Any], Any, Any]]:
    """A section's settings: the field, its type and its value as plain data."""
    values = {**plain(config)[section], **resolved(config).get(section, {})}
    kind = ENTRIES[section][values["name"]] if section in ENTRIES else type(getattr(config, section))
    hints = get_type_hints(kind)
    return ((f, hints[f.name], values[f.name]) for f in dataclasses.fields(kind) if is_setting(f))


def _commented(field: dataclasses.Field[Any], hint: Any, default: Any) -> str:
    bounds = [
        f"{sign} {field.metadata[k]}"
        for k, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if field.metadata[k] is not None
    ]
    if words := choices(hint):
        bounds.append("one of " + ", ".join(map(str, words)))
    note = field.metadata["doc"] + (f" ({', '.join(bounds)})" if bounds else "")
    return f"# {note}\n{field.name} = {_in_one_line(default)}"


def _in_one_line(value: Any) -> str:
    """A value as TOML on one line; tomli-w gives every entry of an array a line, and every table."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_in_one_line(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
