"""Two devices of a person: clocks, or names of groups, tell which of the old one's moments a test may not know."""

import numpy as np

from metapulse.history import apart
from metapulse.registry import SOURCES

HEAD = ("user", "device", "group", "stamp", "x", "y")


def both(folder, stamps, groups):
    """Labels are coin flips; a person's phone and watch record the same moments with the same labels."""
    rng = np.random.default_rng(5)
    rows = []
    for person in range(3):
        labels = rng.integers(2, size=24)
        for device in ("phone", "watch"):
            for k in range(24):
                group = groups(device, k // 4)
                rows.append((f"p{person}", device, group, stamps(device, k), labels[k] + rng.normal(0, 0.1), labels[k]))
    lines = [",".join(map(str, row)) for row in (HEAD, *rows)]
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    return SOURCES.make({"name": "own", "path": str(folder / "a.csv"), "x": ["x"], **COMMON})


COMMON = {"group": "group", "time": "stamp", "y": "y"}


def shared(source):
    """Rows of the phone that history before a query on the watch's first execution may hold, by number."""
    phone, watch = source.samples(0), source.samples(1)
    return apart(phone, watch, np.flatnonzero(watch.group == watch.group[0])).tolist()


def test_clocks_of_different_zones_are_compared_as_instants(tmp_path):
    def stamps(device, k):
        hour = 8 + k // 4
        return (
            f"2024-03-01T{hour:02}:{10 * (k % 4):02}+01:00"
            if device == "phone"
            else (f"2024-03-01T{hour - 1:02}:{10 * (k % 4):02}+00:00")
        )

    source = both(tmp_path, stamps, lambda device, bout: f"{device}{bout}")
    assert not set(shared(source)) & {0, 1, 2, 3}
    assert shared(source)


def test_groups_of_other_names_without_a_time_may_be_of_the_same_moments(tmp_path, monkeypatch):
    monkeypatch.setitem(COMMON, "time", "")
    apart_names = both(tmp_path, lambda device, k: "", lambda device, bout: f"{device}{bout}")
    assert shared(apart_names) == []
    same_names = both(tmp_path, lambda device, k: "", lambda device, bout: f"{bout}")
    assert shared(same_names) == list(range(4, 24))
