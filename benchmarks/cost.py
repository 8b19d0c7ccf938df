"""Calibrates the model of a round's cost (``benchmarks/model.py``), checks it on other rounds, and looks further ahead.

    python benchmarks/cost.py [--repeats 3] [--rounds 12] [--out FOLDER]

Small rounds of a small and a wide network, in this process and with Ray workers, give the constants. Printed are
predicted and measured rounds of other sizes, widths and numbers of workers, and then what the formula says of a hundred
machines and 10⁸ devices. Cases take turns, so that a slow phase of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.model import Load, Machine, calibrate, mlp_flops, mlp_parameters, predict  # noqa: E402
from benchmarks.rounds import Measured, chunk_size, measure, over, save, workload  # noqa: E402

#: Clients, hidden layers, Ray workers.
Case = tuple[int, tuple[int, ...], int]
SMALL, MIDDLE, WIDE = (64, 32), (128, 64), (256, 128)
CALIBRATION: tuple[Case, ...] = (
    (120, SMALL, 0),
    (600, SMALL, 0),
    (230, WIDE, 0),
    (120, SMALL, 1),
    (600, SMALL, 1),
    (230, WIDE, 1),
    (600, SMALL, 2),
)
CHECKS: tuple[Case, ...] = (
    (1_000, SMALL, 0),
    (3_000, SMALL, 0),
    (500, MIDDLE, 0),
    (1_000, SMALL, 1),
    (500, MIDDLE, 1),
    (1_000, SMALL, 2),
    (3_000, SMALL, 2),
    (500, MIDDLE, 2),
)
LATENCY_S, LINK = 2e-4, 1.25e9  # of a call between machines; bytes/s of 10 Gbit/s
DEVICES = 10**8


def table(case: Case, rounds: int = 1) -> dict[str, Any]:
    """A case's configuration."""
    clients, hidden, workers = case
    made = workload(1_000_000, clients, rounds, workers=workers)
    made["model"]["hidden"] = list(hidden)
    return made


def load(case: Case) -> Load:
    """A case as the model sees it."""
    clients, hidden, workers = case
    widths = [64, *hidden, 6]
    return Load(clients, mlp_flops(widths), mlp_parameters(widths), workers, chunk_size(table(case)))


def seconds(case: Case, figures: Mapping[str, float]) -> float:
    """Measured seconds of a round: CPU seconds in one process, which other processes on the machine do not lengthen."""
    return figures["wall_s" if case[2] else "cpu_s"]


def stages(case: Case, figures: Mapping[str, float]) -> dict[str, float]:
    """Measured seconds by stage of the model."""
    scale = seconds(case, figures) / figures["wall_s"]
    names = {"sampling": ("sampling",), "transfer": ("transfer",), "aggregate": ("aggregate",)}
    names["compute"] = ("data", "inner")
    return {stage: scale * sum(figures[name] for name in parts) for stage, parts in names.items()}


def checked(machine: Machine, found: Mapping[Case, Mapping[str, float]]) -> list[str]:
    """Predicted and measured rounds."""
    out = ["| clients | hidden layers | Ray workers | predicted ms | measured ms | error |\n|---|---|---|---|---|---|"]
    for case, f in found.items():
        expected = sum(predict(machine, load(case)).values())
        measured, (clients, hidden, workers) = seconds(case, f), case
        out.append(
            f"| {clients:,} | {'-'.join(map(str, hidden))} | {workers or 'in process'} | {1000 * expected:.1f} "
            f"| {1000 * measured:.1f} | {expected / measured - 1:+.0%} |"
        )
    return out


def ahead(machine: Machine) -> list[str]:
    """On paper: machines with two such cores each, 10 Gbit/s and 0.2 ms apart, all devices once."""
    out = [
        "| machines | clients a round | sums a worker sends | compute s | transfer s | aggregation s | updates/s "
        "| cores busy | 10⁸ devices once |\n" + "|---" * 9 + "|"
    ]
    there = machine.with_network(LATENCY_S, LINK)
    for machines in (1, 10, 100):
        workers = 2 * machines
        clients = 10_000 * workers
        one = load((clients, SMALL, workers))
        busy = predict(there, one)["compute"]  # clients are stacked alike, whatever is sent
        for chunk, sums in ((one.chunk, f"one per {one.chunk} clients"), (10_000, "one")):
            spent = predict(there, replace(one, chunk=chunk)) | {"compute": busy}
            total = sum(spent.values())
            hours = math.ceil(DEVICES / clients) * total / 3600
            parts = " | ".join(f"{spent[stage]:.2f}" for stage in ("compute", "transfer", "aggregate"))
            out.append(
                f"| {machines} | {clients:,} | {sums} | {parts} | {clients / total:,.0f} | {busy / total:.0%} "
                f"| {hours:.2g} h |"
            )
    return out


def constants(machine: Machine) -> str:
    """The fitted constants in units one can read."""
    rate, own, chunk = machine.compute
    client, fixed, call, byte = machine.transfer
    step, add, join = machine.aggregate
    return (
        f"s = {1e6 * machine.sampling[0]:.2f} µs a client; r = {1e-9 / max(rate, 1e-18):.0f} GFLOP/s, "
        f"e = {1e6 * own:.1f} µs a client, k = {1e6 * chunk:.0f} µs a chunk; m = {1e6 * client:.2f} µs a client, "
        f"p = {1e3 * fixed:.2f} ms, q = {1e3 * call:.2f} ms a worker, B = {1e-6 / max(byte, 1e-18):.0f} MB/s; "
        f"a = {1e3 * step:.2f} ms, g = {1e9 * add:.2f} ns, j = {1e9 * join:.2f} ns a parameter."
    )


def main() -> None:
    """Measure, fit, check, extrapolate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path(".bench/scale"))
    args = parser.parse_args()
    runs: dict[Case, list[Measured]] = {case: [] for case in (*CALIBRATION, *CHECKS)}
    for _ in range(args.repeats):
        for case, measured in runs.items():
            measured.append(measure(table(case, args.rounds)))
            print(case, f"{1000 * over(measured)['wall_s']:.1f} ms", file=sys.stderr, flush=True)
    found = {case: over(measured) for case, measured in runs.items()}
    machine = calibrate([(load(case), stages(case, found[case])) for case in CALIBRATION])
    parts = [
        constants(machine),
        *("\n".join(t) for t in (checked(machine, {c: found[c] for c in CHECKS}), ahead(machine))),
    ]
    result = {"machine": asdict(machine), "rounds": [[*case, f] for case, f in found.items()]}
    save(args.out, "cost", "\n\n".join(parts), result)


if __name__ == "__main__":
    main()
