"""An environment into which the wheel is installed, and that has nothing of the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
QUIET = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
#: What a Flower user may have beside a script; each ends the program that imports it in our place.
THEIRS = ("client.py", "server.py", "strategies.py", "sim/__init__.py")


def done(*words: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """What a program says on standard output, which has to end well."""
    ended = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0, f"{' '.join(words)}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def wheel(source: Path, folder: Path) -> Path:
    """The wheel of a checkout or of an unpacked sdist, built into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", *QUIET, "-w", str(folder), str(source)]
    done(*pip, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def environment(built: Path, folder: Path) -> dict[str, str]:
    """Variables of processes in a fresh environment with the wheel, where the packages it needs are visible.

    Of this environment only the folder of packages is on the new one's path, not what its ``.pth`` files add: the
    checkout, which is installed there editably.
    """
    done(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder.parent)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    python = str(folder / "bin" / "python")
    done(sys.executable, "-m", "pip", "--python", python, "install", *QUIET, str(built), cwd=folder)
    (packages / "needed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    here = Path(sys.executable).parent
    for program in (*here.glob("flwr*"), *here.glob("flower-*"), *here.glob("ray*")):
        text = program.read_bytes()
        (folder / "bin" / program.name).write_bytes(re.sub(rb"^#!.*", b"#!" + python.encode(), text, count=1))
        (folder / "bin" / program.name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin", "VIRTUAL_ENV": str(folder)}


def theirs(folder: Path) -> Path:
    """A user's folder with files that have the names of our folders."""
    for name in THEIRS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'raise SystemExit("the user\'s own {name} was imported")\n')
    return folder
