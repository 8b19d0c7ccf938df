"""``metapulse privacy`` and the report's section."""

from __future__ import annotations

from pathlib import Path

import pytest

from metapulse.sim.cli import main
from metapulse.sim.report import write_report
from tests.server.test_private_runs import config, run

PLAN = ["privacy", "--people", "10000", "--cohort", "100", "--rounds", "1000"]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_noise_becomes_epsilon(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys, *PLAN, "--noise", "1")
    assert code == 0
    assert "after 1000 of 1000 rounds: ε = 2.1246 (pld), 2.4367 (rdp)" in text
    assert "q = 0.01" in text
    assert "add or remove one person; δ = 1e-06" in text


@pytest.mark.long
def test_epsilon_becomes_noise(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys, *PLAN, "--epsilon", "4", "--accountant", "rdp")
    assert code == 0
    assert "ε ≤ 4 allows 10" in text  # 1000 rounds and a few


def test_a_plan_beyond_its_budget_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys, *PLAN, "--epsilon", "1", "--noise", "40", "--sampling", "fixed")
    assert code == 2
    assert "privacy.epsilon = 1.0: 1000 rounds would spend" in text


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = told(capsys, "privacy", "--people", "10")
    assert (code, "--people, --cohort and --rounds are needed" in text) == (2, True)


def test_a_configuration_is_read_as_run_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'run = { rounds = 20 }\nsource = { name = "sine", clients = 50 }\nsplit = { test = 0.2, validation = 0.0 }\n'
        'transform = { name = "none" }\nmodel = { name = "sine" }\nepisodes = { split = "samples" }\n'
        'strategy = { name = "fedreptile", cohort = 8 }\nprivacy = { mechanism = "central", sampling = "fixed" }\n'
    )
    code, text = told(capsys, "privacy", str(path), "--noise", "20")
    assert code == 0
    assert "people N = 40, in a round qN = 8 (fixed), q = 0.2" in text
    assert told(capsys, "privacy", str(path), "--set", "privacy.mechanism=none")[0] == 2


def test_the_report_states_the_whole_claim(tmp_path: Path) -> None:
    run(config(2, noise_multiplier=8.0), tmp_path / "run")
    write_report([tmp_path / "run"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    section = page[page.index("<h2>Privacy</h2>") :]
    section = section[: section.index("</section>")]
    for claim in (
        "replace one person",
        "central, fixed",
        "pld, dp-accounting",
        "2 of 2",
        "no privacy",
        ">8<",
        ">1e-05<",
    ):
        assert claim in section


@pytest.mark.long
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_epsilon_that_promises_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["privacy", "--people", "100", "--cohort", "20", "--rounds", "60", "--delta", "1e-5", "--epsilon"]
    code, text = told(capsys, *plan, "1e12")
    assert code == 2
    assert "privacy.epsilon = 1000000000000.0: must be ≥ 0 and ≤ 1000000.0" in text
    assert told(capsys, *plan, "1e6")[0] == 0
