"""Numbers in the names of a stack's files are whole, and have their signs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.checks import assert_refused

from terapose.io.images.opening import open_image


def _named(folder: Path, names: Sequence[str]) -> Path:
    """A file for each name, whose voxels are its number in the list."""
    folder.mkdir()
    for value, name in enumerate(names):
        tifffile.imwrite(folder / f"{name}.tif", np.full((8, 9), value, "uint8"))
    return folder


def _order(address: Path, channel: int = 1) -> list[int]:
    """Numbers of the files in the list, in the order of planes."""
    image = open_image(address, stack=True)
    whole = image.read((slice(0, image.shape[0]), slice(0, 1), slice(0, 1)), channel)
    return [int(value) for value in whole.ravel()]


@pytest.mark.parametrize("pattern", ["*{z}", "i*{z}", "img*{z}", "im?{z}", "{c}{z}", "im[gh]{z}"])
@pytest.mark.parametrize("form", ["img{}", "img{:02}", "img{:03}"])
def test_a_wildcard_takes_no_part_of_a_number(tmp_path: Path, form: str, pattern: str) -> None:
    folder = _named(tmp_path / "a", [form.format(n) for n in range(5, 15)])
    assert _order(folder / f"{pattern}.tif") == list(range(10))


@pytest.mark.parametrize("pattern", ["{z}*", "{z}{c}", "*{z}_{c}"])
def test_a_number_is_whole_at_its_end(tmp_path: Path, pattern: str) -> None:
    names = [f"{n}_{channel}" for n in range(5, 15) for channel in "ab"]
    folder = _named(tmp_path / "a", names if "c" in pattern else names[::2])
    step = 2 if "c" in pattern else 1
    assert _order(folder / f"{pattern}.tif") == list(range(0, 10 * step, step))


@pytest.mark.parametrize("pattern", ["img?{z}", "img[0-9]{z}", "img{z}?", "img{z}{t}", "img?*{z}"])
def test_patterns_that_would_take_parts_of_numbers(tmp_path: Path, pattern: str) -> None:
    folder = _named(tmp_path / "a", [f"img{n:02}" for n in range(5, 15)])
    assert_refused(
        "no file matches this pattern; .* all of their digits",
        folder / f"{pattern}.tif",
        stack=True,
    )


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["z-2", "z-1", "z0", "z1"], ["z{z}", "*{z}", "{c}{z}"]),
        (["z-1", "z0"], ["z{z}", "?{z}"]),
        (["z-2", "z-1", "z+0", "z+1", "z+2"], ["z{z}", "*{z}"]),
        (["z+8", "z+9", "z+10"], ["z{z}"]),
        (["z=-3um", "z=-2um", "z=-1um"], ["z={z}um", "*{z}um", "*{z}*"]),
        (["z=-5um", "z=0um", "z=5um"], ["z={z}um", "*{z}um"]),
        (["-2", "-1", "0", "1"], ["{z}", "*{z}"]),
        (["-3", "-2", "-1"], ["{z}"]),
        (["c1_z-1", "c1_z0", "c1_z1"], ["c1_z{z}", "*{z}", "c*_*{z}"]),
    ],
)
def test_numbers_with_signs(tmp_path: Path, names: list[str], patterns: list[str]) -> None:
    folder = _named(tmp_path / "a", names)
    for address in (folder, *(folder / f"{pattern}.tif" for pattern in patterns)):
        assert _order(address) == list(range(len(names)))


@pytest.mark.parametrize(
    "names",
    [
        ["img-8", "img-9", "img-10"],
        ["img-08", "img-09", "img-10"],
        ["z-0", "z-1", "z-2"],
        ["z-01", "z-02", "z-03"],
        ["2024-01", "2024-02"],
        ["a_-1", "a_-2"],
        ["z-1_c1", "z-1_c2"],
    ],
)
def test_dashes_that_separate(tmp_path: Path, names: list[str]) -> None:
    """As before: where all names have one, and it is no sign of a number that may be negative."""
    folder = _named(tmp_path / "a", names)
    for address in (folder, folder / "*{z}.tif"):
        assert _order(address) == list(range(len(names)))


@pytest.mark.parametrize("pattern", ["z{z}.tif", "*{z}.tif", ""])
def test_signs_that_may_be_separators(tmp_path: Path, pattern: str) -> None:
    folder = _named(tmp_path / "a", ["z-3", "z-2", "z-1"])
    message = r"got z-1\.tif, z-2\.tif, z-3\.tif; name them with z-\{z\} if they are separators"
    assert_refused(message, folder / pattern, stack=True)
    assert _order(folder / "z-{z}.tif") == [2, 1, 0]
    _named(tmp_path / "b", ["z-3", "z-2", "z0"])
    assert_refused("missing along Z", tmp_path / "b" / pattern, stack=True)
