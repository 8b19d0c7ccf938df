"""Cases that share what takes long to make come to one process; others are handed out one by one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.processes import PATIENCE, ROOT
from tests.together import SHARED, part


def test_files_stay_whole_and_cases_of_laws_do_not() -> None:
    assert part("tests/server/secure/test_a.py::test_x[a-b]") == part("tests/server/secure/test_a.py::test_y")
    assert part("tests/server/secure/test_a.py::test_x") != part("tests/server/secure/test_b.py::test_x")
    assert part("tests/parity/test_a.py::test_x") == part("tests/parity/test_b.py::test_y")
    for folder in ("laws", "conformance", "e2e"):
        assert part(f"tests/{folder}/test_a.py::test_x[1]") != part(f"tests/{folder}/test_a.py::test_x[2]")


def test_what_is_shared_is_there() -> None:
    for path, word in SHARED:
        text = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert word in text
        assert 'scope="module"' in text or "@cache" in text
        assert part(f"tests/{path}::test_x[{word}-1]") == part(f"tests/{path}::test_y[{word}-2]")


@pytest.mark.e2e
def test_xdist_hands_out_parts() -> None:
    words = ["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder", "-v", "-p", "no:cacheprovider"]
    files = ["tests/test_covering.py", "tests/test_together.py", "-m", "not e2e"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *files], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout
    told = re.findall(r"^\[(gw\d)\] .* PASSED (\S+?)::", done.stdout, re.MULTILINE)
    assert len(told) > 5
    assert len(set(told)) == len({file for _, file in told}) == 2
