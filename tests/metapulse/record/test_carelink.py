"""CareLink: tables below each other, old and new headers, languages, clocks that go back among newest rows first."""

from __future__ import annotations

import polars as pl
import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows

OLD_DUTCH = (
    "Index,Datum,Tijd,Tijdstempel,Nieuwe apparaattijd,BG-meetwaarde (mmol/l),ID gekoppelde BG-meter,"
    "Tijdel. basaalsnelheid (E/H),Tijdel. basaaltype,Tijdel. basaalduur (hh:mm:ss),Bolustype,"
    "Geselecteerd bolusvolume (E),Afgegeven bolusvolume (E),Bolusduur (hh:mm:ss),BWZ-koolhydr.ratio (gram),"
    "BWZ-insulinegevoeligheid (mmol/l),BWZ-koolhydraten (gram),Sensorkalibratie-BG (mmol/l),Sensorglucose (mmol/l),"
    "ISIG-waarde,Dagtotaal insuline (E),Raw-Type"
)


def test_what_is_in_the_sample(record: Import) -> None:
    made, tally = record({"carelink.csv": SAMPLES["carelink.csv"]})
    near = pytest.approx
    assert rows(made) == [
        ("03 08:00:00", "carbohydrates", 30.0, None, "g", ["manual"]),
        ("03 08:00:00", "glucose", near(118.9, abs=0.1), None, "mg/dL", []),
        ("03 08:00:00", "glucose_blood", near(126.1, abs=0.1), "calibration", "mg/dL", []),
        ("03 08:05:00", "glucose", near(39.6, abs=0.1), None, "mg/dL", ["censored_low"]),
        ("03 08:30:00", "glucose_blood", near(127.9, abs=0.1), None, "mg/dL", []),
        ("03 08:39:00", "carbohydrates", 45.0, None, "g", ["manual"]),
        ("03 08:40:00", "insulin_rapid", 2.5, "square", "U", []),
        ("03 08:50:00", "insulin_basal_rate", 0.4, "temporary", "U/h", []),
        ("03 09:00:00", "insulin_basal_rate", 0.85, None, "U/h", []),
    ]
    bolus = made.row(6, named=True)
    assert (bolus["end"] - bolus["start"]).total_seconds() == 90 * 60
    assert bolus["device"]["model"] == "MiniMed 640G"
    assert bolus["device"]["unit"] == "NG1"
    (file,) = tally.files.values()
    assert file.skipped["no value: the device's clock was set"] == 1
    assert file.notes["the clock of the device was set"] == 1


def test_an_old_dutch_file_of_one_table(record: Import) -> None:
    """Commas between cells and decimal points; a ratio in grams and a sensitivity in mmol/l beside real values."""
    lines = [
        OLD_DUTCH,
        "1,27/05/15,08:00:00,27/05/15 08:00:00,,6.1,CNT1,,,,,,,,,,,,,,,BGReceived",
        "2,27/05/15,08:05:00,27/05/15 08:05:00,,,,0.5,Rate,01:00:00,,,,,,,,,,,,ChangeTempBasal",
        "3,27/05/15,08:10:00,27/05/15 08:10:00,,,,,,,Normaal,4.0,4.0,,,,,,,,,BolusNormal",
        "4,27/05/15,08:10:00,27/05/15 08:10:00,,,,,,,,,,,12,2.5,48,,,,,BolusWizardBolusEstimate",
        "5,27/05/15,08:15:00,27/05/15 08:15:00,,,,,,,,,,,,,,,6.3,20.1,,GlucoseSensorData",
    ]
    made, tally = record({"x": "\n".join(lines)})
    assert [(row[0], row[1], round(row[2], 1), row[3]) for row in rows(made)] == [
        ("27 08:00:00", "glucose_blood", 109.9, None),
        ("27 08:05:00", "insulin_basal_rate", 0.5, "temporary"),
        ("27 08:10:00", "carbohydrates", 48.0, None),
        ("27 08:10:00", "insulin_rapid", 4.0, "normal"),
        ("27 08:15:00", "glucose", 113.5, None),
    ]
    assert made["start"].dt.year().to_list() == [2015] * 5
    assert next(iter(tally.files.values())).skipped.total() == 1


