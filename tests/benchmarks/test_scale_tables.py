"""The tables of the scale benchmarks, on figures that are known."""

from benchmarks import cost, memory, population, scaling
from benchmarks.model import Machine, predict
from benchmarks.rounds import over, workload
from metapulse.server.config import build_config

MACHINE = Machine((4e-7,), (1e-11, 5e-5, 3e-4), (1e-6, 2e-3, 1e-3, 2e-9), (4e-4, 1e-9, 5e-9))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def figures(case):
    spent = predict(MACHINE, cost.load(case))
    total = sum(spent.values())
    return {**spent, "data": 0.25 * spent["compute"], "inner": 0.75 * spent["compute"], "wall_s": total, "cpu_s": total}


def test_a_machine_that_follows_the_model_is_predicted_without_error():
    found = {case: figures(case) for case in (*cost.CALIBRATION, *cost.CHECKS)}
    machine = cost.calibrate([(cost.load(c), cost.stages(c, found[c])) for c in cost.CALIBRATION])
    lines = cost.checked(machine, {case: found[case] for case in cost.CHECKS})
    assert [cells(line)[-1].strip("+-") for line in lines[1:]] == ["0%"] * len(cost.CHECKS)


def test_more_machines_do_not_help_a_server_that_adds_every_sum():
    """100 machines: a sum of 25.8 kB for every chunk of each worker's 10 000 clients, against one for all."""
    lines = [cells(line) for line in cost.ahead(MACHINE)[1:]]
    assert [line[0] for line in lines] == ["1", "1", "10", "10", "100", "100"]
    busy = [int(line[-2].strip("%")) for line in lines]
    assert busy[4] < busy[0]  # the server is where it ends
    assert busy[5] > busy[4]  # one sum a worker moves the end away
    assert lines[0][3] == lines[1][3]  # what travels does not change what is computed


def test_memory_that_grows_is_told_from_memory_that_varies():
    rounds = [{"round": r, "own_mb": 200 + (r % 50) / 25} for r in range(25, 501, 25)]
    _, slope, spread = memory.line({"rounds": rounds})
    assert slope - 2 * spread < 0
    grows = [{**r, "own_mb": r["own_mb"] + r["round"] / 1024 * 20} for r in rounds]  # 20 kB a round
    _, slope, spread = memory.line({"rounds": grows})
    assert abs(slope - 20) < 3 * spread
    assert slope - 2 * spread > 10


def test_figures_are_medians_after_the_first_rounds():
    def entry(wall, data):
        spent = {"sampling": 0.1, "data": data, "inner": 0.9 - data}
        return {"wall_s": wall, "cpu_s": 0.5, "lo_bytes": 10, "clients": 100, "spent": spent}

    run = {"startup_s": 1.0, "peak_mb": 50.0, "rounds": [entry(9, 0.5)] * 2 + [entry(w, 0.3) for w in (1, 3, 2)]}
    found = over([run, run])
    assert (found["wall_s"], found["data"], found["clients"]) == (2, 0.3, 100)
    assert abs(found["data_cpu_s"] - 0.15) < 1e-12  # 0.3 of a round of 0.5 CPU seconds


def test_scaling_is_told_against_one_worker_and_against_none():
    found = {
        c: {"wall_s": c.clients / 1000 / max(1, c.workers), "transfer": 0.001, "aggregate": 0.002}
        for c in scaling.CASES
    }
    found = {c: {**f, "lo_bytes": 5e4, "startup_s": 2.0, "peak_mb": 100.0} for c, f in found.items()}
    lines = [cells(line) for line in scaling.rows(found)]
    assert [line[4:6] for line in lines[:4]] == [["1.00", "1.00"], ["1.00", "1.00"], ["2.00", "2.00"], ["2.00", "2.00"]]
    chunks = scaling.CASES[2].load().chunks
    assert lines[2][9] == f"52 + {chunks * 25.752:.0f}"  # 2 · 25.8 kB of θ down, a sum of 25.8 kB per chunk up


def test_every_case_is_a_configuration():
    for case in population.CASES:
        build_config(population.table(case, 3))
    for model in ("mlp", "cnn"):
        assert build_config(workload(10**6, 100, 2, model, workers=2)).engine.workers == 2
    for name in memory.STRATEGIES:
        assert build_config(memory.table(name, 10, 2, 0)), name
