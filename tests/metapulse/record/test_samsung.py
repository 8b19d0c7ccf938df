"""Samsung Health: what its files look like besides the small sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metapulse.record.store import import_files
from metapulse.record.tally import FileTally
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_vendors import rows

STAMP = "20240405090000"
HEART = """com.samsung.shealth.tracker.heart_rate,6310010,10
com.samsung.health.heart_rate.start_time,com.samsung.health.heart_rate.time_offset,com.samsung.health.heart_rate.\
heart_rate,com.samsung.health.heart_rate.deviceuuid,com.samsung.health.heart_rate.binning_data
2024-04-03 10:00:00.000,UTC+0200,70.0,dev-1,0a.binning_data.json,
"""
FINER = '[{"start_time":1712138400000,"end_time":1712138459999,"heart_rate":68.0,"heart_rate_max":71.0},\
{"start_time":1712138460000,"end_time":1712138519999,"heart_rate":72.0}]'
TREND = """com.samsung.shealth.step_daily_trend,6310010,8
day_time,source_type,count,deviceuuid
1712102400000,-2,5000,a,
1712102400000,0,3000,b,
"""
STAGES = """com.samsung.health.sleep_stage,6310010,7
create_sh_ver,start_time,sleep_id,end_time,stage,time_offset,pkg_name
,2024-04-02 21:00:00.000,s-1,2024-04-02 21:30:00.000,40003,UTC-0300,com.sec.android.app.shealth,
,2024-04-02 21:30:00.000,s-1,2024-04-02 21:31:00.000,40009,UTC-0300,com.sec.android.app.shealth,
"""


def test_the_finer_values_of_an_hour_replace_it(tmp_path: Path) -> None:
    """They lie in a file that the line names; the devices' models in one of the same download."""
    kind = "com.samsung.shealth.tracker.heart_rate"
    profile = (
        "com.samsung.health.device_profile,1,1\ndeviceuuid,name,manufacturer,model\ndev-1,Watch6,Samsung,SM-R940,\n"
    )
    top = tmp_path / f"samsunghealth_x_{STAMP}"
    (top / "jsons" / kind / "0").mkdir(parents=True)
    (top / f"{kind}.{STAMP}.csv").write_text(HEART)
    (top / f"com.samsung.health.device_profile.{STAMP}.csv").write_text(profile)
    (top / "jsons" / kind / "0" / "0a.binning_data.json").write_text(FINER)
    tally = import_files([top], tmp_path / "person.parquet")
    made = pl.read_parquet(tmp_path / "person.parquet")
    assert rows(made) == [
        ("03 12:00:00", "heart_rate", 70.0, None, "/min", ["superseded"]),
        ("03 12:00:00", "heart_rate", 68.0, None, "/min", []),
        ("03 12:01:00", "heart_rate", 72.0, None, "/min", []),
    ]
    assert {device["model"] for device in made["device"]} == {"Watch6"}
    assert not any(file.unexplained for file in tally.files.values())
    assert all(file.format for file in tally.files.values())


def test_a_total_over_all_devices_stands_before_each_device(record: Import) -> None:
    made, _ = record({"trend.csv": TREND})
    assert rows(made) == [
        ("03 00:00:00", "steps_daily", 3000.0, None, "count", ["date_only", "superseded"]),
        ("03 00:00:00", "steps_daily", 5000.0, None, "count", ["date_only"]),
    ]
    alone, _ = record({"trend.csv": TREND.replace("-2,", "2,")})
    assert [row[-1] for row in rows(alone)] == [["date_only"], ["date_only"]]


def test_stages_of_sleep_and_where_the_person_was(record: Import) -> None:
    made, _ = record({"stages.csv": STAGES})
    assert rows(made) == [
        ("02 18:00:00", "sleep_stage", None, "deep", "stage", []),
        ("02 18:30:00", "sleep_stage", None, "unknown", "stage", []),
    ]
    assert made["device"][0]["app"] == "com.sec.android.app.shealth"


@pytest.mark.parametrize(
    ("stamp", "marks"), [("4/13/2024 10:00", []), ("4/3/2024 10:00", ["date_order_assumed"]), ("1712138400000", [])]
)
def test_stamps_that_a_spreadsheet_wrote_anew(record: Import, stamp: str, marks: list[str]) -> None:
    made, _ = record(
        {"weight.csv": f"com.samsung.health.weight;6310010;3\nweight;start_time;time_offset\n71,5;{stamp};7200000;\n"}
    )
    day = "13" if "13/" in stamp else "03"
    assert rows(made) == [(f"{day} 12:00:00", "weight", 71.5, None, "kg", marks)]
    assert made["offset_min"].to_list() == [120]


