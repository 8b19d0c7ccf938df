"""What a configuration's data are: counted from the file, said on the terminal, kept for the report."""

import json

import pytest

from metapulse.server.config import build_config
from metapulse.sim.cli import main
from metapulse.sim.data_facts import data_facts, fact_lines

HEAD = "person,watch,time,pulse,sway,state,note"


@pytest.fixture
def config(tmp_path):
    """Six people; p0 has one class, p1 two devices, p5 no value of sway at all; a gap of two days."""
    rows = []
    for i in range(6):
        for watch in ("a", "b")[: 1 + (i == 1)]:
            for k in range(12):
                time, sway, state = (
                    600 * k + (2880 if k > 5 else 0),
                    "" if i == 5 else k,
                    "up" if i and k % 2 else "down",
                )
                rows.append(f"p{i},{watch},{time},{60 + i},{sway},{state},2024-03-0{1 + k % 9}")
    (tmp_path / "data.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    own = {"name": "own", "path": str(tmp_path / "data.csv"), "user": "person", "device": "watch", "y": "state"}
    return {
        "run": {"rounds": 1},
        "source": own | {"time": "time", "drop_nan": True},
        "split": {"test_users": ["p1", "p2"], "validation": 0.0},
        "model": {"name": "mlp", "hidden": [4]},
        "method": {"name": "fedavg_ft"},
        "strategy": {"cohort": 2},
        "episodes": {"split": "samples"},
        "evaluation": {"shots": [2], "split": "samples", "steps": [0, 1]},
    }


def test_facts_are_counted_from_the_file(config):
    facts = data_facts(build_config(config))
    assert (facts["people"], facts["clients"], facts["devices"]) == (5, 6, {"a": 5, "b": 1})
    assert facts["inputs"] == ["pulse", "sway"]
    assert facts["split"] == {"training": 3, "validation": 0, "test": 2}
    assert facts["samples"] == {"min": 12, "median": 12, "max": 12}
    assert facts["gap"]["max"] == 600 + 2880
    assert {one["name"]: (one["samples"], one["people"], one["alone"]) for one in facts["classes"]} == {
        "down": (12 + 5 * 6, 5, 1),
        "up": (5 * 6, 4, 0),
    }
    text = "\n".join(f"{name}: {said}" for name, said in fact_lines(facts))
    for words in ("column 'note' is not used: dates", "12 of 84 rows left out", "p5", "people with one class only: 1"):
        assert words in text
    assert "p1, a (new_user, 2 shots): 4 support samples of 2 classes" in text


def test_the_command_the_folder_and_the_report_say_the_same(config, tmp_path, capsys):
    from metapulse.server.config_text import to_toml

    (tmp_path / "c.toml").write_text(to_toml(config))
    assert main(["data", "show", str(tmp_path / "c.toml")]) == 0
    shown = capsys.readouterr().out
    assert "people: 5" in shown
    assert main(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]) == 0
    facts = json.loads((tmp_path / "run/data.json").read_text())
    assert all(f"{name}: {text}" in shown for name, text in fact_lines(facts))
    page = (tmp_path / "run/report.html").read_text()
    assert "12 of 84 rows left out" in page


def test_a_population_that_is_not_listed_is_looked_at_in_part():
    table = {"source": {"name": "wearables", "users": 1_000_000}, "model": {"name": "mlp"}}
    facts = data_facts(build_config(table))
    assert facts["people"] == 1_000_000
    assert facts["looked_at"] == 500
    assert "of the first 500" in dict(fact_lines(facts))["people"]


def test_of_a_private_run_no_facts_are_written_and_nothing_names_people(config, tmp_path):
    from metapulse.server.config_text import to_toml

    private = {"mechanism": "central", "noise_multiplier": 5.0, "delta": 1e-3, "noise_seed": 1}
    config |= {"privacy": private, "strategy": {"cohort": 2, "weighting": "uniform"}}
    (tmp_path / "c.toml").write_text(to_toml(config))
    assert main(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run/data.json").exists()
    told = (tmp_path / "run/events.jsonl").read_text()
    assert "p5" not in told
    assert "left out" not in told + (tmp_path / "run/report.html").read_text()
