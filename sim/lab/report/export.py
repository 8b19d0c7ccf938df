"""A table once, in three forms: HTML to read, LaTeX to print, CSV to compute with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import polars as pl

from metapulse.sim.report import tables

TEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": r"$-$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
}


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Args:
        text: as plain text.
        detail: smaller, under it or (LaTeX) behind it, as plain text; may have lines.
        strong: whether it is the best of its column.
        place: in the palette, for a method's name.
    """

    text: str
    detail: str = ""
    strong: bool = False
    place: int | None = None

    @property
    def html(self) -> str:
        """Its content as HTML."""
        text = f"<b>{escape(self.text)}</b>" if self.strong else escape(self.text)
        swatch = "" if self.place is None else tables.swatch(self.place)
        return swatch + text + (f"<small>{escape(self.detail)}</small>" if self.detail else "")

    @property
    def tex(self) -> str:
        """Its content as LaTeX."""
        text = rf"\textbf{{{tex(self.text)}}}" if self.strong else tex(self.text)
        return text + (rf" {{\scriptsize {tex(' '.join(self.detail.split()))}}}" if self.detail else "")


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Args:
        name: of its files.
        title: as plain text.
        head: titles of the columns as plain text; one that starts with ">" stands over numbers.
        rows: of cells, a plain string for one without more to it.
        frame: the same numbers unrounded, one to a column.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    frame: pl.DataFrame

    @property
    def html(self) -> str:
        """Title, links to both exports, and the table in a box that scrolls by itself."""
        opens = ['<td class="number">' if title.startswith(">") else "<td>" for title in self.head]
        rows = [[td + _cell(c).html + "</td>" for td, c in zip(opens, row, strict=True)] for row in self.rows]
        head = [title[:1] + escape(title[1:]) for title in self.head]
        links = self._link("csv", self.csv) + self._link("tex", self.tex)
        return f'<div class="export"><h3>{escape(self.title)}</h3>{links}</div>{tables.table(head, rows)}'

    def _link(self, kind: str, text: str) -> str:
        return f'<a download="{self.name}.{kind}" href="data:text/plain;charset=utf-8,{quote(text)}">{kind.upper()}</a>'

    @property
    def csv(self) -> str:
        """The unrounded numbers."""
        return self.frame.write_csv()

    @property
    def tex(self) -> str:
        """A ``tabular`` with the rules of booktabs."""
        columns = "".join("r" if title.startswith(">") else "l" for title in self.head)
        lines = [" & ".join(tex(title.removeprefix(">")) for title in self.head)]
        lines += [" & ".join(_cell(c).tex for c in row) for row in self.rows]
        head, *body = (line + r" \\" for line in lines)
        return "\n".join(
            [
                f"% {' '.join(self.title.split())}; needs \\usepackage{{booktabs}}",
                rf"\begin{{tabular}}{{{columns}}}",
                *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
                "\\end{tabular}\n",
            ]
        )


def tex(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(TEX.get(c, c) for c in text)


def _cell(content: Cell | str) -> Cell:
    return Cell(content) if isinstance(content, str) else content


def best(values: Sequence[float], higher: bool) -> float:
    """The best of a column's numbers, NaN left out; NaN where there is none."""
    there = [value for value in values if value == value]
    return (max if higher else min)(there, default=float("nan"))