def test_the_hour_that_exists_twice_among_newest_rows_first(record: Import) -> None:
    head = SAMPLES["carelink.csv"].split("8,00000")[0].split("-------;MiniMed 640G;Sensor")[1]
    walls = ["03:05", "03:00", "02:50", "02:40", "02:20", "02:00", "02:50", "02:30", "02:15", "02:00", "01:55"]
    lines = [
        f"{at},0;2024/10/27;{wall}:00" + 19 * ";" + f"{5 + at / 10:.1f};".replace(".", ",")
        for at, wall in enumerate(walls)
    ]
    made, _ = record({"x": "-------;MiniMed 640G;Sensor" + head + "\n".join(lines)})
    assert made["offset_min"].to_list() == [120] * 5 + [60] * 6
    assert made["value"].is_sorted(descending=True)
    assert made["quality"].list.len().sum() == 0


def test_a_section_that_begins_in_the_hour_that_exists_twice(record: Import) -> None:
    """Newest rows first: the readings go on to those before two o'clock, so they are of the first hour."""
    head = SAMPLES["carelink.csv"].split("8,00000")[0].split("-------;MiniMed 640G;Sensor")[1]
    sections = [["2024/10/28;08:00"], [f"2024/10/27;{wall}" for wall in ("02:10", "02:05", "02:00", "01:55")]]
    lines = ["-------;MiniMed 640G;Sensor" + head]
    for section in sections:
        lines += [f"1,0;{when}:00" + 19 * ";" + "5,0;" for when in section] + [
            "-------;MiniMed 640G;Sensor;NG2;-------"
        ]
    made, _ = record({"x": "\n".join(lines)})
    assert made["offset_min"].to_list() == [120] * 4 + [60]
    assert made["quality"].list.len().sum() == 0


def test_an_index_column_in_front_and_a_midnight_behind_the_date(record: Import) -> None:
    header = ",Index,Date,Time,Sensor Glucose (mg/dL),ISIG Value"
    made, _ = record(
        {"x": f"{header}\n0,1,2018-02-12 00:00:00,13:22:27,311,24.51\n1,2,2018-02-12 00:00:00,13:17:27,0,2\n"}
    )
    assert rows(made) == [
        ("12 13:17:27", "glucose", None, None, "mg/dL", ["sensor_error"]),
        ("12 13:22:27", "glucose", 311.0, None, "mg/dL", []),
    ]


def test_american_dates(record: Import) -> None:
    header = "Index,Date,Time,Sensor Glucose (mg/dL),ISIG Value"
    made, _ = record({"x": f"{header}\n0,2/12/2018,13:22:27,311,24.51\n1,2/11/2018,1:17:27 PM,200,2\n"})
    assert made["start"].dt.strftime("%m-%d").to_list() == ["02-11", "02-12"]
    assert made["quality"].to_list() == [["date_order_assumed"]] * 2


HEAD = SAMPLES["carelink.csv"].split("-------")[0]
NO_LENGTH = (
    "Index,Date,Time,New Device Time,BG Reading (mmol/L),Basal Rate (U/h),Bolus Type,Bolus Volume Selected (U),"
    "Bolus Volume Delivered (U),BWZ Carb Input (grams),Sensor Glucose (mmol/L),ISIG Value"
)
BOLUS = "0,2024/04/03,07:55:00,,,,Normal,5.0,4.5,,,"


def pump(header: str, *lines: str) -> dict[str, str]:
    return {"x": "\n".join([HEAD.replace(";", ","), "-------,MiniMed 640G,Pump,NG1,-------", header, *lines, ""])}


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (NO_LENGTH, BOLUS),
        (NO_LENGTH.replace("Delivered (U),", "Delivered (U),Programmed Bolus Duration (h:mm:ss),"), BOLUS + ","),
        (NO_LENGTH.replace("Selected (U),Bolus Volume Delivered (U)", "Delivered (U),Bolus Volume Selected (U)"),
         BOLUS.replace("5.0,4.5", "4.5,5.0")),
        (NO_LENGTH.replace("Bolus Type,", "").replace(",ISIG", ",Bolus Type,ISIG"),
         "0,2024/04/03,07:55:00,,,,5.0,4.5,,,Normal,"),
        (NO_LENGTH.replace("BG Reading", "BG Source,BG Reading"), "0,2024/04/03,07:55:00,,METER,,,Normal,5.0,4.5,,,"),
        ("New," + NO_LENGTH, "7," + BOLUS),
    ],
)  # fmt: skip
def test_insulin_is_found_by_the_name_of_its_column(record: Import, header: str, line: str) -> None:
    made, tally = record(pump(header, line))
    assert rows(made) == [("03 07:55:00", "insulin_rapid", 4.5, "normal", "U", [])]
    (account,) = tally.files.values()
    assert set(account.notes) <= {"a column that is not read: New"}
    assert {reason for reason in account.skipped if reason.startswith("no value")} == set()


