"""The command line: what each command does."""

import re
import tomllib

from metapulse.registry import ATTACKS, METHODS, MODELS, SOURCES, TRANSFORMS
from metapulse.server.config import Config, build_config, resolved
from metapulse.server.folder import RunFolder
from metapulse.sim.sources.catalogue import catalogue
from metapulse.strategies.aggregators.registry import AGGREGATORS
from metapulse.strategies.registry import STRATEGIES
from tests.commands import PAIR, TINY


def test_run_makes_a_folder_named_after_the_run_and_its_seed(call, here):
    code, out, err = call("run", "tiny.toml", "--seed", 3)
    assert code == 0
    folder = RunFolder(here / "runs" / "tiny-3")
    assert folder.config()[0]["run"] == {"name": "tiny", "seed": 3, "rounds": 3}
    assert {"summary.json", "metrics.parquet", "report.html"} <= {p.name for p in folder.path.iterdir()}
    assert out.splitlines()[-1] == "report: runs/tiny-3/report.html"
    assert "new_user" in out
    assert "tiny: round 3/3" in err


def test_a_taken_folder_gets_a_number_and_a_given_one_is_not_overwritten(call, refused, here):
    for name in ("tiny-0", "tiny-0-2", "tiny-0-3"):
        assert call("run", "tiny.toml")[0] == 0
        assert (here / "runs" / name / "summary.json").exists()
    before = (here / "runs" / "tiny-0" / "summary.json").read_bytes()
    said = refused("run", "tiny.toml", "--out", "runs/tiny-0")
    assert said == "runs/tiny-0 holds a run already; choose another folder, or resume it"
    assert (here / "runs" / "tiny-0" / "summary.json").read_bytes() == before


def test_a_name_that_is_no_folder_name_stays_inside_runs(call, here):
    assert call("run", "tiny.toml", "--set", "run.name=../../up and/away")[0] == 0
    (made,) = (here / "runs").iterdir()
    assert made.name == "up-and-away-0"


def test_options_and_settings_reach_the_run(call, here):
    sets = ["--set", "run.rounds=2", "--set", "learner.inner_lr=0.05", "--set", "evaluation.steps=[0, 1]"]
    assert call("run", "tiny.toml", *sets, "--workers", 0, "--engine", "cohort", "--out", "a")[0] == 0
    config = RunFolder(here / "a").config()[0]
    assert (config["run"]["rounds"], config["learner"]["inner_lr"]) == (2, 0.05)
    assert config["evaluation"]["steps"] == [0, 1]


def test_a_suite_prints_one_table_and_one_report(call, here):
    code, out, _ = call("run", "pair.toml", "--out", "both")
    assert code == 0
    assert re.search(r"new_user +│ slow", out)
    assert re.search(r"│ +│ fast", out)
    assert {p.name for p in (here / "both").iterdir()} == {"suite.json", "slow", "fast", "report.html"}
    assert "Who is really better" in (here / "both" / "report.html").read_text()


def test_resume_finishes_what_is_missing_and_repeats_nothing(call, here):
    assert call("run", "pair.toml", "--out", "both")[0] == 0
    summaries = {name: (here / "both" / name / "summary.json").read_bytes() for name in ("slow", "fast")}
    (here / "both" / "fast" / "summary.json").unlink()
    code, _, err = call("resume", "both")
    assert code == 0
    assert "slow: round" not in err
    assert {name: (here / "both" / name / "summary.json").read_bytes() for name in summaries} == summaries
    assert call("resume", "both/slow")[0] == 0


def test_a_method_that_fails_does_not_stop_the_others(call, here):
    (here / "three.toml").write_text(PAIR + '[methods.crowd]\nsplit = { train_devices = ["moon"] }\n[methods.last]\n')
    code, out, err = call("run", "three.toml", "--out", "three")
    assert code == 2
    assert "metapulse: crowd: split.train_devices = ['moon']: must be among" in err
    assert all(name in out for name in ("slow", "fast", "last"))
    assert "crowd" not in out


