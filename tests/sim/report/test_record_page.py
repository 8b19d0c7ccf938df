"""The page about a record: it answers in words first, is whole by itself, and nothing from a file becomes markup."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import plotly.graph_objects as go
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from metapulse.errors import DataError
from metapulse.record.clock import zone
from metapulse.record.readers.base import Options
from metapulse.record.store import import_files, metadata
from metapulse.sim.cli.record import app
from metapulse.sim.report import write_record_page
from metapulse.sim.report.record.clocks import clock_sentences
from metapulse.sim.report.record.page import record_page
from metapulse.sim.report.record.words import counted, part_of, several
from tests.metapulse.record.conftest import written
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_clock_check import other, pulse
from tests.pages import Tags, drawn, in_browser, text_of

NASTY = "</script><img src=x onerror=alert(1)>\"'&"
HEAD = "time,metric,value,unit,end,code,device\n"
QUOTED = NASTY.replace('"', '""')


def person(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    out = folder / "person.parquet"
    import_files(written(folder / "given", files), out, Options(zone("Europe/Berlin")))
    return out


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two devices one after the other, with hostile names, sleep, a scale, and every reader's sample."""
    days = [f"2024-04-{d:02d}" for d in range(1, 29)]
    devices = [f'"{QUOTED} 1"' if d < "2024-04-15" else "Ring" for d in days]
    lines = [
        f"{day}T{h:02d}:{m:02d}:00+02:00,heart_rate,{60 + h},,,,{device}"
        for day, device in zip(days, devices, strict=True)
        for h in range(24)
        for m in (0, 30)
    ]
    lines += [
        f"{day}T01:00:00+02:00,sleep_stage,,,{day}T06:00:00+02:00,light,{dev}"
        for day, dev in zip(days, devices, strict=True)
    ]
    lines += ["2024-04-03T08:00:00+02:00,weight,900,,,,Scale"]
    mine = HEAD + "\n".join(lines) + "\n"
    return person(tmp_path_factory.mktemp("record"), {**SAMPLES, "<b>mine.csv": mine})


@pytest.fixture(scope="module")
def page(record: Path) -> str:
    return record_page(record, ["The ring runs 40 s late <fast>."])


def test_it_answers_in_words_before_anything_else(page: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        *("In words", "Devices", "Worn, day by day and hour by hour", "Sleep", "Every metric", "Seams between devices"),
        *("Clock", "What was marked, and why", "Silences", "Every file&#39;s account"),
    ]
    first = page.split("<section>")[1]
    assert re.findall(r"<h3>(.*?)</h3>", first) == ["What is in it", "What can be trusted", "What is missing"]
    assert first.count("<li>") >= 8


def test_the_page_reaches_for_nothing_outside(page: str) -> None:
    tags = Tags(page)
    assert tags.reaching == []
    assert "link" not in tags.count
    assert "img" not in tags.count
    assert tags.count["script"] == 3
    assert not re.search(r"https?:|@import|url\(", text_of(page))