def test_insulin_whose_column_is_not_known_is_named_in_the_reason(record: Import) -> None:
    header = "Index,Datum,Uhr,Neu,Blut (mmol/L),Basal (U/h),Art,Gewählt (U),Abgegeben (U),KH (g),Sensor (mmol/L),ISIG"
    made, tally = record(pump(header, BOLUS, "1,2024/04/03,07:50:00,,,,,,,,6.8,24", "2,2024/04/03,07:40:00,x,,,,,,,,"))
    assert made["metric"].to_list() == ["glucose"]
    (account,) = tally.files.values()
    assert account.skipped["no value: insulin in a column whose name is not known"] == 1


def test_what_is_no_finger_and_no_rate_by_its_name_is_none(record: Import) -> None:
    """The first glucose and the first rate of a table are taken for those only where no name says otherwise."""
    header = (
        "Index,Date,Time,New Device Time,Temp Basal Amount (U/h),BWZ Target High BG (mmol/L),BWZ Carb Ratio (grams),"
        "Sensor Glucose (mmol/L),ISIG Value"
    )
    made, _ = record(pump(header, "0,2024/04/03,07:55:00,,0.5,6.0,12,6.8,24"))
    assert made["metric"].to_list() == ["glucose"]


def test_a_column_whose_name_stands_twice_is_noted(record: Import) -> None:
    header = NO_LENGTH.replace("Delivered (U)", "Delivered (U),Bolus Volume Delivered (U)")
    made, tally = record(pump(header, BOLUS.replace("4.5", "4.5,3.0")))
    assert made["value"].to_list() == [4.5]
    notes = next(iter(tally.files.values())).notes
    assert notes == {"a column that is not read: Bolus Volume Delivered (U)": 1}


def test_a_length_whose_column_is_not_known_is_noted(record: Import) -> None:
    header = NO_LENGTH.replace("Delivered (U),", "Delivered (U),Length of Bolus (h:mm:ss),").replace(
        "Bolus Type", "Kind"
    )
    header = header.replace("Bolus Volume Selected (U),", "")
    made, tally = record(pump(header, "0,2024/04/03,07:55:00,,,,Square,4.5,1:30:00,,,"))
    assert made.select("metric", "value", "end").rows() == [("insulin_rapid", 4.5, None)]
    notes = next(iter(tally.files.values())).notes
    assert notes == {"a column that is not read: Length of Bolus (h:mm:ss)": 1, "a column that is not read: Kind": 1}


@pytest.mark.parametrize(
    ("name", "fingers", "unread"),
    [("BG Reading", [110], []), ("Meter BG", [110], []), ("Xyzzy", [], ["Xyzzy (mg/dL)"])],
)
def test_a_column_of_finger_readings_is_found_or_noted(
    record: Import, name: str, fingers: list[float], unread: list[str]
) -> None:
    """Beside a column that was added, in a row that gives carbohydrates too; and ketones, which are not read."""
    header = f"Index,Date,Time,New Device Time,Extra,{name} (mg/dL),BWZ Carb Input (grams),Sensor Glucose (mg/dL)"
    header += ",ISIG Value,Event Marker,Ketone (mmol/L)"
    made, tally = record(pump(header, "0,2024/01/22,10:00:00,,z,110,45,,,,0.7", "1,2024/01/22,09:00:00,,,,,120,10,,"))
    assert made.filter(pl.col("metric") == "glucose_blood")["value"].to_list() == fingers
    assert made.filter(pl.col("metric") == "carbohydrates")["value"].to_list() == [45]
    notes = next(iter(tally.files.values())).notes
    assert notes == {f"a column that is not read: {name}": 1 for name in ["Extra", "Ketone (mmol/L)", *unread]}


@pytest.mark.parametrize(
    ("word", "code"),
    [("Normal", "normal"), ("Normaal", "normal"), ("Dual (normal part)", "dual (normal part)"),
     ("Dubbel/Vierkant", "dual/square"), ("Carré", "square"), ("Xyzzy", "xyzzy")],
)  # fmt: skip
def test_the_kind_of_a_bolus_is_one_code_in_every_language(record: Import, word: str, code: str) -> None:
    made, _ = record(pump(NO_LENGTH, BOLUS.replace("Normal", word)))
    assert made["code"].to_list() == [code]
