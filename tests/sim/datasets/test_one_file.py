"""A published data set is one file and one line of the registry; ``mood_steps.py`` beside this is such a file."""

import pytest

from metapulse.registry import SOURCES

HOURS = [(person, hour) for person in (1, 2, 7) for hour in range(8)]
ROWS = [f"{person},{100 * hour + person},{60 + hour},{('low', 'high')[hour % 2]}" for person, hour in HOURS]
CONFIG = """
source = { name = "mood_steps" }
run.rounds = 1
split = { test = 0.34, validation = 0.0 }
model = { name = "mlp", hidden = [4] }
evaluation = { steps = [0, 1], shots = [1], scenarios = ["new_user"] }
"""


@pytest.fixture(autouse=True)
def _line(monkeypatch):
    monkeypatch.setitem(SOURCES._entries, "mood_steps", "tests.sim.datasets.mood_steps:MoodSteps")


@pytest.fixture
def csv(here):
    (here / "mood.csv").write_text("\n".join(["person,steps,pulse,mood", *ROWS]) + "\n")
    (here / "mood.toml").write_text(CONFIG)
    return here / "mood.csv"


def test_it_is_listed_imported_and_as_published(call, here, csv):
    said = call("data", "list")[1]
    assert all(word in said for word in ("mood_steps", "CC0 1.0", "mood.csv"))
    made = here / "cache" / "mood_steps.npz"
    assert call("data", "import", "mood_steps", csv)[:2] == (0, f"imported mood_steps: {made}\n")
    assert SOURCES["mood_steps"].dataset.path == made
    source = SOURCES.make({"name": "mood_steps"})
    assert [source.client(i).label for i in range(len(source))] == ["1", "2", "7"]
    assert source.samples(2).x[3].tolist() == [307.0, 63.0]
    assert source.samples(2).y.tolist() == [0, 1] * 4
    assert source.task.labels == ("low", "high")


def test_it_is_configured_cited_shown_and_run(call, csv):
    assert 'name = "mood_steps"' in call("config", "maml", "mood_steps")[1]
    assert "Example 2020" in call("cite", "mood.toml")[1]
    assert call("data", "import", "mood_steps", csv)[0] == 0
    assert "people: 3" in call("data", "show", "mood.toml")[1]
    code, _, err = call("run", "mood.toml", "--out", "run")
    assert code == 0, err


def test_what_is_wrong_with_it_is_said(refused, csv):
    assert "mood_steps has not been imported" in refused("run", "mood.toml")
    csv.write_text(csv.read_text().replace("high", "good", 1))
    assert "mood.csv: row 3: mood = 'good'; must be one of low, high" in refused("data", "import", "mood_steps", csv)