def test_zero_is_no_value_where_it_cannot_be_one(record: Import) -> None:
    made, tally = record(
        {
            "weight.csv": "com.samsung.health.weight,6310010,3\nweight,body_fat,start_time\n71.2,0.0,1712104200000,\n",
            "stress.csv": "com.samsung.shealth.stress,1,1\nscore,start_time\n0.0,1712104200000,\n",
            "other.csv": "com.samsung.health.vendor_news,1,1\nscore,start_time\n1,1712104200000,\n",
        }
    )
    assert [row[1:3] for row in rows(made)] == [("stress", 0.0), ("weight", 71.2)]
    assert {"no metric of ours: vendor_news": 1}.items() <= next(
        file for file in tally.files.values() if file.file.endswith("other.csv")
    ).skipped.items()


def test_a_data_type_with_a_digit_in_its_name_is_a_prefix_too(record: Import) -> None:
    text = "com.samsung.health.hba1c,1,1\ncom.samsung.health.hba1c.start_time,com.samsung.health.hba1c.hba1c\n"
    made, _ = record({"hba1c.csv": text + "2024-04-03 10:00:00.000,5.4,\n"})
    assert rows(made) == [("03 12:00:00", "hba1c", 5.4, None, "%", [])]


def hour_with(tmp_path: Path, finer: str) -> tuple[list[tuple[Any, ...]], FileTally]:
    """What an hour gives that names this file of finer values, and the account."""
    kind = "com.samsung.shealth.tracker.heart_rate"
    top = tmp_path / f"samsunghealth_x_{STAMP}"
    (top / "jsons" / kind / "0").mkdir(parents=True)
    (top / f"{kind}.{STAMP}.csv").write_text(HEART)
    (top / "jsons" / kind / "0" / "0a.binning_data.json").write_text(finer)
    tally = import_files([top], tmp_path / "person.parquet")
    (account,) = (file for file in tally.files.values() if file.format == "samsung")
    return rows(pl.read_parquet(tmp_path / "person.parquet")), account


@pytest.mark.parametrize(
    ("finer", "notes"),
    [
        (FINER.replace("1712138460000", '"x"'), {"finer values without a time": 1}),
        (FINER.replace("72.0", '"fast"'), {"heart_rate: no number": 1}),
        (FINER[:-8], {"finer values: torn at the end of the file": 1}),
        (FINER.replace('"heart_rate":72.0', "heart_rate"), {"finer values: no JSON": 1}),
    ],
)
def test_an_hour_whose_finer_values_are_not_whole_stands(tmp_path: Path, finer: str, notes: dict[str, int]) -> None:
    """The minute that could be read is there too, and what was lost is told."""
    made, account = hour_with(tmp_path, finer)
    assert made == [
        ("03 12:00:00", "heart_rate", 70.0, None, "/min", []),
        ("03 12:00:00", "heart_rate", 68.0, None, "/min", []),
    ]
    assert account.notes == {
        "another file was read together with this one": 1,
        "finer values that are not whole: their summary counts": 1,
        **notes,
    }


def test_an_hour_whose_finer_values_are_no_json_stands(tmp_path: Path) -> None:
    made, account = hour_with(tmp_path, "no such thing")
    assert made == [("03 12:00:00", "heart_rate", 70.0, None, "/min", [])]
    assert account.notes["finer values that are not whole: their summary counts"] == 1


@pytest.mark.parametrize(
    ("offset", "minutes"), [("0", 0), ("UTC+0000", 0), ("7200000", 120), ("-3600000", -60), ("", 120)]
)
def test_an_offset_of_0_is_one(record: Import, offset: str, minutes: int) -> None:
    """It is not the zone that was told."""
    text = f"com.samsung.health.weight,1,1\nweight,start_time,time_offset\n71.5,1712138400000,{offset},\n"
    made, _ = record({"weight.csv": text})
    assert made["offset_min"].to_list() == [minutes]


