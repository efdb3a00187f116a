"""Thumbnails of cells: against a plain loop over the whole image, and against cellcutter itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from tests.command import Terapose
from tests.slides import largest, make, naive, table_of

from terapose.core.errors import InputError
from terapose.io.images.model import Source
from terapose.io.images.opening import open_image
from terapose.io.images.read_ahead import blocks_of
from terapose.results.thumbnails.cut import cut_cells
from terapose.results.thumbnails.files import Layout


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks and many units in images of a few thousand pixels."""
    monkeypatch.setattr("terapose.io.images.read_ahead._ENOUGH", 600)
    monkeypatch.setattr("terapose.results.thumbnails.files._UNIT", 3000)


@pytest.mark.parametrize("form", ["tiled", "strips", "mapped", "zarr"])
@pytest.mark.parametrize("window", [None, 1, 8, 13, 120])
def test_every_window_is_the_images(
    tmp_path: Path, small: None, form: str, window: int | None
) -> None:
    slide = make(tmp_path, form=form)
    layout = Layout(chunk_bytes=2000)
    found = slide.cut(tmp_path / "cells.zarr", window=window, layout=layout, jobs=4)
    width = window or largest(slide, "yx")
    expected = naive(slide, (1, width, width))[0][:, :, 0]
    assert found.dtype == slide.pixels.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "float32", "float64", "float16"])
def test_types_of_voxels(tmp_path: Path, dtype: str) -> None:
    slide = make(tmp_path, dtype=dtype, form="zarr")
    found = slide.cut(tmp_path / "cells.zarr", window=12)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, naive(slide, (1, 12, 12))[0][:, :, 0])


def test_masks(tmp_path: Path, small: None) -> None:
    slide = make(tmp_path, dtype="float32")
    slide.pixels[0, 0, ::3] = np.nan
    tifffile.imwrite(slide.image, slide.pixels[:, 0], metadata={"axes": "CYX"}, tile=(16, 16),
                     photometric="minisblack")  # fmt: skip
    found = slide.cut(tmp_path / "cells.zarr", window=14, mask_cells=True, channels=[3, 1])
    images, masks = naive(slide, (1, 14, 14), [2, 0])
    np.testing.assert_array_equal(found, np.where(masks, images, 0)[:, :, 0])
    own = zarr.open_array(tmp_path / "cells_mask.zarr", mode="r")
    assert own.dtype == np.bool_
    np.testing.assert_array_equal(own[:], masks[:, 0])


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "layout",
    [
        Layout(cells_per_chunk=2),
        Layout(cells_per_chunk=7, zarr_format=3),
        Layout(cells_per_chunk=1, zarr_format=3, shard_bytes=9000),
    ],
)
def test_cache_and_jobs_do_not_show(tmp_path: Path, small: None, layout: Layout) -> None:
    slide = make(tmp_path)
    images, masks = naive(slide, (1, 9, 9))
    first: dict[str, bytes] = {}
    for name, cache, jobs, in_scratch in (
        ("all", 2**20, 1, range(1)),
        ("none", 0, 2, range(4, 99)),
        ("some", 8000, 3, range(1, 99)),
    ):
        folder = tmp_path / name
        made = cut_cells(
            slide.image, slide.labels, slide.table, folder / "c.zarr",
            window=9, mask_cells=True, layout=layout, cache_bytes=cache, jobs=jobs,
        )  # fmt: skip
        assert made.in_scratch in in_scratch
        assert sorted(p.name for p in folder.iterdir()) == ["c.zarr", "c_mask.zarr"]
        first = first or files(folder)
        assert files(folder) == first
    array = zarr.open_array(tmp_path / "all" / "c.zarr", mode="r")
    assert array.chunks == (3, layout.cells_per_chunk, 9, 9)
    assert array.attrs["channels"] == ["channel 1", "channel 2", "channel 3"]
    np.testing.assert_array_equal(array[:], np.where(masks, images, 0)[:, :, 0])


