"""``metapulse config``, ``methods_command`` and ``cite``: what there is to choose from, and where it comes from."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metapulse.errors import ConfigError

if TYPE_CHECKING:
    from metapulse.methods.base import Paper
    from metapulse.server.config import Config

SOFTWARE = {
    "flwr": (
        "beutel2020flower",
        "Beutel and others",
        2020,
        "Flower: A Friendly Federated Learning Framework",
        "2007.14390",
    ),
    "torch": (
        "paszke2019pytorch",
        "Paszke and others",
        2019,
        "PyTorch: An Imperative Style, High-Performance Deep Learning Library",
        "1912.01703",
    ),
    "ray": (
        "moritz2018ray",
        "Moritz and others",
        2018,
        "Ray: A Distributed Framework for Emerging AI Applications",
        "1712.05889",
    ),
}


def add_describe_commands(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(config)
    app.command("methods")(methods_command)
    app.command()(cite)


def config(
    method: Annotated[str, typer.Argument(metavar="[METHOD]", help="Print what matters for this one.")] = "",
    source: Annotated[str, typer.Argument(metavar="[SOURCE]", help="And for these data.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Print every setting with its default.")] = False,
) -> None:
    """Print a configuration as TOML, a comment for every key: a method's, or with --all every setting that there is."""
    from metapulse.server.config_text import commented_default, commented_method

    if everything and method:
        raise ConfigError("--all", method, "prints the settings of every method; leave one of the two out")
    if everything:
        sys.stdout.write(commented_default())
    else:
        sys.stdout.write(commented_method(method, source) if method else _what_to_ask())


def _what_to_ask() -> str:
    """What there is to print, and how to ask for it."""
    from metapulse.registry import METHODS, SOURCES

    names = {"METHOD is one of": METHODS, "SOURCE is one of": SOURCES}
    listed = [f"{title}\n{textwrap.indent(textwrap.fill(', '.join(names[title]), 76), '  ')}\n" for title in names]
    return "\n".join(
        [
            "metapulse config METHOD [SOURCE]   what matters for a method, and for certain data, as TOML",
            "metapulse config --all             every setting with its default, as TOML",
            "metapulse methods                  what each method, data source and model is, with its paper\n",
            *listed,
            "For example: metapulse config maml wearables > mine.toml; metapulse run mine.toml\n",
        ]
    )


def methods_command() -> None:
    """List what is registered: methods, strategies, aggregators, models, data sources, transforms."""
    console = Console() if sys.stdout.isatty() else Console(width=140)
    table = Table(title="What a configuration can name", title_justify="left")
    for column in ("section", "name", "what it is", "paper", "arXiv"):
        table.add_column(column, overflow="fold", no_wrap=column in ("section", "name", "arXiv"))
    section = ""
    for kind, name, entry in entries():
        if section and kind != section:
            table.add_section()
        section, paper = kind, paper_of(entry)
        cited = f"{paper.authors} {paper.year}" if paper and paper.year else ""
        table.add_row(*map(Text, (kind, name, _first_line(entry), cited, paper.arxiv if paper else "")))
    console.print(table)


def entries() -> Iterator[tuple[str, str, type]]:
    """Everything registered, as (section of the configuration, name, class)."""
    from metapulse.registry import ATTACKS, LEARNERS, MODELS, SOURCES, TRANSFORMS
    from metapulse.strategies.aggregators.registry import AGGREGATORS
    from metapulse.strategies.registry import STRATEGIES

    sections = {
        "method": LEARNERS,
        "strategy": STRATEGIES,
        AGGREGATORS.kind: AGGREGATORS,
        "model": MODELS,
        "source": SOURCES,
        "transform": TRANSFORMS,
        "attack": ATTACKS,
    }
    for kind, registry in sections.items():
        for name in registry:
            yield kind, name, registry[name]


def cite(config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Configuration.")]) -> None:
    """Print BibTeX for exactly the methods, data and software that a configuration uses."""
    from metapulse.sim.suite import read_suite

    seen: dict[str, str] = {}
    for one in read_suite(config).configs.values():
        for key, text in citations(one):
            seen.setdefault(key, text)
    print("\n".join(seen.values()))


def citations(config: Config) -> Iterator[tuple[str, str]]:
    """(key, BibTeX) of a run's learner, strategy, model, data, and the software that carries it."""
    from metapulse.methods.base import Paper
    from metapulse.registry import ATTACKS, LEARNERS, MODELS, SOURCES, TRANSFORMS
    from metapulse.strategies.aggregators.registry import AGGREGATORS, aggregator_names
    from metapulse.strategies.registry import STRATEGIES

    chosen: Mapping[str, tuple[Mapping[str, Any], Any]] = {
        "learner": (config.learner, LEARNERS),
        "strategy": (config.strategy, STRATEGIES),
        "model": (config.model, MODELS),
        "transform": (config.transform, TRANSFORMS),
        "source": (config.source, SOURCES),
        "attack": (config.attack, ATTACKS),
    }
    entries = [registry[str(section["name"])] for section, registry in chosen.values()]
    aggregator = getattr(STRATEGIES.make(config.strategy), "aggregator", {})
    for paper in map(paper_of, entries + [AGGREGATORS[name] for name in aggregator_names(aggregator)]):
        if paper and paper.year:
            yield paper.key, replace(paper, authors=bibtex_authors(paper.authors)).bibtex
    yield from _data(SOURCES[str(config.source["name"])])
    for name, (key, authors, year, title, arxiv) in SOFTWARE.items():
        if name != "ray" or config.engine.workers or config.engine.name == "flower":
            text = Paper(key, authors, year, title, arxiv, "").bibtex
            yield key, text.removesuffix("\n}") + f",\n  note = {{version {version(name)}}}\n}}"


def bibtex_authors(names: str) -> str:
    """Surnames as BibTeX wants them: A, B and C become A and B and C; A et al. becomes A and others."""
    return names.replace(" et al.", " and others").replace(", ", " and ")


def _data(entry: Any) -> Iterator[tuple[str, str]]:
    """The data set's own citation, as its publisher asks."""
    data = getattr(entry, "dataset", None)
    if data and not data.citation.startswith("metapulse"):
        key = f"data-{data.name.replace('_', '-')}"
        fields = {"title": data.title, "howpublished": data.citation, "note": data.where}
        yield key, f"@misc{{{key},\n" + ",\n".join(f"  {k} = {{{v}}}" for k, v in fields.items()) + "\n}"


def paper_of(entry: type) -> Paper | None:
    """Where a registered class says it comes from."""
    from metapulse.methods.base import Paper

    paper = getattr(entry, "paper", None)
    return paper if isinstance(paper, Paper) else None


def _first_line(entry: type) -> str:
    return (inspect.getdoc(entry) or "").split("\n")[0]