def test_a_bad_cell_is_told_where_the_line_has_more(record: Import) -> None:
    text = "com.samsung.health.weight,1,1\nweight,body_fat,start_time\n71.5,abc,1712138400000,\n"
    made, tally = record({"weight.csv": text})
    assert made["value"].to_list() == [71.5]
    assert next(iter(tally.files.values())).notes == {"body_fat: no number": 1}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("last", "marks"), [("4/4/2024 6:01", ["date_order_assumed"]), ("4/13/2024 6:01", [])])
def test_stamps_that_begin_with_a_year_do_not_tell_how_the_others_are_written(
    record: Import, first: int, last: str, marks: list[str]
) -> None:
    stamps = ["2024-04-03 07:00:00.000", "4/3/2024 6:01:00 AM"]
    lines = [f"{70 + at},{stamp},UTC+0200," for at, stamp in enumerate([*stamps[:: 1 - 2 * first], last])]
    made, _ = record(
        {"weight.csv": "com.samsung.health.weight,1,1\nweight,start_time,time_offset\n" + "\n".join(lines)}
    )
    found = {start: quality for start, *_, quality in rows(made)}
    assert found["03 09:00:00"] == []
    assert found["03 08:01:00"] == marks


TWO_DAYS = """com.samsung.shealth.step_daily_trend,6310010,8
day_time,source_type,count,distance,deviceuuid
1712102400000,-2,5000,,a,
1712102400000,0,3000,2000,b,
1712188800000,0,7000,4000,b,
"""


def test_a_device_gives_way_to_a_total_of_its_own_day_and_column_alone(record: Import) -> None:
    made, _ = record({"trend.csv": TWO_DAYS})
    assert [(row[0][:2], *row[1:3]) for row in rows(made) if "superseded" not in row[-1]] == [
        ("03", "distance", 2000.0),
        ("03", "steps_daily", 5000.0),
        ("04", "distance", 4000.0),
        ("04", "steps_daily", 7000.0),
    ]


def test_a_total_of_a_day_stands_before_the_parts_of_that_day(record: Import) -> None:
    """The parts have instants: the person's clock tells of which day they are."""
    lines = "".join(
        f"2024-04-03 {at}:00:00.000,UTC-0600,{source},100,\n" for at, source in (("05", 0), ("06", 0), ("07", -2))
    )
    made, _ = record(
        {"steps.csv": f"com.samsung.health.step_count,1,1\nstart_time,time_offset,source_type,count\n{lines}"}
    )
    assert [row[-1] for row in rows(made)] == [[], ["superseded"], []]


def test_a_total_that_has_no_time_or_no_number_is_none(record: Import) -> None:
    for line in ("soon,-2,5000,,a,", "1712102400000,-2,many,,a,"):
        made, _ = record({"trend.csv": TWO_DAYS.replace("1712102400000,-2,5000,,a,", line)})
        assert all("superseded" not in row[-1] for row in rows(made))


@pytest.mark.parametrize(
    ("kind", "columns", "finer", "used"),
    [
        (
            "com.samsung.shealth.tracker.oxygen_saturation",
            {"spo2": 96.0, "heart_rate": 58.0},
            {"spo2": 95.0},
            [("heart_rate", 58.0), ("spo2", 95.0)],
        ),
        (
            "com.samsung.health.hrv",
            {"rmssd": 40.0, "sdnn": 50.0},
            {"rmssd": 39.0},
            [("hrv_rmssd", 39.0), ("hrv_sdnn", 50.0)],
        ),
        (
            "com.samsung.health.hrv",
            {"rmssd": 40.0, "sdnn": 50.0},
            {"sdnn": 49.0},
            [("hrv_rmssd", 40.0), ("hrv_sdnn", 49.0)],
        ),
    ],
)
def test_finer_values_replace_those_of_their_own_metric_alone(
    tmp_path: Path, kind: str, columns: dict[str, float], finer: dict[str, float], used: list[tuple[str, float]]
) -> None:
    top = tmp_path / f"samsunghealth_x_{STAMP}"
    (top / "jsons" / kind / "0").mkdir(parents=True)
    line = ",".join(map(str, ["2024-04-03 10:00:00.000", *columns.values(), "0a.binning_data.json", ""]))
    (top / f"{kind}.{STAMP}.csv").write_text(f"{kind},1,1\nstart_time,{','.join(columns)},binning_data\n{line}\n")
    item = {"start_time": 1712138400000, "end_time": 1712138459999, **finer}
    (top / "jsons" / kind / "0" / "0a.binning_data.json").write_text(json.dumps([item]))
    import_files([top], tmp_path / "person.parquet")
    made = rows(pl.read_parquet(tmp_path / "person.parquet"))
    assert sorted(row[1:3] for row in made if "superseded" not in row[-1]) == used
    assert len(made) == 3