def test_chunks_are_those_of_cellcutter(tmp_path: Path) -> None:
    slide = make(tmp_path)
    slide.cut(tmp_path / "cells.zarr", window=20)
    array = zarr.open_array(tmp_path / "cells.zarr", mode="r")
    assert array.chunks == (3, 32 * 2**20 // (3 * 20 * 20 * 2), 20, 20)
    assert array.metadata.zarr_format == 2
    compressor = array.compressors[0]
    assert compressor.get_config() == {  # type: ignore[union-attr]
        "id": "blosc", "cname": "zstd", "clevel": 2, "shuffle": 1, "blocksize": 0,
    }  # fmt: skip
    cut_cells(slide.image, None, slide.table, tmp_path / "one.zarr", window=20,
              layout=Layout(chunk_bytes=10))  # fmt: skip
    assert zarr.open_array(tmp_path / "one.zarr", mode="r").chunks == (3, 1, 20, 20)


@pytest.mark.parametrize("form", ["tiled", "zarr"])
def test_volumes_have_depth(tmp_path: Path, small: None, form: str) -> None:
    slide = make(tmp_path, (9, 30, 40), channels=2, count=25, form=form)
    found = slide.cut(tmp_path / "cells.zarr", mask_cells=True)
    window = (largest(slide, "z"), largest(slide, "yx"), largest(slide, "yx"))
    images, masks = naive(slide, window)
    np.testing.assert_array_equal(found, np.where(masks, images, 0))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "cells_mask.zarr")[:], masks)
    given = slide.cut(tmp_path / "given.zarr", window=(4, 11))
    np.testing.assert_array_equal(given, naive(slide, (4, 11, 11))[0])
    cube = slide.cut(tmp_path / "cube.zarr", window=6)
    np.testing.assert_array_equal(cube, naive(slide, (6, 6, 6))[0])


def test_each_chunk_is_decoded_once(tmp_path: Path, small: None) -> None:
    slide = make(tmp_path, form="zarr")
    image = open_image(slide.image)
    read: list[int] = []

    class Counting:
        def __init__(self, source: Source) -> None:
            self.source = source

        def __getitem__(self, index: Any) -> Any:
            block = self.source[index]
            starts = [part.start % 16 for part in index[1:]]
            assert starts == [0, 0]
            read.append(block.size)
            return block

    counted = replace(image, open_source=lambda: Counting(image.open_source()))
    cut_cells(counted, None, slide.table, tmp_path / "cells.zarr", window=30)
    assert len(read) > 9
    assert sum(read) <= slide.pixels.size


@pytest.mark.parametrize(
    ("shape", "chunks", "block"),
    [
        ((1, 9000, 9000), [(1, 1024, 1024)], (1, 1024, 2048)),
        ((1, 9000, 9000), [(1, 256, 256)], (1, 256, 8192)),
        ((1, 9000, 500), [(1, 256, 256)], (1, 4096, 500)),
        ((1, 9000, 9000), [(1, 512, 512), (1, 1024, 1024)], (1, 1024, 2048)),
        ((1, 9000, 9000), [(1, 1024, 1024), (1, 13, 9000)], (1, 1024, 9000)),
        ((50, 900, 900), [(64, 128, 128)], (50, 128, 256)),
    ],
)
def test_blocks_are_whole_chunks(
    shape: tuple[int, int, int],
    chunks: list[tuple[int, int, int]],
    block: tuple[int, int, int],
) -> None:
    assert blocks_of(shape, *chunks).block == block


def test_boxes_of_the_table_stand_for_the_label_image(tmp_path: Path) -> None:
    slide = make(tmp_path)
    table = tmp_path / "cells.parquet"
    slide.frame.to_parquet(table)
    for name, given in (("a", table), ("b", slide.frame)):
        made = cut_cells(slide.image, None, given, tmp_path / f"{name}.zarr")
        assert made.shape[2:] == (largest(slide, "yx"),) * 2
    with pytest.raises(InputError, match="window-size: the size of the thumbnails"):
        cut_cells(slide.image, None, slide.frame[["CellID", "X_centroid", "Y_centroid"]],
                  tmp_path / "c.zarr")  # fmt: skip


def test_a_giant_cell_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slide = make(tmp_path, count=40)
    slide.ids[0, 2, 5:80] = 7000
    tifffile.imwrite(slide.labels, slide.ids[0])
    frame = table_of(slide.ids)
    slide.cut(tmp_path / "cells.zarr")
    assert not caplog.records
    made = cut_cells(slide.image, slide.labels, frame, tmp_path / "giant.zarr")
    assert made.shape[2:] == (75, 75)
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(
        "the window is 75 pixels wide because of cell 7000, which is 1 x 75; the"
    )
    assert said.endswith("--window-size gives a smaller one")


def test_a_mask_is_a_label_image_of_one_cell(tmp_path: Path) -> None:
    slide = make(tmp_path)
    mask, made = slide.ids == slide.ids.max(), {}
    for dtype in (np.uint8, np.bool_):
        address = str(tmp_path / f"{dtype.__name__}.zarr")
        zarr.create_array(address, data=mask.astype(dtype), dimension_names=list("zyx"))
        out = tmp_path / f"{dtype.__name__}-cells.zarr"
        frame = table_of(mask.astype(np.uint8))
        thumbnails = cut_cells(slide.image, address, frame, out, mask_cells=True)
        made[dtype] = np.asarray(zarr.open_array(thumbnails.path, mode="r")[:])
    assert made[np.uint8].any()
    np.testing.assert_array_equal(made[np.bool_], made[np.uint8])


