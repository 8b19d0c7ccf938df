"""One self-contained HTML page: sections, figures, Plotly itself, and nothing from the network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from metapulse.server.files import finite_or_null
from metapulse.sim.report.plots import NIGHT, Figure, colour

FOLDER = Path(__file__).parent / "templates"


def _asset(name: str) -> Markup:
    """A stylesheet or a script as it stands."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


#: What templates are given as plain text is escaped.
TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals |= {"colour": colour, "asset": _asset}
TEMPLATES.filters["quote"] = quote
#: The macros of parts.html; each gives markup.
parts: Any = TEMPLATES.get_template("parts.html").module


def joined_markup(*pieces: str) -> Markup:
    """Pieces of markup one after another; a piece of plain text is escaped."""
    return Markup().join(pieces)


class Page:
    """Collects sections, and the figures in them by id."""

    def __init__(self) -> None:
        self.sections: list[dict[str, str]] = []
        self.figures: dict[str, Figure] = {}

    def add(self, title: str, lead: str, *content: str) -> None:
        """A section: its title and lead as plain text, its content as markup; without content there is none."""
        if any(content):
            self.sections.append({"title": title, "lead": lead, "content": joined_markup(*content)})

    def figure(self, figure: Figure | None, title: str = "") -> str:
        """Where a figure will be drawn, under its own title or the given one; "" for none."""
        if figure is None:
            return ""
        name, layout = f"figure-{len(self.figures)}", figure["layout"]
        self.figures[name] = {"data": figure["data"], "layout": layout}
        made: str = parts.figure(name, layout["height"], figure.get("title", title))
        return made

    def choices(self, drawn: Mapping[str, Figure], by: str, title: str, note: str = "") -> str:
        """Where one of several figures will be drawn; "" for none.

        Args:
            drawn: by what the reader has chosen, values joined by "/".
            by: names of the choices, with spaces between.
            title: over all of them.
            note: smaller, under the title.
        """
        if not drawn:
            return ""
        name = f"figure-{len(self.figures)}"
        self.figures |= {f"{name}/{chosen}": figure for chosen, figure in drawn.items()}
        height = max(figure["layout"]["height"] for figure in drawn.values())
        made: str = parts.figure(name, height, title, note, by)
        return made

    @property
    def text(self) -> Markup:
        """The figures as JSON; what they say cannot end the script element that they travel in."""
        drawn = json.dumps(finite_or_null(self.figures), allow_nan=False, separators=(",", ":"))
        return Markup(drawn.replace("<", "\\u003c"))


def document(
    page: Page,
    kicker: str,
    title: str,
    facts: Sequence[tuple[str, str]],
    legend: str = "",
    script: str = "hide.js",
    constants: Mapping[str, Any] | None = None,
    template: str = "page.html",
    **content: Any,
) -> str:
    """The page as one HTML document.

    Args:
        page: its sections and figures.
        kicker: a few words over the title, as plain text.
        facts: (what, value) under the title, as plain text.
        legend: markup that stays in sight while the sections are scrolled.
        script: draws the figures; hide.js or choose.js.
        constants: of the script, by name.
        template: of the page; page.html has the sections of ``page``.
        content: what a template of its own shows.
    """
    plotly = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    head = {"kicker": kicker, "title": title, "facts": facts, "legend": legend, "page": page}
    code = {"plotly": Markup(plotly), "script": script, "constants": {"NIGHT": NIGHT, **(constants or {})}}
    return TEMPLATES.get_template(template).render(**head, **code, **content)
