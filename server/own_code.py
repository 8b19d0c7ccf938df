"""Make a user's own files importable again when a run is resumed from another folder."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from metapulse.errors import RunError
from metapulse.server.files import read_sealed

BEGAN_IN = "began_in"  # key of environment.json: the folder in which the run was begun


def reach(path: Path) -> None:
    """Make what lay in the folder in which a run was begun importable, after everything that is already.

    Args:
        path: folder of a run, or of a suite of runs.
    """
    for environment in (path / "environment.json", *sorted(path.glob("*/environment.json"))):
        with suppress(RunError):
            began = read_sealed(environment).get(BEGAN_IN)
            if isinstance(began, str) and Path(began).is_dir() and began not in sys.path:
                sys.path.append(began)
