"""A run that uses a file of one's own goes on from another folder."""

import sys
from pathlib import Path

from metapulse.server.config_text import to_toml
from metapulse.sim.cli import main


def test_resume_and_audit_find_the_file_beside_which_the_run_was_begun(tmp_path, monkeypatch, capsys):
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    study.mkdir()
    elsewhere.mkdir()
    (study / "mine_apart.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(1, 1)\n")
    table = {
        "run": {"rounds": 2},
        "source": {"name": "sine", "clients": 8},
        "model": {"name": "module", "factory": "mine_apart:net"},
        "method": {"name": "fedavg_ft"},
        "strategy": {"cohort": 2},
        "episodes": {"split": "samples"},
        "evaluation": {"split": "samples", "shots": [2], "steps": [0]},
    }
    (study / "c.toml").write_text(to_toml(table))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p or ".").resolve() != study])
    monkeypatch.chdir(study)
    assert main(["run", "c.toml", "--out", "run"]) == 0
    for name in ("summary.json", "report.html"):
        (study / "run" / name).unlink()
    sys.modules.pop("mine_apart")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p or ".").resolve() != study])
    monkeypatch.chdir(elsewhere)
    assert main(["resume", "../study/run"]) == 0, capsys.readouterr().err
    assert main(["report", "../study/run"]) == 0
