"""Specifications: what is laid over what, and every mistake named with its place in the file."""

import re
from pathlib import Path

import pytest

from metapulse.errors import ConfigError
from metapulse.sim.cells import distinct
from metapulse.sim.lab.cells import comparison_cells, select
from tests.lab import SPEC, spec


def changed(old, new):
    assert SPEC.count(old) == 1, old
    return SPEC.replace(old, new)


def test_a_run_is_base_then_data_then_method_then_method_on_data(tmp_path):
    asked = spec(tmp_path)
    assert (asked.name, asked.seeds, asked.reference) == ("tiny", (0, 1), "fedavg_ft")
    few, many = asked.config("few", "maml", 7), asked.config("many", "maml", 7)
    assert (few.run.seed, few.run.rounds, few.source["clients"], many.source["clients"]) == (7, 4, 10, 20)
    assert (few.learner["inner_lr"], many.learner["inner_lr"]) == (0.02, 0.05)
    assert few.strategy["name"] == "fedmaml"
    tuned = asked.config("many", "maml", 7, {"learner": {"inner_lr": 0.3}})
    assert (tuned.learner["inner_lr"], tuned.learner["name"]) == (0.3, "maml")
    assert asked.config("many", "maml", 7) == many  # nothing was laid over the specification itself


def test_the_documented_specification_is_one(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "lab.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    asked = spec(tmp_path, text)
    assert len(comparison_cells(asked)) == 2 * 2 * 5
    assert asked.config("uci_har", "maml", 0).learner["inner_lr"] == 0.03
    assert len(asked.space("wearables", "maml")) == 2


def test_a_method_can_be_left_out_of_a_data_set(tmp_path):
    asked = spec(tmp_path, SPEC + "[methods.reptile]\nmethod = { name = 'reptile' }\non.few = false\n")
    assert ("few", "reptile") not in asked.pairs
    assert ("many", "reptile") in asked.pairs
    assert {cell.dataset for cell in comparison_cells(asked) if cell.method == "reptile"} == {"many"}


def test_without_a_reference_it_is_the_first_method(tmp_path):
    assert spec(tmp_path, changed('reference = "fedavg_ft"\n', "")).reference == "fedavg_ft"


MISTAKES = {
    "no TOML": ("[compare", "configuration = '[compare': is not valid TOML"),
    "unknown table": (SPEC + "[dataset.x]\n", "dataset = {'x': {}}: unknown key; did you mean 'datasets'?"),
    "unknown key": (changed("seeds =", "seds ="), "compare.seds = [0, 1]: unknown key; did you mean 'seeds'?"),
    "no list": (changed("seeds = [0, 1]", "seeds = 3"), "compare.seeds = 3: expected a list"),
    "wrong type": (changed("[0, 1]", "[0, 'a']"), "compare.seeds[1] = 'a': expected an integer"),
    "negative": (changed("[0, 1]", "[-1]"), "compare.seeds = -1: must be ≥ 0"),
    "a seed twice": (changed("[0, 1]", "[1, 1]"), "compare.seeds = [1, 1]: expected one or more, each once"),
    "no seeds": (changed("[0, 1]", "[]"), "compare.seeds = []: expected one or more, each once"),
    "no folder's name": (changed('name = "tiny"', 'name = "../up"'), "compare.name = '../up': names a folder"),
    "no such reference": (
        changed('= "fedavg_ft"\n[base]', '= "fedavg"\n[base]'),
        "compare.reference = 'fedavg': must be among fedavg_ft, maml",
    ),
    "reference left out": (
        changed("[methods.fedavg_ft]", "[methods.fedavg_ft]\non.few = false"),
        "methods.fedavg_ft.on = 'few': the reference is run on every data set",
    ),
    "no methods": (SPEC[: SPEC.index("[methods")], "methods = {}: a comparison needs [methods.NAME]"),
    "no data": (
        SPEC[: SPEC.index("[datasets")] + SPEC[SPEC.index("[methods") :],
        "datasets = {}: a comparison needs [datasets.NAME]",
    ),
    "data is no table": (
        SPEC.replace("[datasets.few]", "[datasets]\nbad = 3\n[datasets.few]"),
        "datasets.bad = 3: exp",
    ),
    "method's name": (SPEC + "[methods.'a b']\n", "methods = 'a b': a name has letters"),
    "in the base": (changed("hidden = [4] }", "hiden = [4] }"), "base.model.hiden = [4]: unknown key; did you mean"),
    "in the data": (changed("clients = 10", "clients = 0"), "datasets.few.source.clients = 0: must be ≥ 1"),
    "in a method": (
        changed('maml", inner_lr = 0.02', 'maml", inner_lr = -1.0'),
        "methods.maml.learner.inner_lr = -1.0: must be > 0",
    ),
    "on one data set": (
        changed("learner = { inner_lr = 0.05 }", "learner = { inner_rl = 0.05 }"),
        "methods.maml.on.many.learner.inner_rl = 0.05: unknown key; did you mean 'inner_lr'?",
    ),
    "on no data set": (changed("on.many", "on.lots"), "methods.maml.on = 'lots': must be among few, many"),
    "on is no table": (changed("on.many = { learner = { inner_lr = 0.05 } }", "on = 3"), "methods.maml.on = 3: exp"),
    "no such method": (changed('name = "maml"', 'name = "mamel"'), "methods.maml.learner.name = 'mamel': must be one"),
    "a seed of its own": (SPEC + "run = { seed = 3 }\n", "methods.maml.run.seed = 3: seeds are those of compare.seeds"),
    "a section is no table": (SPEC + "run = 3\n", "methods.maml.run = 3: expected a table"),
    "test people asked on the way": (
        changed("validation_every = 2", "every = 2"),
        "evaluation.every = 2: must be 0: a comparison asks test people when a run has ended",
    ),
    "workers of its own": (
        changed("[datasets.few]", "engine = { workers = 2 }\n[datasets.few]"),
        "engine = 2: a run of a comparison has the cohort engine and no workers of its own",
    ),
    "another engine": (
        changed("[datasets.few]", 'engine = { name = "flower" }\n[datasets.few]'),
        "engine = 'flower': a run of a comparison has the cohort engine",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_say_where(tmp_path, mistake):
    text, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        spec(tmp_path, text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_method_on_every_data_set_with_every_seed(tmp_path):
    cells = comparison_cells(spec(tmp_path))
    assert [cell.name for cell in cells] == [
        f"{dataset}/{method}/{seed}"
        for dataset in ("few", "many")
        for method in ("fedavg_ft", "maml")
        for seed in (0, 1)
    ]
    assert len({cell.key for cell in cells}) == 8
    tuned = comparison_cells(spec(tmp_path), chosen={("few", "maml"): {"learner": {"inner_lr": 0.4}}})
    assert [a.name for a, b in zip(cells, tuned, strict=True) if a != b] == ["few/maml/0", "few/maml/1"]


def test_an_address_is_what_decides_the_numbers(tmp_path):
    """Names, and how a setting came about, do not matter; neither do defaults that are written out."""
    same = SPEC + '[methods.again]\nlearner = { name = "maml", inner_lr = 0.02, inner_steps = 5 }\n'  # 5: the default
    same += 'strategy = { name = "fedmaml", cohort = 3 }\n'
    cells = comparison_cells(spec(tmp_path, same))
    twins = [cell for cell in cells if cell.dataset == "few" and cell.method != "fedavg_ft"]
    assert twins[0].key == twins[2].key != twins[1].key == twins[3].key
    assert [cell.name for cell in distinct(twins)] == ["few/maml/0", "few/maml/1"]


def test_some_of_the_cells(tmp_path):
    cells = comparison_cells(spec(tmp_path))
    assert [cell.name for cell in select(cells, ["few/*/1", "many/maml/*"])] == [
        "few/fedavg_ft/1",
        "few/maml/1",
        "many/maml/0",
        "many/maml/1",
    ]
    assert select(cells, []) == cells
    with pytest.raises(ConfigError, match=r"--only = 'mamel/\*': fits no DATASET/METHOD/SEED"):
        select(cells, ["few/*", "mamel/*"])
