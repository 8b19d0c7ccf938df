"""Tables of reports as HTML, LaTeX and CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from metapulse.sim.report.document import joined_markup, parts

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
class TableCell:
    """What stands in one place of a table, as plain text.

    Args:
        text: what is read first.
        detail: smaller, under it or (LaTeX) behind it; may have lines.
        strong: whether it is bold: the best of its column.
        place: in the palette, for the name of a run or a method.
        badge: a warning beside it.
        kind: of its look: "clear" (a difference that is one), "muted", "wide" (its lines are broken), "named" (so are a
            name's).
    """

    text: str
    detail: str = ""
    strong: bool = False
    place: int | None = None
    badge: str = ""
    kind: str = ""

    @property
    def tex(self) -> str:
        """Its content as LaTeX."""
        text = rf"\textbf{{{tex(self.text)}}}" if self.strong else tex(self.text)
        return text + (rf" {{\scriptsize {tex(' '.join(self.detail.split()))}}}" if self.detail else "")


Rows: TypeAlias = list[list[TableCell | str]]


def html_table(head: Sequence[str], rows: Iterable[Sequence[TableCell | str]]) -> str:
    """A table in a box that scrolls by itself on a narrow screen, as markup.

    Args:
        head: titles of the columns as plain text; one that starts with ">" stands over numbers, what follows a line
            break is smaller.
        rows: of cells, a plain string for one without more to it; a shorter row is a heading over all columns.
    """
    titles = [title.removeprefix(">").partition("\n") for title in head]
    columns = [
        {"text": text, "detail": detail, "number": title.startswith(">")}
        for title, (text, _, detail) in zip(head, titles, strict=True)
    ]
    made: str = parts.table(columns, [[_cell(cell) for cell in row] for row in rows])
    return made


@dataclass(frozen=True)
class ReportTable:
    """A table of a report that comes in three forms.

    Args:
        name: of its files.
        head: titles of the columns, as for ``html_table``.
        rows: of cells, likewise.
        frame: the same numbers unrounded, one to a column.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[TableCell | str, ...], ...]
    frame: pl.DataFrame

    @property
    def html(self) -> str:
        """Title, links to both exports, and the table."""
        return joined_markup(parts.exported(self), html_table(self.head, self.rows))

    @property
    def csv(self) -> str:
        """The unrounded numbers."""
        return self.frame.write_csv()

    @property
    def tex(self) -> str:
        """A ``tabular`` with the rules of booktabs."""
        columns = "".join("r" if title.startswith(">") else "l" for title in self.head)
        lines = [" & ".join(tex(" ".join(title.removeprefix(">").split())) for title in self.head)]
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


def file_name(kind: str, about: str) -> str:
    """Name of a table's files."""
    return f"{kind}-" + re.sub(r"[^\w.-]+", "_", about)


def _cell(content: TableCell | str) -> TableCell:
    return TableCell(content) if isinstance(content, str) else content


def best_value(values: Sequence[float], higher: bool) -> float:
    """The best of a column's numbers, NaN left out; NaN where there is none."""
    there = [value for value in values if value == value]
    return (max if higher else min)(there, default=float("nan"))
