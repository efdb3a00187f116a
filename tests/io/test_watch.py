"""Images that change while a program without a plan reads them, or while one is planned."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from tests.command import Terapose
from tests.results.test_image_swapped import SHAPE, noise, swap, write

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.watch import Watch, settled
from terapose.pipeline import checked
from terapose.pipeline.checked import open_checked
from terapose.pipeline.image_plan import identity_of

CHANGED = "the image has changed since it was opened"
EVERYTHING = (slice(0, 8), slice(0, 24), slice(0, 26))


def nth(count: int, act: Callable[[], None], call: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does something more after its ``count``-th call."""
    calls = []

    def calling(*given: Any, **more: Any) -> Any:
        result = call(*given, **more)
        calls.append(1)
        if len(calls) == count:
            act()
        return result

    return calling


@pytest.mark.parametrize("kind", ["zarr", "tiff", "hdf5", "stack", "zip"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_metadata_and_identity_are_of_one_image(kind: str, when: int, tmp_path: Path) -> None:
    """Swapped after the first or the second look into it, or once it is opened."""
    image, other = (tmp_path / name for name in ("a", "b"))
    for path, seed in ((image, 0), (other, 1)):
        write(path, seed, "zarr" if kind == "zip" else kind)
        if kind == "zip":
            shutil.make_archive(str(path), "zip", path)
    if kind == "zip":
        image, other = image.with_suffix(".zip"), other.with_suffix(".zip")
    opening = partial(open_image, image, stack=kind == "stack")
    act = nth(when, lambda: swap(image, other), opening)
    watch = Watch()
    if when == 2:
        with pytest.raises(InputError, match=CHANGED):
            watch.open(act)
        return
    if when == 1:
        try:
            found = watch.open(act)
        except InputError as error:
            assert CHANGED in str(error)
            return
        np.testing.assert_array_equal(found.read(EVERYTHING), noise(1))
        watch.confirm()
        return
    found = watch.open(act)
    swap(image, other)
    found.read(EVERYTHING)
    with pytest.raises(InputError, match=CHANGED):
        watch.confirm()


def test_values_are_read_by_the_metadata_of_their_own_file(tmp_path: Path) -> None:
    """Two files of one size that differ in where their values lie, swapped after the first look."""
    for name, text in (("a", ""), ("b", "x" * 400)):
        tifffile.imwrite(tmp_path / name, noise(0), metadata=None, description=text)
    size = max((tmp_path / name).stat().st_size for name in "ab")
    for name in "ab":
        with (tmp_path / name).open("r+b") as file:
            file.truncate(size)
    opening = partial(open_image, tmp_path / "a", axes="ZYX")
    act = nth(1, lambda: swap(tmp_path / "a", tmp_path / "b"), opening)
    np.testing.assert_array_equal(settled(act).read(EVERYTHING), noise(0))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """An image, two label images and a table of cells, with others that take their places."""
    found = {"image": write(tmp_path / "image", 0, "zarr"), "table": tmp_path / "cells.csv"}
    write(tmp_path / "other image", 1, "zarr")
    labels = np.zeros(SHAPE, np.uint16)
    labels[2:5, 3:9, 4:9] = 1
    for name in ("labels", "reference"):
        found[name] = tmp_path / name
        for prefix in ("", "other "):
            place = tmp_path / f"{prefix}{name}"
            zarr.create_array(place, data=labels, chunks=(4, 12, 13), compressors=None)
    table = {"CellID": [1], "X_centroid": [6], "Y_centroid": [6], "Z_centroid": [3]}
    pd.DataFrame(table).to_csv(found["table"], index=False)
    return found


@pytest.mark.parametrize("reads", [0, 1])
@pytest.mark.parametrize(
    ("program", "which"),
    [
        ("picture", "image"),
        ("picture", "labels"),
        ("picture", "reference"),
        ("evaluate", "labels"),
        ("evaluate", "reference"),
        ("cut", "image"),
        ("cut", "labels"),
        ("npy", "image"),
        ("npy", "labels"),
    ],
)
def test_swapped_while_a_program_reads_it(
    program: str,
    which: str,
    reads: int,
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    """Whether it has read nothing yet, or a part; earlier results stay as they are."""
    image, labels, reference, table = (inputs[n] for n in ("image", "labels", "reference", "table"))
    out = tmp_path / {"npy": "a_seg.npy", "picture": "out.png"}.get(program, "out")
    words = {
        "npy": ("npy", labels, out, "--image", image, "--overwrite"),
        "picture": ("picture", image, labels, out, "--reference", reference),
        "evaluate": ("evaluate", reference, labels, "--json", out),
        "cut": ("cut", image, labels, table, out, "--mask-cells", "--force", "--zip"),
    }[program]
    command = Terapose(monkeypatch, capsys)
    if program == "cut":
        assert command(*words).code == 0
    else:
        out.write_bytes(b"earlier")
    before = out.read_bytes()
    swapping = partial(swap, inputs[which], tmp_path / f"other {which}")
    with monkeypatch.context() as patch:
        if reads:
            patch.setattr(Image, "read", nth(reads, swapping, Image.read))
        else:
            # between being opened and being read
            opens = 3 if program == "picture" else 2
            patch.setattr(Watch, "open", nth(opens, swapping, Watch.open))
        assert CHANGED in command.refuses(*words)
    assert (tmp_path / "old").exists() and out.read_bytes() == before


@pytest.fixture
def planes(tmp_path: Path) -> Path:
    """An image with a voxel size, and another one of the same bytes but for that."""
    for name, step in (("a", 2.0), ("b", 3.0)):
        metadata = {"axes": "ZYX", "spacing": step, "unit": "um"}
        path = tmp_path / name
        tifffile.imwrite(path, noise(0), imagej=True, resolution=(1, 1), metadata=metadata)
    return tmp_path / "a"


@pytest.mark.parametrize("by", ["stat", "content"])
@pytest.mark.parametrize("looks", [1, 2])
def test_what_is_planned_is_one_image(
    looks: int, by: str, planes: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its voxel size is not that of the image that was there before."""
    params = check({"model": str(tiny_model), "identity": by})
    act = nth(looks, lambda: swap(planes, planes.with_name("b")), open_image)
    monkeypatch.setattr(checked, "open_image", act)
    if looks == 2:
        with pytest.raises(InputError, match=CHANGED):
            open_checked(str(planes), params)
        return
    image = open_checked(str(planes), params)
    assert image.voxel_size == (3.0, 1.0, 1.0)
    assert identity_of(image, by) == identity_of(open_image(planes), by)


def test_an_identity_is_that_of_what_was_opened(planes: Path, tiny_model: Path) -> None:
    """Also where it is asked for after a swap."""
    params = check({"model": str(tiny_model)})
    image, before = open_checked(str(planes), params), open_image(planes).identity
    swap(planes, planes.with_name("b"))
    assert identity_of(image.whole, "stat") == before != open_image(planes).identity
    with pytest.raises(InputError, match=CHANGED):
        identity_of(image, "content")
