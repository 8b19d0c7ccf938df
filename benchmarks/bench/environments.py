"""One virtual environment per family of peers, with pinned versions; made once, and again when the pins change.

python benchmarks/bench/environments.py [--work DIR] makes them all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / "requirements"
NAMES = tuple(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))


def python(work: Path, name: str) -> Path:
    """The interpreter of an environment; the running one for "" (the project's)."""
    return work / "env" / name / "bin" / "python" if name else Path(sys.executable)


def make(work: Path, names: Iterable[str] = NAMES) -> None:
    """Make the environments that are missing or have other pins.

    Args:
        work: the bench's folder.
        names: files of ``requirements`` without ending.
    """
    for name in sorted(set(names) - {""}):
        folder, pins = work / "env" / name, (REQUIREMENTS / f"{name}.txt").read_text()
        stamp = folder / "installed.txt"
        if stamp.exists() and stamp.read_text() == pins:
            continue
        print(f"bench: making the environment {name!r} in {folder}", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        subprocess.run([python(work, name), *install, REQUIREMENTS / f"{name}.txt"], check=True)
        stamp.write_text(pins)


def versions(work: Path, name: str) -> list[str]:
    """``package==version`` of everything in an environment."""
    freeze = [python(work, name), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    return subprocess.run(freeze, capture_output=True, text=True, check=True).stdout.split()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path(".bench"))
    make(parser.parse_args().work.absolute())
