"""The catalogue: every source says of its own what it is, and a published one how it is brought in."""

import pytest

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.importers.compact import write_npz
from metapulse.sim.sources.catalogue import OWN_DATA, catalogue, import_dataset


def test_every_registered_source_is_in_the_catalogue_generators_first():
    names = [entry.name for entry in catalogue()]
    assert {*names, *OWN_DATA} == set(SOURCES)
    assert all(SOURCES[name].dataset.name == name for name in names)
    generated = [entry.read is None for entry in catalogue()]
    assert generated == sorted(generated, reverse=True)


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_an_entry_says_all_of_it(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("METAPULSE_CACHE", str(tmp_path))
    monkeypatch.delenv("METAPULSE_DATA", raising=False)
    assert entry.title
    assert entry.licence
    assert entry.citation
    assert entry.where == "built in" or entry.where.startswith("https://")
    assert (entry.read is None) == (entry.where == "built in") == (not entry.layout)
    assert entry.path is None
    written = write_npz(tmp_path / f"{entry.name}.npz", {})
    assert entry.path == (written if entry.read else None)


@pytest.mark.parametrize("name", ["mnist", "sine", "own"])
def test_what_cannot_be_imported_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=rf"data set '{name}': must be one of .*cgm_open, .*omniglot"):
        import_dataset(name, tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="absent: no such file or folder"):
        import_dataset("uci_har", tmp_path / "absent")
