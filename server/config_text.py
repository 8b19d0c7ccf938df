"""Configurations as TOML: what a run was given, and every setting with its default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from metapulse.registry import MODELS
from metapulse.server.config import REGISTRIES, Config
from metapulse.settings import is_setting, plain


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Plain nested tables as TOML."""
    lines, sections = [], []
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            sections.append(f"\n[{prefix}{_toml_key(key)}]\n" + to_toml(value, f"{prefix}{_toml_key(key)}."))
        elif value is not None:
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}")
    return "\n".join(lines) + ("\n" if lines else "") + "".join(sections)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's strings are JSON's but for DEL


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else str(_toml_value(key))


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
    return f"# {note}\n{field.name} = {_toml_value(plain(default))}"
