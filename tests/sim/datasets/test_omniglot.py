"""The Omniglot importer on images made here in the published layout, by an encoder that follows the standard."""

import io
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.importers.images import read_grey, shrink
from metapulse.sim.sources.catalogue import import_dataset


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(grey, depth=1, filters=(0,), colour=0):
    """Encode 0 … 255 as a greyscale PNG; line y uses ``filters[y % len(filters)]``, written as the standard says."""
    side = len(grey)
    value = np.asarray(grey, np.int64) * ((1 << depth) - 1) // 255
    bits = (value[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    lines = np.packbits(bits.reshape(side, -1).astype(np.uint8), axis=1).astype(int)
    out, above = b"", [0] * lines.shape[1]
    for y, line in enumerate(lines.tolist()):
        kind = filters[y % len(filters)]
        coded = []
        for x, byte in enumerate(line):
            a, b, c = (line[x - 1] if x else 0), above[x], (above[x - 1] if x else 0)
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            coded.append((byte - [0, a, b, (a + b) // 2, nearest][kind]) & 255)
        out, above = out + bytes([kind, *coded]), line
    head = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    packed = zlib.compress(out)
    body = chunk(b"IDAT", packed[:7]) + chunk(b"IDAT", packed[7:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tEXt", b"a\0b") + body + chunk(b"IEND", b"")


def strokes(seed, side=105):
    """White paper, black strokes."""
    rng = np.random.default_rng(seed)
    paper = np.full((side, side), 255)
    for _ in range(3):
        y, x = rng.integers(10, side - 30, 2)
        paper[y : y + 3, x : x + 25] = 0
        paper[y : y + 25, x : x + 3] = 0
    return paper


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (4, 3, 2, 1, 0)])
def test_png_round_trip(depth, filters):
    rng = np.random.default_rng(depth)
    levels = (1 << depth) - 1
    grey = rng.integers(0, levels + 1, (21, 21)) * (255 // levels)
    assert np.array_equal(read_grey(png(grey, depth, filters), "a.png", 21), grey)


def test_bad_png_is_named():
    good = png(strokes(0))
    cases = {
        b"": "no PNG",
        b"GIF89a": "no PNG",
        good[:-40]: "damaged",
        good[:60] + bytes([good[60] ^ 1]) + good[61:]: "damaged",
        png(strokes(0, 50)): "50 x 50 pixels; must be 105 x 105",
        png(strokes(0), colour=3): "colour mode P",
        png(strokes(0), filters=(0,)).replace(b"IDAT", b"IDAX"): "damaged",
    }
    for data, reason in cases.items():
        with pytest.raises(DataError, match=rf"^a\.png: .*{reason}"):
            read_grey(data, "a.png", 105)


def test_a_bomb_is_no_larger_than_its_head_says():
    """Ten megabytes of pixels, and of a comment, behind the head of a small image."""
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 105, 105, 1, 0, 0, 0, 0))
    bomb += chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + chunk(b"IEND", b"")
    assert read_grey(bomb, "a.png", 105).shape == (105, 105)
    good = png(strokes(0))
    talk = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000)))
    with pytest.raises(DataError, match=r"a\.png: damaged, or no PNG"):
        read_grey(good[:33] + talk + good[33:], "a.png", 105)


def test_without_pillow_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"a\.png: reading images needs Pillow: pip install 'metapulse\[images\]'"):
        read_grey(png(strokes(0)), "a.png", 105)


