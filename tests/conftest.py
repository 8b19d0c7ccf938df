"""What holds for every test: checked types, one thread, a Flower home of its own, reproducible examples."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch, Flower or Ray are imported, and inherited by every program that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray's coming default, asked for now: it hides no accelerator from a worker that asked for none, and does not warn.
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests import checking, noise, thorough

# Every annotation of ours is executed, shapes included.
checking.install()

# No outcome is of the clock: neither a deadline, nor a warning that examples are slow to draw.
slow = [HealthCheck.too_slow]
fixed = {"derandomize": True, "deadline": None, "print_blob": True, "suppress_health_check": slow}
settings.register_profile("ci", max_examples=thorough.of(40, 500), **fixed)
settings.load_profile("ci")
torch.set_num_threads(1)


HERE = Path(__file__).parent
#: Folders of many short cases.
LAWS = ("laws", "conformance")
#: Folders whose cases are marked, so that ``make test-fast`` leaves them out.
MARKS = dict.fromkeys((*LAWS, "parity", "benchmarks"), pytest.mark.long) | {"e2e": pytest.mark.e2e}
#: What processes do first: one is with it longest, and a long case at the end would be waited for.
FIRST = ("parity", "e2e")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Folders of which ``-m`` leaves nothing are not even imported."""
    mark = MARKS.get(collection_path.name) if collection_path.parent == HERE else None
    words = config.option.markexpr.split(" and ")
    return True if mark is not None and f"not {mark.name}" in words else None


@pytest.hookimpl(optionalhook=True, tryfirst=True)  # before xdist's own; there need be no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What is handed out at once to one of several processes."""
    from tests.together import Parts

    return Parts(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order for xdist, and the markers of folders.

    ``SHUFFLE=NUMBER`` in the environment puts files and their tests in an order drawn from the number; files stay
    whole, because some share a cluster among their tests.
    """
    for item in items:
        file = item.path.relative_to(HERE)
        if file.parts[0] in MARKS:
            item.add_marker(MARKS[file.parts[0]])
    clusters = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: _turn(item, item.path in clusters))
    if seed := os.environ.get("SHUFFLE"):
        draw = random.Random(seed)
        at = {path: draw.random() for path in sorted({item.path for item in items})}
        draw.shuffle(items)
        items.sort(key=lambda item: at[item.path])


def _turn(item: pytest.Item, cluster: bool) -> int:
    """Engines side by side, whole programs, files with clusters, other files; many short cases even out the end."""
    folder = item.path.relative_to(HERE).parts[0]
    if folder in FIRST:
        return FIRST.index(folder)
    return 4 if folder in LAWS else 2 if cluster else 3


@pytest.fixture(scope="session", autouse=True)
def flower_home() -> Iterator[Path]:
    """Flower's folder for this session: no test reads or writes the user's own."""
    with tempfile.TemporaryDirectory(prefix="flwr-") as home:
        os.environ["FLWR_HOME"] = home
        yield Path(home)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the publishers' files; skips where there is none."""
    folder = os.environ.get("METAPULSE_DATA")
    if not folder:
        pytest.skip("real data: set METAPULSE_DATA to the folder that holds the publishers' files")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"METAPULSE_DATA = {folder!r}: no such folder")
    return path


@pytest.fixture
def addressed() -> Iterator[None]:
    """The noise of this test has an address: its outcome rests on one draw, which is the same every time."""
    with noise.addressed():
        yield


# A shell that runs the tests in the background has them and their programs ignore Ctrl-C, and ``nohup`` the end of the
# terminal; some tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    """What Flower's logger is told, once; and strategies wait for nodes without letting time pass."""
    logger = logging.getLogger("flwr")
    logger.addHandler(caplog.handler)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr("metapulse.strategies.flower.outer.WAIT", 0.0)
    yield caplog
    logger.removeHandler(caplog.handler)