def test_a_part_of_the_cells_and_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slide = make(tmp_path)
    few = slide.frame.iloc[3:8]
    made = cut_cells(slide.image, slide.labels, few, tmp_path / "few.zarr", window=10)
    found = zarr.open_array(made.path, mode="r")[:]
    np.testing.assert_array_equal(found, naive(slide, (1, 10, 10))[0][:, 3:8, 0])
    made = cut_cells(slide.image, slide.labels, few[:0], tmp_path / "none.zarr", window=10)
    assert made.shape == (3, 0, 10, 10)
    assert caplog.messages == ["the table has no cells, so the array of thumbnails is empty"]
    made = cut_cells(slide.image, slide.labels, few[:0], tmp_path / "more.zarr")
    assert made.shape == (3, 0, 1, 1)


def change(**columns: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Put other values into the first rows of columns."""

    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({name: object for name in columns})
        for name, values in columns.items():
            frame.loc[: len(values) - 1, name] = values
        return frame

    return changed


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda f: f.drop(columns="X_centroid"), "has no column X_centroid"),
        (lambda f: f[["CellID"]], "has no column X_centroid, Y_centroid"),
        (change(X_centroid=[np.nan]), "1 values of X_centroid are not numbers; got nan in row 1"),
        (change(Y_centroid=["a", "b"]), "2 values of Y_centroid are not numbers; got a in row 1"),
        (change(X_centroid=[90.0]), "1 cells are outside the image; got X_centroid 90 of cell"),
        (change(Y_centroid=[-1.0]), "1 cells are outside the image; got Y_centroid -1 of cell"),
        (change(CellID=[900, 901]), "2 of 59 CellIDs are not in the label image; got 900, 901; "),
        (change(CellID=[900, 900]), "1 CellIDs occur several times; got 900; "),
        (change(CellID=[0, 1.5]), "2 CellIDs are not numbers of cells; got 0, 1.5; "),
        (change(BoundingBox_x1=[0]), "1 boxes of cells are empty; got row 1"),
    ],
)
def test_faults_of_the_table(
    tmp_path: Path, alter: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    slide = make(tmp_path)
    table = tmp_path / "bad.csv"
    alter(slide.frame).to_csv(table, index=False)
    with pytest.raises(InputError) as error:
        cut_cells(slide.image, slide.labels, table, tmp_path / "out" / "cells.zarr", window=9)
    assert said in str(error.value)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("name", ["cells.zarr", "cells_mask.zarr"])
def test_what_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    slide, there = make(tmp_path), tmp_path / name
    monkeypatch.setattr("terapose.io.images.watch.Watch.confirm", lambda _: there.mkdir())
    with pytest.raises(InputError, match=rf"{name}: already exists"):
        slide.cut(tmp_path / "cells.zarr", window=9, mask_cells=True)
    assert not any(there.iterdir())
    assert len([*tmp_path.glob("*cells*.zarr")]) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "is not replaced; got something other than an array"),
        ("..", "the result would be in the place of an input"),
        ("here/..", "is not replaced; got something other than an array"),
    ],
)
def test_the_working_folder_is_not_replaced(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    slide = make(tmp_path)
    (tmp_path / "here/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    words = ("cut", slide.image, slide.labels, slide.table, name, "--mask-cells")
    assert "already exists" in command.refuses(*words)
    assert said in command.refuses(*words, "--force")


def test_the_command(tmp_path: Path, command: Terapose) -> None:
    slide = make(tmp_path)
    words = ("cut", slide.image, slide.labels, slide.table)
    out = tmp_path / "cells.zarr"
    said = command(*words, out, "--mask-cells", "--jobs", 1, "--channels", 3, 1)
    assert said.code == 0, said.err
    assert said.out == f"thumbnails: {out}\nmasks:      {tmp_path / 'cells_mask.zarr'}\n"
    images, masks = naive(slide, (1, *(largest(slide, "yx"),) * 2), [2, 0])
    expected = np.where(masks, images, 0)[:, :, 0]
    np.testing.assert_array_equal(zarr.open_array(out, mode="r")[:], expected)
    assert "already exists; choose another name, or give --force" in command.refuses(*words, out)
    assert command(*words, out, "-f", "--channels", "channel 2,1").code == 0
    names = zarr.open_array(out, mode="r").attrs["channels"]
    assert names == ["channel 2", "channel 1"]
    assert command(*words, tmp_path / "cells.zip", "-z").code == 0
    zipped = zarr.open_array(zarr.storage.ZipStore(tmp_path / "cells.zip"), mode="r")
    width = largest(slide, "yx")
    np.testing.assert_array_equal(zipped[:], naive(slide, (1, width, width))[0][:, :, 0])
    assert command(*words, tmp_path / "cells.zip", "-z", "-f").code == 0


def test_bad_input_is_one_sentence(tmp_path: Path, command: Terapose) -> None:
    slide = make(tmp_path)
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, slide.ids[0, :-1])
    tifffile.imwrite(tmp_path / "real.tif", slide.ids[0].astype(np.float32))
    (tmp_path / "folder").mkdir()
    (tmp_path / "cells.xlsx").write_bytes(b"PK\x03\x04\x00\xff")
    out = tmp_path / "cells.zarr"
    words = (slide.image, slide.labels, slide.table, out)
    for given, said in (
        ((*words, "--channels", "4"), "there is no such channel; got 4; allowed: 1 to 3"),
        ((*words, "--channels", "DAPI"), "there is no such channel; got DAPI"),
        ((*words, "--window-size", "0"), "window-size: not a valid window size; got 0"),
        ((*words, "--window-size", "3,5"), "window-size: not a valid window size; got (3, 5)"),
        ((*words, "--window-size", "60000"), "thumbnails: a chunk is too large; got 1 cells of"),
        ((*words, "--shard-size", "8"), "shard-size: Zarr 2 has no shards"),
        ((slide.image, other, *words[2:]), "does not have the shape of the image; got 1 x 74 x 90"),
        ((slide.image, tmp_path / "real.tif", *words[2:]), "a label image must have whole numbers"),
        ((slide.image, "-", *words[2:], "--mask-cells"), "masks are cut from a label image"),
        ((*words[:2], tmp_path / "none.csv", out), "the table cannot be read; got No such file"),
        ((*words[:2], tmp_path / "cells.xlsx", out), "is a workbook or an archive, not"),
        ((*words[:3], tmp_path / "folder", "-f"), "is not replaced; got something other than"),
        ((*words[:3], slide.image, "-f"), "would be in the place of an input"),
        ((*words[:3], "s3://bucket/cells.zarr"), "thumbnails are written to a local disk"),
        ((*words[:3], slide.table / "cells.zarr"), "would be in the place of an input, or inside"),
        ((*words[:3], tmp_path / "real.tif/c.zarr"), "the thumbnails cannot be written"),
    ):
        assert said in command.refuses("cut", *given)
        assert not out.exists() and not list(tmp_path.glob(".*"))


@pytest.mark.skipif(
    "CELLCUTTER_HOME" not in os.environ,
    reason="CELLCUTTER_HOME names no environment with cellcutter (make compare-cellcutter)",
)
@pytest.mark.parametrize("options", ["", "--window-size 31 --channels 2 1", "--mask-cells"])
def test_the_array_is_that_of_cellcutter(tmp_path: Path, small: None, options: str) -> None:
    slide = make(tmp_path)
    home = Path(os.environ["CELLCUTTER_HOME"])
    words = [str(path) for path in (slide.image, slide.labels, slide.table)]
    theirs, ours = tmp_path / "theirs.zarr", tmp_path / "ours.zarr"
    subprocess.run(
        [home / "bin" / "cut_cells", *words, theirs, *options.split()],
        check=True,
        capture_output=True,
    )
    window = 31 if "window" in options else None
    channels = [2, 1] if "channels" in options else []
    slide.cut(ours, window=window, channels=channels, mask_cells="mask" in options)
    for name in ("", "_mask") if "mask" in options else ("",):
        pair = [zarr.open_array(p.with_stem(p.stem + name), mode="r") for p in (theirs, ours)]
        assert pair[0].metadata.to_dict() | {"attributes": {}} == pair[1].metadata.to_dict() | {
            "attributes": {}
        }
        np.testing.assert_array_equal(pair[0][:], pair[1][:])
    # and the other way round: its zarr reads what we write
    code = "import sys, zarr; print(zarr.open(sys.argv[1], mode='r')[:].sum(dtype='int64'))"
    done = subprocess.run(
        [home / "bin" / "python", "-c", code, ours], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) == np.sum(zarr.open_array(ours, mode="r")[:], dtype=np.int64)
