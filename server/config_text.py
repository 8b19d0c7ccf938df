"""Configurations as TOML: what a run was given, and every setting with its default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import tomli_w

from metapulse.registry import MODELS
from metapulse.server.config import REGISTRIES, Config
from metapulse.settings import is_setting, plain


def to_toml(table: Mapping[str, Any]) -> str:
    """Plain nested tables as TOML."""
    return tomli_w.dumps(table)


def commented_default() -> str:
    """The full default configuration, a comment for every key."""
    config = Config()
    out = ["# metapulse: every setting with its default. A key left out has the value shown here.\n"]
    for section in dataclasses.fields(Config):
        value = getattr(config, section.name)
        out.append(f"\n[{section.name}]")
        if section.name in REGISTRIES:
            names = ", ".join(REGISTRIES[section.name])
            out.append(f'name = "{value["name"]}"  # one of {names}, or package.module:Name')
            value = REGISTRIES[section.name].make(value)
        elif section.name == "model":
            from metapulse.models.cnn1d import CNN1d

            out.append(f'name = "{value["name"]}"  # one of {", ".join(MODELS)}, or package.module:Name')
            value = CNN1d
        out += [_commented(field, value) for field in dataclasses.fields(value) if is_setting(field)]
    return "\n".join(out) + "\n"


def _commented(field: dataclasses.Field[Any], value: Any) -> str:
    default = field.default if isinstance(value, type) else getattr(value, field.name)
    bounds = [
        f"{sign} {field.metadata[k]}"
        for k, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if field.metadata[k] is not None
    ]
    if field.metadata["choices"] is not None:
        bounds.append("one of " + ", ".join(map(str, field.metadata["choices"])))
    note = field.metadata["doc"] + (f" ({', '.join(bounds)})" if bounds else "")
    return f"# {note}\n{field.name} = {_in_one_line(plain(default))}"


def _in_one_line(value: Any) -> str:
    """A value as TOML on one line; tomli-w gives every entry of an array a line, and every table."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_in_one_line(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
