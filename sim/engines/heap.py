"""The memory of a process that makes and drops megabytes in every round, kept by it instead of given back each time.

glibc returns the free end of its heap to the system as soon as it is larger than a few buffers, and the next round's
buffers are new pages again, each of which the kernel clears: a sixth of the CPU time of a cohort of 1 000 MAML tasks.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

#: mallopt(3): the parameters, and bytes of free heap that are kept; of a buffer that is no part of the heap (32 MiB is
#: the most that glibc takes).
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT, APART = 128 * 2**20, 32 * 2**20
OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


@cache
def keep_heap() -> bool:
    """Keep up to 128 MiB of freed memory; whether it is kept.

    Nothing is done where a variable of ``OWN_CHOICE`` says what is to be done, or malloc is not glibc's.
    """
    if any(name in os.environ for name in OWN_CHOICE):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows has no library of that name
        return False
    return bool(mallopt(MMAP_THRESHOLD, APART)) and bool(mallopt(TRIM_THRESHOLD, KEPT))
