"""One self-contained HTML page: sections, figures, Plotly itself, and nothing from the network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files

from metapulse.server.files import finite
from metapulse.sim.report.figures import FONT, NIGHT, Figure
from metapulse.sim.report.runs import Panel
from metapulse.sim.report.style import CSS, SCRIPT


class Page:
    """Collects sections, and the figures in them by id."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        self.figures: dict[str, Figure] = {}

    def add(self, title: str, lead: str, *content: str) -> None:
        """A section: its title and lead as plain text, its content as HTML; without content there is none."""
        if any(content):
            self.sections.append(f"<section><h2>{escape(title)}</h2><p>{escape(lead)}</p>{''.join(content)}</section>")

    def figure(self, figure: Figure | None, title: str = "") -> str:
        """Where a figure will be drawn, under its own title or the given one; "" for none."""
        if figure is None:
            return ""
        name, title = f"figure-{len(self.figures)}", figure.get("title", title)
        self.figures[name] = {"data": figure["data"], "layout": figure["layout"]}
        head = f"<h3>{escape(title)}</h3>" if title else ""
        size = f"height:{figure['layout']['height']}px"
        return f'<div class="figure">{head}<div class="plot" id="{name}" style="{size}"></div></div>'

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
        size = f"height:{max(figure['layout']['height'] for figure in drawn.values())}px"
        plot = f'<div class="plot" id="{name}" data-by="{escape(by)}" style="{size}"></div>'
        return f'<div class="figure"><h3>{escape(title)}<small>{escape(note)}</small></h3>{plot}</div>'

    def grid(self, shown: Sequence[Panel], draw: Callable[[Panel], Figure | None]) -> str:
        """A figure for every panel, side by side where there is room."""
        drawn = "".join(self.figure(draw(panel), panel.title) for panel in shown)
        return f'<div class="grid">{drawn}</div>' if drawn else ""


def document(
    page: Page, kicker: str, title: str, facts: Sequence[tuple[str, str]], legend: str, script: str, css: str = ""
) -> str:
    """The page as one HTML document.

    Args:
        page: its sections and figures.
        kicker: a few words over the title, as plain text.
        title: as plain text.
        facts: (what, value) under the title, as plain text.
        legend: HTML that stays in sight while the sections are scrolled.
        script: draws ``figures`` with ``show``, both as ``SCRIPT`` declares them.
        css: beside ``CSS``.
    """
    told = "".join(f"<span>{escape(key)} <b>{escape(value)}</b></span>" for key, value in facts)
    # A figure's text must not end the script element it travels in.
    drawn = json.dumps(finite(page.figures), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    script = SCRIPT.replace("NIGHT", json.dumps(NIGHT)) + script
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>metapulse: {escape(title)}</title><style>{CSS.replace('FONT', FONT)}{css}</style></head><body>"
        f"<header><div><p>{escape(kicker)}</p><h1>{escape(title)}</h1>"
        f'<div class="facts">{told}</div></div></header><main>{legend}{"".join(page.sections)}</main>'
        f"<script>{_plotly()}</script>"
        f'<script type="application/json" id="figures">{drawn}</script><script>{script}</script></body></html>\n'
    )


def _plotly() -> str:
    """Plotly's own script, as its Python package ships it."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
