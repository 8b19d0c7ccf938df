"""C sources compiled for this very processor on first use, and kept.

A C compiler (``cc``, or what ``CC`` names) is all it takes; where there is none, or ``METAPULSE_NATIVE=0`` says so, the
same is done by PyTorch and NumPy, more slowly.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

FLAGS = ("-O2", "-march=native", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC")


@lru_cache
def compiled(source: Path, *flags: str) -> ctypes.CDLL | None:
    """The library of one source file, compiled unless it has been.

    Args:
        source: the file; it may include others of its folder.
        flags: of the compiler, besides FLAGS.

    Returns:
        None where nothing can be compiled.
    """
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None or os.environ.get("METAPULSE_NATIVE") == "0":
        return None
    try:
        path = _folder() / f"{source.stem}-{_fingerprint(compiler, source, flags)}.so"
        if not path.exists():
            _compile(compiler, source, path, flags)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.CalledProcessError):
        return None


def _folder() -> Path:
    """The user's cache; no other user may write there, since its content is run."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metapulse" / "native"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _fingerprint(compiler: str, source: Path, flags: tuple[str, ...]) -> str:
    """Of everything that the library depends on: sources, flags, compiler and processor."""
    told = hashlib.sha256(" ".join(FLAGS + flags).encode())
    for part in [source, *sorted(source.parent.glob("*.h"))]:
        told.update(part.read_bytes())
    real = Path(compiler).resolve()
    told.update(f"{real} {real.stat().st_size} {platform.machine()}".encode())
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        lines = cpu.read_text(errors="replace").splitlines()
        told.update(next((line for line in lines if line.startswith(("flags", "Features"))), "").encode())
    return told.hexdigest()[:16]


def _compile(compiler: str, source: Path, target: Path, flags: tuple[str, ...]) -> None:
    """Into a file of its own first: several processes may do so at once, and none sees half a library."""
    handle, draft = tempfile.mkstemp(suffix=".so", dir=target.parent)
    os.close(handle)
    try:
        subprocess.run(
            [compiler, *FLAGS, *flags, str(source), "-o", draft, "-lm"], check=True, capture_output=True, timeout=120
        )
        Path(draft).replace(target)
    finally:
        Path(draft).unlink(missing_ok=True)
