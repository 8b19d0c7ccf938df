"""What a run rests on besides its settings: content of data and of code that is not ours."""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from metapulse.errors import RunError
from metapulse.registry import SOURCES
from metapulse.server.config import build_config
from metapulse.server.fingerprint import address, data_digest, fingerprint, fingerprinted_files, refuse_changed
from metapulse.sim.sources.own import Own

ROWS = [f"p{p},{g},{x},{(p + g + x) % 2}" for p in range(3) for g in range(2) for x in range(4)]


def table(path, rows=ROWS, header="user,group,a,y"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def own(path, **more):
    return build_config({"source": {"name": "own", "path": str(path), **more}})


def inputs(config):
    return fingerprint(config, SOURCES.make(config.source))


def test_generators_have_none_and_keep_the_digest_of_their_settings():
    config = build_config({})
    assert inputs(config) == {}
    assert address(config, {}) == config.digest()
    assert data_digest({}) == ""


def test_one_byte_of_the_data_is_another_address_and_another_place_is_not(tmp_path):
    here, there = own(table(tmp_path / "a.csv")), own(table(tmp_path / "b" / "c.csv"))
    assert inputs(here) == inputs(there)
    assert address(here, inputs(here)) == address(there, inputs(there)) != here.digest()
    before, known = address(here, inputs(here)), data_digest(inputs(here))
    stat = (tmp_path / "a.csv").stat()
    table(tmp_path / "a.csv", [*ROWS[:-1], ROWS[-1].replace(",3,", ",9,")])  # as long as it was
    os.utime(tmp_path / "a.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert address(here, inputs(here)) != before
    assert data_digest(inputs(here)) != known


def test_other_settings_are_another_address(tmp_path):
    path = table(tmp_path / "a.csv")
    first, second = own(path), own(path, unit="bpm")
    assert inputs(first) == inputs(second)
    assert address(first, inputs(first)) != address(second, inputs(second))


@pytest.mark.parametrize("changed", ["data.toml", "d.csv"])
def test_a_described_folder_rests_on_both_files(tmp_path, changed):
    table(tmp_path / "d.csv")
    (tmp_path / "data.toml").write_text('path = "d.csv"\n')
    config = own(tmp_path)
    before = inputs(config)
    assert list(before) == ["data source.data", "data source.path"]
    with (tmp_path / changed).open("a") as stream:
        stream.write("\n# more\n" if changed == "data.toml" else "p9,1,1,1\n")
    now = inputs(config)
    assert [k for k in now if now[k] != before[k]] == [
        "data source.path" if changed == "data.toml" else "data source.data"
    ]


def test_data_that_is_gone_has_no_digest_and_says_how_to_go_on(tmp_path):
    config = own(table(tmp_path / "a.csv"))
    before = inputs(config)
    (tmp_path / "a.csv").unlink()
    assert inputs(config) == {"data source.path": ""}
    assert data_digest(inputs(config)) == ""
    with pytest.raises(RunError, match=r"data source\.path .*a.csv.* is not there any more.*--data PATH"):
        refuse_changed(Path("run"), before, inputs(config), fingerprinted_files(config, SOURCES.make(config.source)))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes modules of one's own, and forgets them again."""
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = set(sys.modules)
    yield lambda name, text: ((tmp_path / name).parent.mkdir(exist_ok=True), (tmp_path / name).write_text(text))
    for name in set(sys.modules) - kept:
        del sys.modules[name]


LEARNER = "from metapulse.methods.reptile import Reptile\nfrom {} import RATE\nclass Mine(Reptile):\n    pass\n"


def test_code_is_its_module_and_what_it_imports_from_beside_it(module):
    module("my_rates.py", "RATE = 0.1\n")
    module("my_learner.py", LEARNER.format("my_rates"))
    config = build_config({"learner": {"name": "my_learner:Mine"}})
    before = fingerprint(config)
    assert list(before) == ["code my_learner", "code my_rates"]
    module("my_rates.py", "RATE = 0.2\n")
    now = fingerprint(config)
    assert address(config, now) != address(config, before)
    with pytest.raises(RunError, match="code my_rates has changed"):
        refuse_changed(Path("run"), before, now)


def test_code_in_a_package_is_found_through_relative_imports_and_inside_functions(module):
    module("my_pack/__init__.py", "")
    module("my_pack/deep.py", "def rate():\n    from .late import RATE\n    return RATE\n")
    module("my_pack/late.py", "RATE = 1\n")
    module("my_pack/net.py", "import torch\nfrom . import deep\nmake = lambda: torch.nn.Linear(2, 2)\n")
    config = build_config({"model": {"name": "module", "factory": "my_pack.net:make"}})
    assert list(fingerprint(config)) == [f"code my_pack{part}" for part in ("", ".deep", ".late", ".net")]


def test_a_package_that_only_a_function_imports_is_code_before_and_after_it_is_imported(module):
    """It is found without being imported; else a run would have other inputs than the next one in its process."""
    module("my_helpers/__init__.py", "")
    module("my_helpers/inner.py", "RATE = 0.1\n")
    module("my_lazy.py", LEARNER.replace("from {} import RATE", "def rate():\n    from my_helpers.inner import RATE"))
    config = build_config({"learner": {"name": "my_lazy:Mine"}})
    before = fingerprint(config)
    assert list(before) == ["code my_helpers", "code my_helpers.inner", "code my_lazy"]
    assert "my_helpers" not in sys.modules
    importlib.import_module("my_helpers.inner")
    assert fingerprint(config) == before
    module("my_helpers/inner.py", "RATE = 0.2\n")
    assert fingerprint(config) != before


AGGREGATOR = """
from dataclasses import dataclass
from metapulse.settings import setting
from metapulse.strategies.aggregators.mean import Mean
@dataclass(frozen=True)
class Mine(Mean):
    table: str = setting("", "weights by device")
"""


def test_files_that_own_code_inside_an_entry_of_ours_reads_are_data(module, tmp_path):
    """An aggregator of one's own stands in the settings of a strategy, a recipe in those of ``records``."""
    module("my_aggregator.py", AGGREGATOR)
    path = tmp_path / "weights.csv"
    path.write_text("1,2\n")
    aggregator = {"name": "my_aggregator:Mine", "table": str(path)}
    config = build_config({"strategy": {"name": "fedavg", "aggregator": aggregator}})
    before = fingerprint(config)
    assert list(before) == ["code my_aggregator", "data strategy.aggregator.table"]
    path.write_text("1,3\n")
    assert address(config, fingerprint(config)) != address(config, before)


def test_functions_named_in_a_stock_strategys_options_are_code(module):
    module("my_metrics.py", "def both(replies, weight):\n    return {}\n")
    options = {"train_metrics_aggr_fn": "my_metrics:both"}
    config = build_config({"learner": {"name": "fedavg"}, "strategy": {"name": "stock", "options": options}})
    assert "code my_metrics" in fingerprint(config)


def test_our_own_code_and_texts_that_only_look_like_references_are_none():
    config = build_config(
        {"learner": {"name": "metapulse.methods.maml:MAML"}, "model": {"name": "mlp"}, "source": {"name": "sine"}}
    )
    assert fingerprint(config) == {}
    assert fingerprint(own("x.csv", unit="mmol:l")) == {}


SOURCE = """
from dataclasses import dataclass
import numpy as np
from metapulse.data import Client, Samples, Task
from metapulse.settings import setting

@dataclass(frozen=True)
class Mine:
    path: str = setting("", "where")
    task = Task("regression", (1,), 1)
    users = 3
    devices = ("own",)
    def __len__(self): return 3
    def client(self, index): return Client(index, index, "own", str(index))
    def clients_of(self, user): return [user]
    def samples(self, index):
        if index == 1: raise ValueError("nothing")
        x = np.load(FILE).reshape(-1, 1)
        return Samples(x, x, np.arange(len(x)), np.zeros(len(x), bool))
"""


def test_a_source_of_ones_own_rests_on_its_samples(module, tmp_path):
    np.save(tmp_path / "hidden.npy", np.zeros(4, np.float32))
    module("my_source.py", f"FILE = {str(tmp_path / 'hidden.npy')!r}\n{SOURCE}")
    config = build_config({"source": {"name": "my_source:Mine", "path": str(tmp_path / "hidden.npy")}})
    before = inputs(config)
    assert list(before) == ["code my_source", "data source", "data source.path"]
    assert inputs(config) == before
    np.save(tmp_path / "hidden.npy", np.ones(4, np.float32))
    now = inputs(config)
    assert {k for k in now if now[k] != before[k]} == {"data source", "data source.path"}
    importlib.invalidate_caches()


def test_own_data_says_which_files_it_reads(tmp_path):
    assert Own(path="~/d.csv").files() == {"path": Path("~/d.csv").expanduser()}
