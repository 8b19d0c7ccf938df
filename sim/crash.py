"""Errors in one line; the traceback of an unexpected one goes to a file."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

from metapulse.renamed import new_name


def one_line(error: BaseException) -> str:
    """An error's message without line breaks; of a system's error the file and the reason, without its number."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(text.split()) or type(error).__name__


def failed(error: BaseException, folder: Path | None = None) -> str:
    """One line that names the error and the file with its traceback.

    Args:
        folder: the run's folder; None, or where it cannot be written: the system's folder for temporary files.
    """
    text = "".join(traceback.format_exception(error))
    what = " ".join(f"{type(error).__name__}: {new_name(error) or error}".split())[:300]
    log = _write(text, folder)
    return f"unexpected {what} ({f'traceback in {log}' if log else 'no place for the traceback'})"


def _write(text: str, folder: Path | None) -> Path | None:
    try:
        if folder is not None and folder.is_dir():
            log = folder / "crash.log"
            log.write_text(text, encoding="utf-8")
            return log
    except OSError:
        pass  # a full disk, perhaps the very error: elsewhere, then
    try:
        handle, name = tempfile.mkstemp(prefix="metapulse-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        return None
    return Path(name)