def test_shrinking_averages_areas():
    """Blocks of 15 pixels are blocks of 4 new ones; a plain image stays plain; total ink is kept."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 7, 7)).astype(float)
    blocks = small.repeat(15, 1).repeat(15, 2)
    assert np.array_equal(shrink(blocks, 28), small.repeat(4, 1).repeat(4, 2))
    ink = 255.0 - strokes(1)[None]
    assert shrink(ink, 28).mean() == pytest.approx(ink.mean(), abs=0.5)


def write(folder, sets, skip=()):
    """sets: image set → alphabet → number of characters; every character differs, every drawer too."""
    made = {}
    for s, (image_set, alphabets) in enumerate(sets.items()):
        for a, (alphabet, characters) in enumerate(alphabets.items()):
            for c in range(1, characters + 1):
                for drawer in range(1, 21):
                    name = f"{image_set}/{alphabet}/character{c:02d}/{s}{a}{c:02d}_{drawer:02d}.png"
                    if name in skip:
                        continue
                    made[name] = png(strokes([s, a, c, drawer]))
    for name, data in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return made


SETS = {"images_background": {"Greek": 3, "Latin": 2}, "images_evaluation": {"Atlantean": 2}}


def test_folder_and_zips_agree_and_tasks_come_out(tmp_path):
    made = write(tmp_path / "f", SETS)
    (tmp_path / "zips/python").mkdir(parents=True)
    for image_set in SETS:
        with zipfile.ZipFile(tmp_path / f"zips/python/{image_set}.zip", "w") as archive:
            for name, data in made.items():
                if name.startswith(image_set + "/"):
                    archive.writestr(name, data)
    (tmp_path / "zips/strokes_background.zip").write_bytes(b"not looked at")
    first = import_dataset("omniglot", tmp_path / "f", tmp_path / "c1")
    second = import_dataset("omniglot", tmp_path / "zips", tmp_path / "c2")
    a, b = (np.load(p, allow_pickle=False) for p in (first, second))
    assert all(np.array_equal(a[k], b[k]) for k in a.files)
    assert a["class_names"].tolist() == [
        "Atlantean/character01", "Atlantean/character02", "Greek/character01", "Greek/character02",
        "Greek/character03", "Latin/character01", "Latin/character02",
    ]  # fmt: skip
    assert np.bincount(a["subset"]).tolist() == [0, 100, 40]
    expected = shrink(255.0 - strokes([0, 1, 2, 7])[None], 28)[0]
    row = np.flatnonzero((a["y"] == 6) & (a["drawer"] == 7))
    assert np.array_equal(a["x"][row[0]], expected)
    source = SOURCES.make({"name": "omniglot", "path": str(first), "way": 2, "tasks": 50})
    for index in (0, 1, 98, 99):
        samples = source.samples(index)
        assert samples.x.shape == (40, 784)
        pool = (a["subset"] == 1 + index % 2) & (a["drawer"] == 1)
        assert any(np.array_equal(samples.x[0], x.reshape(-1) / np.float32(255)) for x in a["x"][pool])
    big = SOURCES.make({"name": "omniglot", "path": str(first), "way": 3, "tasks": 5})
    big.samples(0)
    with pytest.raises(DataError, match=r"source\.way = 3: evaluation holds 2 characters"):
        big.samples(1)


def test_one_set_alone_and_the_small_sets(tmp_path):
    write(tmp_path, {"images_background": {"Greek": 1}})
    data = np.load(import_dataset("omniglot", tmp_path / "images_background", tmp_path / "c"), allow_pickle=False)
    assert data["class_names"].tolist() == ["Greek/character01"]
    write(tmp_path / "s", {"images_background_small1": {"Greek": 1}, "images_background_small2": {"Korean": 1}})
    data = np.load(import_dataset("omniglot", tmp_path / "s", tmp_path / "c"), allow_pickle=False)
    assert np.bincount(data["subset"]).tolist() == [0, 20, 20]


def test_what_is_missing_or_damaged_is_named(tmp_path):
    lost = "images_background/Greek/character02/0002_05.png"
    write(tmp_path / "f", {"images_background": {"Greek": 2}}, skip={lost})
    with pytest.raises(DataError, match=r"images_background/Greek/character02: lacks the drawing of drawer 5"):
        import_dataset("omniglot", tmp_path / "f", tmp_path / "c")
    (tmp_path / "f" / lost).write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"0002_05\.png: damaged, or no PNG"):
        import_dataset("omniglot", tmp_path / "f", tmp_path / "c")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no image like images_background"):
        import_dataset("omniglot", tmp_path / "none", tmp_path / "c")
    buffer = io.BytesIO(b"broken")
    (tmp_path / "none/images_background.zip").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"images_background\.zip: not a readable zip"):
        import_dataset("omniglot", tmp_path / "none", tmp_path / "c")
    assert not (tmp_path / "c").exists()
