"""Error grids: points of every zone, both sides of every line, and the consensus grid as the published polygons."""

from __future__ import annotations

import pytest
import torch

from metapulse.metrics.grids import clarke_zones, parkes_zones

#: Reference, told, zone: inside each zone of Clarke's grid, upper and lower parts.
CLARKE = [
    *[(100, 100, "A"), (100, 119, "A"), (100, 81, "A"), (300, 250, "A"), (40, 65, "A"), (65, 30, "A"), (380, 330, "A")],
    *[
        (100, 130, "B"),
        (150, 240, "B"),
        (100, 75, "B"),
        (200, 120, "B"),
        (235, 100, "B"),
        (150, 40, "B"),
        (290, 385, "B"),
    ],
    *[(80, 200, "C"), (120, 250, "C"), (200, 330, "C"), (150, 20, "C"), (175, 55, "C"), (135, 2, "C")],
    *[(50, 100, "D"), (30, 160, "D"), (69, 100, "D"), (250, 100, "D"), (400, 170, "D"), (300, 75, "D")],
    *[(50, 200, "E"), (65, 350, "E"), (10, 180, "E"), (200, 60, "E"), (380, 20, "E"), (181, 69, "E")],
]
#: A point on each line, the zones above it and below it (left and right where the line is vertical).
CLARKE_LINES = [
    ((100, 120), "B", "A"),
    ((60, 72), "D", "A"),
    ((100, 80), "A", "B"),
    ((300, 240), "A", "B"),
    ((40, 70), "D", "A"),
    ((40, 180), "E", "D"),
    ((120, 230), "C", "B"),
    ((150, 28), "B", "C"),
    ((300, 180), "B", "D"),
    ((300, 70), "D", "E"),
]
CLARKE_SIDES = [
    ((70, 300), "E", "C"),
    ((240, 150), "B", "D"),
    ((180, 60), "C", "E"),
    ((70, 100), "D", "B"),
]


def clarke(x, y):
    return "ABCDE"[clarke_zones(torch.tensor(float(x)), torch.tensor(float(y)))]


def parkes(x, y):
    return "ABCDE"[parkes_zones(torch.tensor(float(x)), torch.tensor(float(y)))]


@pytest.mark.parametrize(("x", "y", "zone"), CLARKE)
def test_points_of_clarkes_zones(x, y, zone):
    assert clarke(x, y) == zone


@pytest.mark.parametrize(("at", "above", "below"), CLARKE_LINES)
def test_what_lies_above_and_below_clarkes_lines(at, above, below):
    assert (clarke(at[0], at[1] + 0.1), clarke(at[0], at[1] - 0.1)) == (above, below)


@pytest.mark.parametrize(("at", "left", "right"), CLARKE_SIDES)
def test_what_lies_left_and_right_of_clarkes_lines(at, left, right):
    assert (clarke(at[0] - 0.1, at[1]), clarke(at[0] + 0.1, at[1])) == (left, right)


#: The lines of Pfützner et al. 2013, Table 1, type 1 diabetes: what they are of, and their corners.
LINES = {
    ("A", "B", "upper"): [(0, 50), (30, 50), (140, 170), (280, 380), (430, 550)],
    ("B", "C", "upper"): [(0, 60), (30, 60), (50, 80), (70, 110), (260, 550)],
    ("C", "D", "upper"): [(0, 100), (25, 100), (50, 125), (80, 215), (125, 550)],
    ("D", "E", "upper"): [(0, 150), (35, 155), (50, 550)],
    ("A", "B", "lower"): [(50, 0), (50, 30), (170, 145), (385, 300), (550, 450)],
    ("B", "C", "lower"): [(120, 0), (120, 30), (260, 130), (550, 250)],
    ("C", "D", "lower"): [(250, 0), (250, 40), (550, 150)],
}


@pytest.mark.parametrize("line", LINES, ids="-".join)
def test_every_piece_of_a_consensus_line_parts_its_two_zones(line):
    """A little to either side of each piece, at its middle and near its ends; a corner is in the better zone."""
    inner, outer, side = line
    for (x0, y0), (x1, y1) in zip(LINES[line], LINES[line][1:], strict=False):
        for part in (0.05, 0.5, 0.95):
            x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
            length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
            away = (
                -(y1 - y0) / length,
                (x1 - x0) / length,
            )  # to the left of the way, which is up or towards the y axis
            sign = 0.2 if side == "upper" else -0.2
            assert parkes(x + sign * away[0], y + sign * away[1]) == outer
            assert parkes(x - sign * away[0], y - sign * away[1]) == inner
    corner = LINES[line][1]
    assert parkes(*corner) == inner


def polygon(points, x, y):
    """Whether a point is inside, by the crossings of a ray to the right."""
    inside = False
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def test_the_consensus_zones_are_the_published_areas():
    """Of points up to 550 mg/dL: what lies beyond a line, up to the edge of the grid, is its zone."""
    found = {}
    for (_, outer, side), corners in LINES.items():
        ends = [(0, 550)] if side == "upper" else [(550, 0)]
        if side == "upper" and corners[-1][1] < 550:
            ends = [(550, 550), *ends]
        found.setdefault(outer, []).append([*corners, *ends])
    points = [(x, y) for x in range(3, 550, 11) for y in range(4, 550, 11)]
    zones = parkes_zones(*torch.tensor(points, dtype=torch.float64).T)
    for (x, y), zone in zip(points, zones.tolist(), strict=True):
        beyond = [name for name, areas in found.items() if any(polygon(area, x, y) for area in areas)]
        assert "ABCDE"[zone] == max(beyond, default="A"), (x, y)


def test_lines_go_on_beyond_the_grid():
    assert [parkes(600, 500), parkes(600, 490), parkes(600, 260), parkes(600, 160)] == ["A", "B", "C", "D"]
    assert [parkes(440, 560), parkes(440, 570), parkes(20, 700)] == ["A", "B", "E"]
    assert [clarke(500, 590), clarke(500, 605), clarke(500, 615)] == ["A", "B", "C"]


def test_zones_of_a_whole_stack_at_once():
    x = torch.tensor([[[100.0], [50.0]], [[250.0], [80.0]]])
    y = torch.tensor([[[100.0], [100.0]], [[100.0], [200.0]]])
    assert clarke_zones(x, y).squeeze(2).tolist() == [[0, 3], [3, 2]]
    assert parkes_zones(x, y).squeeze(2).tolist() == [[0, 2], [2, 2]]