def test_what_files_say_is_text_and_never_markup(page: str) -> None:
    assert html.escape(NASTY, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    assert "<img src=x" not in page
    assert "<b>mine" not in page
    assert "40 s late &lt;fast&gt;" in page
    names = {trace["name"] for figure in drawn(page).values() for trace in figure["data"] if "name" in trace}
    assert any("onerror" in name for name in names)
    assert not any("<" in name for name in names)


def test_plotly_understands_every_figure_and_every_place_has_one(page: str) -> None:
    figures = drawn(page)
    assert set(re.findall(r'class="plot" id="(figure-\d+)"', page)) == set(figures)
    for figure in figures.values():
        go.Figure(figure)


def test_a_seam_is_drawn_where_the_device_changes(page: str) -> None:
    layouts = (figure["layout"] for figure in drawn(page).values())
    (layout,) = (one for one in layouts if any("Ring" in note["text"] for note in one.get("annotations", [])))
    lines = [shape for shape in layout["shapes"] if shape["type"] == "line"]
    assert [(line["x0"], line["line"].get("dash")) for line in lines] == [
        ("2024-04-14 23:30", "dot"),
        ("2024-04-15 00:00", None),
    ]


def test_every_mark_of_the_record_is_told_and_every_row_accounted_for(page: str, record: Path) -> None:
    marks = {mark for t in metadata(record)["tally"]["files"] for mark in t["flagged"]}
    told = set(re.findall(r"<h3>([A-Z][a-z ]+): [\d,]+ rows?</h3>", page))
    assert {mark.replace("_", " ").capitalize() for mark in marks} <= told
    seen = sum(t["seen"] for t in metadata(record)["tally"]["files"])
    assert f"of {seen:,} rows of the files" in page
    for name in SAMPLES:
        assert name in page


def test_a_record_without_rows_says_so(record: Path, tmp_path: Path) -> None:
    none = tmp_path / "none.parquet"
    pq.write_table(pq.read_table(record).slice(0, 0), none, store_schema=False)
    with pytest.raises(DataError, match="no record"):
        record_page(none)
    with pq.ParquetWriter(none, pq.read_schema(record)) as writer:
        writer.add_key_value_metadata({k.decode(): v.decode() for k, v in pq.read_metadata(record).metadata.items()})
    page = record_page(none)
    assert "Nothing: the record has no rows." in page
    assert drawn(page) == {}


@pytest.mark.parametrize(
    "line",
    [
        "2024-04-03T08:00:00+02:00,heart_rate,61,,,,Band",
        "2024-04-03 08:00:00,weight,61,,,,",
        "0002-04-03T08:00:00+02:00,heart_rate,61,,,,",
        "9998-12-30T08:00:00+02:00,sleep_stage,,,9998-12-31T08:00:00+02:00,deep,",
        "2024-04-03T08:00:00+02:00,heart_rate,9999,,,,",
        "2024-04-03,steps_daily,0,,,,",
    ],
)
def test_one_row_of_any_kind_has_a_page(tmp_path: Path, line: str) -> None:
    page = record_page(person(tmp_path, {"mine.csv": f"{HEAD}{line}\n"}))
    assert "What is in it" in page
    for figure in drawn(page).values():
        go.Figure(figure)


def test_the_same_record_gives_the_same_page(record: Path, page: str) -> None:
    assert record_page(record, ["The ring runs 40 s late <fast>."]) == page


def test_the_command_writes_beside_the_record_and_never_over_it(record: Path) -> None:
    cli = CliRunner()
    done = cli.invoke(app, ["show", str(record)])
    assert done.exit_code == 0
    assert record.with_suffix(".html").read_text(encoding="utf-8").startswith("<!doctype html>")
    before = record.read_bytes()
    refused = cli.invoke(app, ["show", str(record), "--out", str(record)])
    assert refused.exit_code != 0
    assert record.read_bytes() == before


def test_the_page_is_bounded_by_time_and_not_by_rows(tmp_path: Path) -> None:
    """Ten times the rows within the same days: a page of about the same size."""
    sizes = []
    for every in (600, 60):
        lines = [f"{1712100000 + s},heart_rate,{60 + s % 7},,,,Band" for s in range(0, 5 * 86_400, every)]
        (tmp_path / str(every)).mkdir()
        out = person(tmp_path / str(every), {"mine.csv": HEAD + "\n".join(lines) + "\n"})
        write_record_page(out, tmp_path / "page.html")
        sizes.append((tmp_path / "page.html").stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 60_000


def test_numbers_in_words() -> None:
    assert several(["a"]) == "a"
    assert several(["a", "b", "c"]) == "a, b and c"
    assert several(list("abcdefghij"), 3) == "a, b, c and 7 more"
    assert (counted(1, "night"), counted(1204, "night")) == ("1 night", "1,204 nights")
    assert [part_of(x) for x in (0, 0.0001, 0.5, 0.9999, 1)] == ["0 %", "under 0.1 %", "50 %", "over 99.9 %", "100 %"]


@pytest.mark.e2e
def test_a_browser_draws_it_without_complaint(page: str, tmp_path: Path) -> None:
    probe = '<script>addEventListener("load", () => setTimeout(() => {document.querySelector(".legend button").click();'
    probe += 'dispatchEvent(new Event("beforeprint"));}, 500));</script>'
    (tmp_path / "page.html").write_text(page.replace("</body>", probe + "</body>"), encoding="utf-8")
    opened = in_browser(tmp_path / "page.html", 1280, 9000)
    assert text_of(opened).count("js-plotly-plot") == len(drawn(page))


@pytest.mark.parametrize(("late", "told"), [(3600.0, "do not agree"), (0.0, "their clocks agree")])
def test_a_clock_that_is_off_is_told(late: float, told: str, tmp_path: Path) -> None:
    heart = pulse(15, 3)
    band, watch = other(heart, seed=8, every=120.0), other(heart, every=150.0)
    lines = [
        f"{datetime.fromtimestamp(round(time + by), UTC).isoformat()},heart_rate,{value:.1f},,,,{device}"
        for device, by, series in (("Band", 0.0, band), ("Watch", late, watch))
        for time, value in zip(series.time, series.value, strict=True)
    ]
    path = person(tmp_path, {"own.csv": HEAD + "\n".join(lines)})
    said = clock_sentences(path, metadata(path)["tally"]["records"])
    assert len(said) == 1
    assert said[0].startswith("Watch and Band, 2024-03-04 to 2024-03-19: ")
    assert told in said[0]
    if late:
        assert abs(float(re.findall(r"is ([\d,]+) ±", said[0])[0].replace(",", "")) - late) < 15
    assert "ask `metapulse record clocks`" in clock_sentences(path, 10**9)[0]
