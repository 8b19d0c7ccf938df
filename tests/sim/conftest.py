"""The command line in this process, in a folder of its own."""

import pytest

from metapulse.sim.cli import main
from tests.commands import PAIR, TINY


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with tiny.toml and pair.toml, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METAPULSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("METAPULSE_DATA", raising=False)
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "pair.toml").write_text(PAIR)
    return tmp_path


@pytest.fixture
def call(here, capsys):
    """Runs a command; (exit code, stdout, stderr)."""

    def run(*argv):
        code = main([str(a) for a in argv])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(call):
    """Runs a command that must fail; the one line it says."""

    def run(*argv, code=2):
        got, out, err = call(*argv)
        said = [line for line in err.splitlines() if line.startswith("metapulse: ")]
        assert (got, out, len(said)) == (code, "", 1), err
        assert "Traceback" not in err
        return said[0].removeprefix("metapulse: ")

    return run
