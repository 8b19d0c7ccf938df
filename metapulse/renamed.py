"""Old names and their replacements, so that an import of an old name ends with a line that gives the new one."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

OLD = ("client", "strategies", "server", "sim")  # packages that were imported by these bare names
IMPORT = re.compile(r"\b(?:from\s+([\w.]+)\s+import\s+\(?\s*([\w\s,]*)|import\s+([\w.]+))")
#: Modules that have another name since 0.1.0.
MOVED = {
    "metapulse.minibatches": "metapulse.methods.loop",
    "metapulse.schedules": "metapulse.outer",
    "metapulse.strategies.instructions": "metapulse.client.wire",
    "metapulse.server.stages": "metapulse.server.progress",
    "metapulse.shelf": "metapulse.sample_cache",
    "metapulse.methods.reading": "metapulse.methods.amortised",
    "metapulse.client.work": "metapulse.client.executor",
    "metapulse.client.device": "metapulse.client.one_client_source",
    "metapulse.server.roster": "metapulse.server.client_sampler",
    "metapulse.sim.sources.lone": "metapulse.sim.sources.one_device",
    "metapulse.sim.sources.omniglot": "metapulse.sim.datasets.omniglot",
    "metapulse.sim.sources.sensors": "metapulse.sim.datasets.cgm_open",
    "metapulse.sim.importers.dataset": "metapulse.sim.sources.catalogue",
    "metapulse.sim.importers.aw_fitbit": "metapulse.sim.datasets.aw_fitbit",
    "metapulse.sim.importers.cgm_open": "metapulse.sim.datasets.cgm_open",
    "metapulse.sim.importers.omniglot": "metapulse.sim.datasets.omniglot",
    "metapulse.sim.importers.spsw_har": "metapulse.sim.datasets.spsw_har",
    "metapulse.sim.importers.uci_har": "metapulse.sim.datasets.uci_har",
    "metapulse.sim.engines.devices": "metapulse.sim.engines.device_states",
    "metapulse.sim.audit.subject": "metapulse.sim.audit.audited_run",
    "metapulse.strategies.flower.reading": "metapulse.strategies.flower.replies",
}
#: By module, names that have become others since 0.1.0; a dotted one is in another module.
NAMES = {
    "metapulse.methods.base": {"Adding": "SumSpec", "shares": "update_shares"},
    "metapulse.methods.fedem": {"shares": "mixture_weights"},
    "metapulse.methods.amortised": {
        "shares": "class_shares",
        "Reader": "AmortisedLearner",
        "Metric": "MetricLearner",
        "net": "own_network",
    },
    "metapulse.methods.oracles": {"Tilted": "ProximalLoss", "Partial": "FrozenParameters"},
    "metapulse.methods.inner": {
        "Point": "InnerPoint",
        "settle": "run_inner_loop",
        "settle_each": "run_uneven_inner_loops",
    },
    "metapulse.methods.meta_lstm": {"State": "OptimiserState"},
    "metapulse.sample_cache": {"Shelf": "SampleCache"},
    "metapulse.data": {
        "Remarking": "RemarkingSource",
        "Bulk": "BulkSource",
        "Stored": "FileSource",
        "difference": "id_difference",
    },
    "metapulse.transforms": {"Unsettled": "PendingTransform"},
    "metapulse.trees": {
        "finite": "all_finite",
        "without": "without_subtree",
        "under": "subtree",
        "to_device": "to_torch_device",
    },
    "metapulse.models.autograd": {"expand": "expand_loss"},
    "metapulse.models.construction": {"constants": "frozen_tensors"},
    "metapulse.client.executor": {"Work": "ClientExecutor"},
    "metapulse.client.spec": {
        "WorkSpec": "ClientConfig",
        "make_spec": "client_config_from_json",
        "make_trial": "read_trial_json",
    },
    "metapulse.client.one_client_source": {"Device": "OneClientSource"},
    "metapulse.strategies.aggregate": {
        "Handover": "AggregationSpec",
        "condense": "partial_sum",
        "mean": "weighted_mean",
        "join": "join_sums",
    },
    "metapulse.strategies.replies": {
        "Stack": "UpdateStack",
        "Total": "UpdateSum",
        "Checked": "CheckedReplies",
        "check": "check_replies",
    },
    "metapulse.server.client_sampler": {"Roster": "ClientSampler", "View": "SubsetGrid"},
    "metapulse.server.grid": {"Through": "GridWrapper", "Prompt": "PollingGrid"},
    "metapulse.server.config": {"load": "load_config"},
    "metapulse.sim.experiment": {"run": "run_experiment", "resume": "resume_experiment"},
    "metapulse.sim.sources.one_device": {"Lone": "OneDevicePopulation"},
    "metapulse.sim.sources.table": {
        "HeldSource": "InMemorySource",
        "Holding": "InMemoryData",
        "Roster": "ClientList",
        "Table": "SampleTable",
        "runs": "number_runs",
    },
    "metapulse.sim.sources.windows": {"Scaling": "SeriesScaling"},
    "metapulse.sim.sources.recorded": {
        "AwFitbit": "metapulse.sim.datasets.aw_fitbit.AwFitbit",
        "CgmOpen": "metapulse.sim.datasets.cgm_open.CgmOpen",
        "Omniglot": "metapulse.sim.datasets.omniglot.Omniglot",
        "SpswHar": "metapulse.sim.datasets.spsw_har.SpswHar",
        "UciHar": "metapulse.sim.datasets.uci_har.UciHar",
    },
    "metapulse.sim.lab.compare": {"compare": "judge_methods"},
}
#: Members of a learner, and what they are called today.
MEMBERS = {
    "path": "adaptation_trajectory",
    "shared": "downloaded_parameters",
    "local": "uses_query_set, which is its opposite",
}


def renamed(module: str) -> str | None:
    """The name of today of a module with an old name; None where the name is none of ours.

    Args:
        module: dotted, as in ``client.data``.
    """
    if module in MOVED:
        return MOVED[module]
    top, _, rest = module.partition(".")
    if top not in OLD:
        return None
    for name in _candidates(top, rest):
        name = MOVED.get(name, name)
        try:
            if find_spec(name) is not None:
                return name
        except ModuleNotFoundError:
            continue
    return None


def _candidates(top: str, rest: str) -> Iterator[str]:
    if top in ("client", "strategies") and rest:  # what became the library
        part = re.sub(r"^learners\b", "methods", rest)
        yield f"metapulse.{part}"
    if top == "client" and rest.startswith(("attacks", "faults")):
        yield f"metapulse.sim.{rest}"
    yield f"metapulse.{top}.{rest}" if rest else f"metapulse.{top}"
    if top == "client" and rest:
        yield f"metapulse.sim.{rest}"
    if (top, rest) == ("sim", "notebook"):
        yield "metapulse.sim.api"


def new_name(error: BaseException, asked: str = "") -> str:
    """What to say of an error that an old name caused: "client.data is now metapulse.data, file F, line N"; else "".

    A module of the user's own that has one of the old names, and fails for a reason of its own, is left alone.

    Args:
        error: whatever an import, or code of the user's, raised.
        asked: the module that was asked for by name, where one was.
    """
    if isinstance(error, ImportError | AttributeError) and (line := _inside(error, asked)):
        return line
    top = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ImportError) or top not in OLD:
        return ""
    there = error.path is not None  # the user's own module was found, and lacks the name that is imported from it
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    for frame in reversed(frames):
        for source, names, plain in IMPORT.findall(frame.line or ""):
            module = source or plain
            if module.partition(".")[0] == top:
                inside = [f"{module}.{name.split()[0]}" for name in names.split(",") if name.split()]
                return _said([*inside, *([] if there else [module])], f", file {frame.filename}, line {frame.lineno}")
    return "" if there else _said([asked if asked.partition(".")[0] == top else "", str(error.name)], "")


def _inside(error: ImportError | AttributeError, asked: str) -> str:
    """The line for a module of this package, or a name in one, that has another name today; else ""."""
    if isinstance(error, AttributeError):
        module, name = error.obj.__name__ if isinstance(error.obj, ModuleType) else "", error.name
    else:
        found = re.match(r"cannot import name '(\w+)'", str(error))
        module, name = error.name or "", found[1] if found else ""
    if module in MOVED:
        old, new = module, MOVED[module]
    elif name in NAMES.get(module, {}):
        today = NAMES[module][name]
        old, new = f"{module}.{name}", today if "." in today else f"{module}.{today}"
    else:
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    inside = frames and frames[-1].filename != importlib.__file__ and module != asked
    return f"{old} is now {new}" + (f", file {frames[-1].filename}, line {frames[-1].lineno}" if inside else "")


def _said(olds: list[str], place: str) -> str:
    for old in olds:
        if (new := renamed(old)) is not None:
            return f"{old} is now {new}{place}"
    return ""
