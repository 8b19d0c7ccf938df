"""Which cases stay together when several processes share them: those that share what takes long to make.

xdist's own groups (``--dist loadgroup``) are none with pytest 9.2: it sets a name that pytest no longer reads, and then
hands out every case by itself, so that each process makes every cluster and every module's fixtures once more.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped, unused-ignore]

#: Folders with one simulation for all their files.
WHOLE = ("parity",)
#: Folders whose cases share nothing, so that they are handed out one by one.
ALONE = ("laws", "conformance", "e2e")
#: But for these files there: a file, or the part of it whose cases have a word in their names.
SHARED = (
    ("e2e/test_examples.py", ""),  # each runs once, and is judged by several tests
    ("e2e/test_installed.py", ""),  # the wheel is built and installed once
    ("e2e/test_flower_quickstart.py", "simulation"),  # a home for each place
    ("e2e/test_flower_quickstart.py", "deployment"),
)


def part(case: str) -> str:
    """The name of what is handed out together with a case, "tests/FOLDER/…/test_x.py::test_y[…]"."""
    file, _, test = case.removeprefix("tests/").partition("::")
    folder = file.partition("/")[0]
    if folder in WHOLE:
        return folder
    if folder not in ALONE:
        return file
    return next((f"{file} {word}" for path, word in SHARED if path == file and word in test), case)


class Parts(LoadScopeScheduling):
    """Hands out parts, in the order of their first cases."""

    def _split_scope(self, nodeid: str) -> str:
        return part(nodeid)