def test_report_of_several_folders_is_one_page(call, here):
    assert call("run", "tiny.toml", "--out", "one")[0] == 0
    assert call("run", "pair.toml", "--out", "both")[0] == 0
    assert call("report", "one", "both")[:2] == (0, "report: report.html\n")
    page = (here / "report.html").read_text()
    assert all(f">{name}</button>" in page for name in ("tiny", "slow", "fast"))
    assert call("report", "one", "--out", "other.html")[:2] == (0, "report: other.html\n")
    assert (here / "other.html").exists()


def test_config_prints_the_default(call):
    code, out, _ = call("config", "--all")
    assert code == 0
    assert resolved(build_config(tomllib.loads(out))) == resolved(Config())


def test_config_alone_says_in_a_screen_what_there_is_to_ask_for(call):
    code, out, _ = call("config")
    assert code == 0
    assert len(out.splitlines()) <= 24
    assert all(len(line) <= 100 for line in out.splitlines())
    words = set(re.findall(r"[\w-]+", out))
    assert words >= {*METHODS, *SOURCES, "--all"}
    assert call("config", "maml", "--all")[0] == 2


def test_methods_lists_everything_with_its_paper(call):
    code, out, _ = call("methods")
    assert code == 0
    lines = [line.split("│") for line in out.splitlines() if line.startswith("│")]
    rows = {(cells[1].strip(), cells[2].strip()): cells for cells in lines if cells[2].strip()}
    sections = {
        "method": METHODS,
        "strategy": STRATEGIES,
        "strategy.aggregator": AGGREGATORS,
        "model": MODELS,
        "source": SOURCES,
        "transform": TRANSFORMS,
        "attack": ATTACKS,
    }
    assert set(rows) == {(kind, name) for kind, registry in sections.items() for name in registry}
    maml = rows["method", "maml"]
    assert maml[4].strip() == "Finn, Abbeel and Levine 2017"
    assert maml[5].strip() == "1703.03400"


def test_cite_names_exactly_what_is_used(call, here):
    code, out, _ = call("cite", "tiny.toml")
    assert code == 0
    keys = re.findall(r"^@misc\{(.+),$", out, re.MULTILINE)
    assert keys == ["nichol2018reptile", "data-sine", "beutel2020flower", "paszke2019pytorch"]
    assert out.count("{") == out.count("}")
    assert "author = {Nichol and Achiam and Schulman}" in out
    (here / "two.toml").write_text(
        TINY + "[methods.a]\n[methods.b]\nlearner = { name = 'maml' }\nengine = { workers = 2 }"
    )
    keys = re.findall(r"^@misc\{(.+),$", call("cite", "two.toml")[1], re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert {"nichol2018reptile", "finn2017maml", "moritz2018ray"} <= set(keys)
    robust = "strategy.aggregator = { name = 'nnm', then = { name = 'geometric_median' } }\n"
    (here / "robust.toml").write_text(TINY + "[methods.a]\n" + robust)
    keys = re.findall(r"^@misc\{(.+),$", call("cite", "robust.toml")[1], re.MULTILINE)
    assert keys[:4] == ["nichol2018reptile", "allouah2023fixing", "pillutla2022rfa", "data-sine"]


def test_data_list_says_licence_citation_and_where(call):
    code, out, _ = call("data", "list")
    assert code == 0
    squeezed = re.sub(r"[│\s]+", "", out)
    for entry in catalogue():
        assert entry.name in out
    assert "CCBY4.0" in squeezed


def test_more_shots_than_samples_are_as_many_as_there_are(call, here):
    """Up-to-K: 50 points on a sine, half of them for support; a million shots are those 25."""
    sets = ["--set", "evaluation.shots=[1000000]", "--set", "episodes.shots=1000000"]
    assert call("run", "tiny.toml", *sets, "--out", "many")[0] == 0
    assert (
        call("run", "tiny.toml", "--set", "evaluation.shots=[0]", "--set", "episodes.shots=0", "--out", "all")[0] == 0
    )
    many, everything = ([r["value"] for r in RunFolder(here / n).metrics()] for n in ("many", "all"))
    assert many == everything


def test_help_is_there_for_every_command(call):
    for command in ((), ("run",), ("resume",), ("report",), ("config",), ("methods",), ("cite",), ("data",)):
        code, out, err = call(*command, "--help")
        assert (code, err) == (0, "")
        assert "Usage" in out


def test_nothing_at_all_shows_the_help(call):
    code, out, err = call()
    assert code == 2
    assert "Usage" in out + err