@pytest.mark.parametrize("maker", ["Samsung", "samsung", "SAMSUNG"])
def test_a_later_file_without_that_of_devices_repeats_the_readings(tmp_path: Path, maker: str) -> None:
    """However that file spells the maker, whom the other does not name."""
    kind = "com.samsung.shealth.tracker.heart_rate"
    top = tmp_path / f"samsunghealth_x_{STAMP}"
    top.mkdir()
    text = HEART.replace("0a.binning_data.json", "")
    (top / f"{kind}.{STAMP}.csv").write_text(text)
    (top / f"com.samsung.health.device_profile.{STAMP}.csv").write_text(
        f"com.samsung.health.device_profile,1,1\ndeviceuuid,name,manufacturer,model\ndev-1,Watch6,{maker},SM-R940,\n"
    )
    later = tmp_path / f"{kind}.20240412090000.csv"
    later.write_text(text + text.splitlines()[-1].replace("10:00", "11:00") + "\n")
    import_files([top, later], tmp_path / "person.parquet")
    made = pl.read_parquet(tmp_path / "person.parquet")
    assert [row[-1] for row in rows(made)] == [[], ["duplicate_of"], []]
    assert {device["manufacturer"] for device in made["device"]} == {"Samsung"}


JOINED = """com.samsung.health.weight,6310010,3
start_time,time_offset,weight,body_fat
2024-04-03 10:00:00.000,UTC+0200,70.0,20.0,
com.samsung.health.weight,6310010,4
body_fat,start_time,weight,time_offset
21.0,2024-04-04 10:00:00.000,71.0,UTC+0300,
start_time,weight,time_offset
2024-04-05 10:00:00.000,72.0,UTC+0100,
"""


def test_rows_below_a_second_header_are_read_by_it(record: Import) -> None:
    """Two exports joined: the second has its columns in another order and its own line above, a third has none."""
    made, tally = record({"weight.csv": JOINED})
    assert rows(made) == [
        ("03 12:00:00", "body_fat", 20.0, None, "%", []),
        ("03 12:00:00", "weight", 70.0, None, "kg", []),
        ("04 13:00:00", "body_fat", 21.0, None, "%", []),
        ("04 13:00:00", "weight", 71.0, None, "kg", []),
        ("05 11:00:00", "weight", 72.0, None, "kg", []),
    ]
    (account,) = tally.files.values()
    assert account.skipped == {"above the header": 2, "the header": 3}
    assert not account.unexplained


def test_a_joined_file_of_another_data_type_is_of_that_type(record: Import) -> None:
    stress = "com.samsung.shealth.stress,1,1\nscore,start_time\n30.0,1712104200000,\n"
    made, tally = record({"joined.csv": stress + JOINED})
    assert made["metric"].to_list() == ["stress", "body_fat", "weight", "body_fat", "weight", "weight"]
    assert not next(iter(tally.files.values())).unexplained


def test_totals_and_dates_of_a_joined_file_are_those_of_all_of_it(record: Import) -> None:
    """A total over devices stands in the second part; of the dates that Excel wrote only the second tells the order."""
    second = TREND.replace("day_time,source_type,count,deviceuuid", "count,day_time,deviceuuid,source_type")
    lines = "5000,1712102400000,a,-2,\n3000,1712102400000,b,0,\n"
    head = "\n".join(second.splitlines()[:2]) + "\n"
    first = TREND.replace("1712102400000,-2,5000,a,\n", "")
    made, _ = record({"steps.csv": first + head + lines})
    assert sorted((row["value"], "superseded" in row["quality"]) for row in made.to_dicts()) == [
        (3000.0, True), (3000.0, True), (5000.0, False),
    ]  # fmt: skip
    text = "com.samsung.health.weight,1,1\nweight,start_time\n70,03/04/2024 10:00\n"
    text += "com.samsung.health.weight,1,1\nstart_time,weight\n13/04/2024 10:00,71\n"
    made, _ = record({"weight.csv": text})
    assert [row["start"].strftime("%m-%d") for row in made.to_dicts()] == ["04-03", "04-13"]
