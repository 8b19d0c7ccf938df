"""What is measured: every system, what it runs in, and on which workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bench.workload import WORKLOADS, Workload

FIRST_ORDER = ("mlp-100", "mlp-1000", "cnn-100")
MLP = ("mlp-100", "mlp-1000")
MAML = ("maml-25", "maml-1000")
CLAMPED = "benchmarks.bench.torch_models:Clamped"  # a module that is taken for no chain of linear layers
PROJECT = ""  # the environment of the project itself


@dataclass(frozen=True)
class Entry:
    """One system.

    Args:
        name: as on the command line.
        title: as in the table.
        module: what is run, under ``benchmarks.bench``.
        environment: a file of ``requirements``; PROJECT for the project's own.
        workloads: on which it is measured.
        options: words on its command line.
        parallel: it uses all cores; the others are bound to one.
        aggregate: how it combines the updates, as ``Reference.after`` names it.
        ours: metapulse, in one of its forms.
    """

    name: str
    title: str
    module: str
    environment: str
    workloads: tuple[str, ...]
    options: tuple[str, ...] = ()
    parallel: bool = False
    aggregate: str = "mean"
    ours: bool = False


def _ours(name: str, title: str, workloads: tuple[str, ...], *options: str, aggregate: str = "mean") -> Entry:
    parallel = any(o.startswith("engine.workers") for o in options)
    return Entry(name, title, "ours", PROJECT, workloads, options, parallel, aggregate, True)


def _stock(name: str) -> tuple[str, ...]:
    """Options for one of Flower's strategies; it averages local training, whatever the method is called."""
    return 'strategy.name="stock"', f'strategy.reference="flwr.serverapp.strategy:{name}"', "method.free=true"


SYSTEMS: Sequence[Entry] = (
    Entry("flower", "stock Flower, Simulation Runtime", "peers.flower", PROJECT, FIRST_ORDER, parallel=True),
    Entry("researcher", "loop as a researcher writes it", "peers.researcher", "torch", (*FIRST_ORDER, "gru-100")),
    Entry("tuned", "tuned PyTorch loop", "peers.tuned", "torch", (*FIRST_ORDER, "gru-100", "module-100")),
    Entry("pfl", "pfl-research, simulated backend", "peers.pfl_research", "pfl", FIRST_ORDER),
    Entry("fedjax", "fedjax, jit backend", "peers.fedjax_jit", "jax", FIRST_ORDER),
    Entry("torch-func", "torch.func vmap(grad)", "peers.torch_func", "torch", (*FIRST_ORDER, "module-100")),
    Entry("jax", "JAX by hand, jit + vmap", "peers.jax_vmap", "jax", (*FIRST_ORDER, "gru-100")),
    Entry("higher", "higher", "peers.maml_higher", "torch", MAML),
    Entry("torchopt", "TorchOpt, MetaSGD", "peers.maml_torchopt", "torch", MAML),
    Entry("hand", "PyTorch by hand, create_graph", "peers.maml_hand", "torch", MAML),
    Entry("torch-func-maml", "torch.func vmap(grad)", "peers.maml_func", "torch", MAML),
    Entry("jax-maml", "JAX by hand, jit + vmap(grad)", "peers.maml_jax", "jax", MAML),
    Entry("bare", "metapulse without Grid and Strategy", "bare", PROJECT, tuple(WORKLOADS), ours=True),
    _ours("ours", "metapulse", tuple(WORKLOADS)),
    _ours("ours-ray2", "metapulse, 2 Ray workers", (*FIRST_ORDER, *MAML), "engine.workers=2"),
    _ours("ours-autograd", "metapulse, by autograd", ("module-100",), f'model.factory="{CLAMPED}"'),
    _ours("ours-stock", "metapulse, stock FedAvg", MLP, *_stock("FedAvg")),
    _ours("ours-stock-median", "metapulse, stock FedMedian", MLP, *_stock("FedMedian"), aggregate="median"),
    _ours("ours-median", "metapulse, median", MLP, "strategy.name='median'", aggregate="median"),
    _ours("ours-krum", "metapulse, Krum", MLP, "strategy.name='krum'", aggregate="krum:0"),
)


def chosen(only: Sequence[str], skip: Sequence[str]) -> list[tuple[Workload, list[Entry]]]:
    """Workloads with their systems; both lists hold names of either kind, an empty ``only`` everything.

    Raises:
        ValueError: a name is neither a system's nor a workload's, or nothing is left.
    """
    known = {entry.name for entry in SYSTEMS} | set(WORKLOADS)
    if unknown := (set(only) | set(skip)) - known:
        raise ValueError(f"{', '.join(sorted(unknown))}: must be among {', '.join(sorted(known))}")
    systems = {n for n in only if n not in WORKLOADS} or {entry.name for entry in SYSTEMS}
    workloads = {n for n in only if n in WORKLOADS} or set(WORKLOADS)
    found = []
    for name in (n for n in WORKLOADS if n in workloads - set(skip)):
        entries = [e for e in SYSTEMS if name in e.workloads and e.name in systems - set(skip)]
        if entries:
            found.append((WORKLOADS[name], entries))
    if not found:
        raise ValueError("nothing to measure: none of these systems runs any of these workloads")
    return found
