"""The label image as OME-TIFF: what tifffile reads back, of planes, volumes and any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from tests.command import Terapose
from tests.memory import alone, traced
from tests.synthetic import nuclei, write_ome_zarr

from terapose.api.segment import segment
from terapose.core.errors import InputError
from terapose.io.labels.ome_tiff import EDGE, TILE, Placed, write_mask
from terapose.io.labels.ome_zarr import create, downsample, open_level

SIZE = (2.0, 0.5, 0.5)


def label_image(
    folder: Path,
    labels: np.ndarray,
    factors: list[tuple[int, int, int]],
    chunks: tuple[int, int, int] = (1, 256, 256),
) -> str:
    address = str(folder / "labels.zarr")
    create(
        address,
        shape=labels.shape,
        dtype=labels.dtype,
        voxel_size=SIZE,
        factors=factors,
        chunks=chunks,
    )
    for level, factor in enumerate(factors):
        open_level(address, level)[:] = downsample(
            labels, factor[-labels.ndim :], (0,) * labels.ndim
        )
    return address


@pytest.mark.parametrize("together", [1, 2 * 48**2, 70 * 90 * 2])
@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_how_much_is_read_at_once_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int, dtype: str
) -> None:
    """A tile of one plane, of two, or of all planes of a layer of chunks."""
    labels = np.random.default_rng(1).integers(0, 2**32, (8, 70, 90)).astype(dtype)
    labels[:, 20:50] = 0
    address = label_image(tmp_path, labels, [(1, 1, 1)], chunks=(3, 32, 32))
    monkeypatch.setattr("terapose.io.labels.ome_tiff.TILE", 48)
    path = tmp_path / "mask.ome.tif"
    write_mask(address, path, levels=1, voxel_size=None, identity="one")
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    before = path.read_bytes()
    monkeypatch.setattr("terapose.io.labels.ome_tiff.TOGETHER", together)
    place = (8, 70, 90), (0, 0, 0)
    for where in (None, place):
        write_mask(address, path, levels=1, voxel_size=None, identity="one", place=where)
        assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.zarr", "mask.ome.tif"]


def test_chunks_of_large_planes_are_not_decoded_once_for_each_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.ones((6, 64, 96), np.uint32)
    address = label_image(tmp_path, labels, [(1, 1, 1)], chunks=(6, 32, 32))
    monkeypatch.setattr("terapose.io.labels.ome_tiff.TILE", 32)
    monkeypatch.setattr("terapose.io.labels.ome_tiff.TOGETHER", 3 * 32**2)
    read, taken = list[tuple[int, ...]](), zarr.Array.__getitem__

    def counted(array: Any, index: Any) -> Any:
        found: Any = taken(array, index)
        read.append(found.shape)
        return found

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    path = tmp_path / "mask.ome.tif"
    write_mask(address, path, levels=1, voxel_size=None, identity="one")
    assert read == [(3, 32, 32)] * 12


def test_a_coarse_level_of_a_region_is_read_in_parts(tmp_path: Path) -> None:
    """One tile of it is all of the labels: 400 MB, of which few chunks are there."""
    shape, step, first = (EDGE + 900, 5 * EDGE), 64, (5, 83)
    stored = zarr.create_array(
        str(tmp_path / "l.zarr"), shape=shape, chunks=(1024, 1024), dtype="uint32"
    )
    y, x = EDGE - 70, 2 * EDGE - 90
    values = np.random.default_rng(2).integers(1, 99, (140, 180)).astype(np.uint32)
    stored[y : y + 140, x : x + 180] = values
    placed = Placed(stored, (1, shape[0] + 5, shape[1] + 90), (0, *first), (1, step, step))
    found, peak = alone(traced, placed.__getitem__, slice(None))
    assert peak < 1.3 * EDGE**2 * stored.dtype.itemsize
    y, x = y + first[0], x + first[1]
    top, left = -(-y // step), -(-x // step)
    kept = values[-y % step :: step, -x % step :: step]
    expected = np.zeros_like(found)
    expected[top : top + kept.shape[0], left : left + kept.shape[1]] = kept
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(40, 50), (TILE + 30, 700), (3, 70, 90)])
def test_the_mask_is_the_label_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 2**32, shape).astype(np.uint32)
    factors = [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    address = label_image(tmp_path, labels, factors)
    path = tmp_path / "mask.ome.tif"
    write_mask(address, path, levels=3, voxel_size=SIZE, identity="one")
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert file.is_bigtiff and file.is_ome and series.dtype == np.uint32
        page = file.pages.first
        assert page.is_tiled and page.compression == 8 and page.predictor == 2
        assert 'PhysicalSizeX="0.5"' in (file.ome_metadata or "")
        levels = [level.asarray() for level in series.levels]
    assert len(levels) == (3 if len(shape) == 2 else 1)
    for level, factor in zip(levels, factors, strict=False):
        step = tuple(slice(None, None, f) for f in factor[-len(shape) :])
        np.testing.assert_array_equal(level, labels[step])
    before = path.read_bytes()
    write_mask(address, path, levels=3, voxel_size=SIZE, identity="one")
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*partial"))


def test_the_command_writes_it_where_asked(tmp_path: Path, command: Terapose) -> None:
    plane = nuclei((3, 60, 70))[0][1]
    image = write_ome_zarr(tmp_path / "plane.zarr", plane, axes="yx", voxel_size=(1.0, 0.5, 0.5))
    words = ("--mode", "2d", "--jobs", "1", "--mask-tiff", "cell.ome.tif")
    assert command("segment", image, tmp_path / "out", *words).code == 0
    mask = tifffile.imread(tmp_path / "out" / "cell.ome.tif")
    labels = np.asarray(open_level(str(tmp_path / "out" / "labels.zarr"), 0)[:])
    assert labels.ndim == 2 and labels.max() > 3
    np.testing.assert_array_equal(mask, labels)


def test_the_call_of_mcmicro(tmp_path: Path, command: Terapose) -> None:
    """Flags for input and output, channels after one flag with spaces between, options last."""
    planes = np.stack([nuclei((3, 60, 70), seed=n)[0][1] for n in range(3)])
    image = write_ome_zarr(tmp_path / "slide.zarr", planes, axes="cyx")
    out = tmp_path / "out"
    words = ("--outdir", out, "--input", image, "--channel", "3", "--jobs", "1")
    assert command("segment", *words, "--min-size", "10", "--mode", "2d").code == 0
    names = {path.name for path in out.iterdir()}
    kept = {"labels.zarr", "cells.csv", "cells.parquet", "provenance.json"}
    assert names == {"cell.ome.tif", "qc", *kept}
    qc = out / "qc" / "slide"
    tables = {"cells.csv", "cells.parquet"}
    assert {path.name for path in qc.iterdir()} == {"outlines.png", *tables, "provenance.json"}
    assert (qc / "cells.csv").read_bytes() == (out / "cells.csv").read_bytes()
    # MCMICRO measures intensities itself
    assert "channel 3" not in pd.read_csv(qc / "cells.csv")
    assert command("segment", image, tmp_path / "plain", *words[4:], "--mode", "2d").code == 0
    plain = np.asarray(open_level(str(tmp_path / "plain" / "labels.zarr"), 0)[:])
    np.testing.assert_array_equal(tifffile.imread(out / "cell.ome.tif") > 0, plain > 0)
    # run again with fewer tables: those of the run before go, and nothing of others
    (qc / "mine.png").write_text("mine")
    assert command("segment", *words, "--mode", "2d", "--table", "csv").code == 0
    names = {"outlines.png", "cells.csv", "provenance.json", "mine.png"}
    assert {path.name for path in qc.iterdir()} == names
    refused = command.refuses("segment", "--outdir", out, "--input", image, "--channel", "1", "3")
    assert "more channels are given than the network has inputs; got [1, 3]" in refused


def test_a_stack_of_channels_is_no_volume(tmp_path: Path, command: Terapose) -> None:
    """A plain TIFF does not tell that its planes to be channels: in 3D it would look finished."""
    planes = np.stack([nuclei((3, 60, 70), seed=n)[0][1] for n in range(3)])
    image = tmp_path / "slide.tif"
    tifffile.imwrite(image, planes, photometric="minisblack")
    words = ("segment", "--outdir", tmp_path / "out", "--input", image, "--jobs", "1")
    refused = command.refuses(*words)
    assert "its planes to be channels; got axes QYX, 3 planes of (60, 70)" in refused
    assert not (tmp_path / "out").exists()
    tifffile.imwrite(image, planes, photometric="minisblack", metadata={"axes": "CYX"})
    assert command(*words).code == 0
    assert tifffile.imread(tmp_path / "out" / "cell.ome.tif").shape == (60, 70)


def test_results_do_not_take_the_place_of_the_image(tmp_path: Path, command: Terapose) -> None:
    plane = nuclei((3, 60, 70))[0][1]
    image = tmp_path / "plane.tif"
    tifffile.imwrite(image, plane)
    before = image.read_bytes()
    for words in ((image, tmp_path), ("--input", image, "--outdir", tmp_path)):
        said = command.refuses("segment", *words, "--mask-tiff", "plane.tif")
        assert "would be overwritten by the results" in said
    inside = write_ome_zarr(tmp_path / "labels.zarr", plane, axes="yx")
    assert "would be overwritten" in command.refuses("segment", inside, tmp_path)
    assert image.read_bytes() == before
    assert "give either IMAGE and OUT, or" in command.refuses(
        "segment", image, tmp_path / "a", "--outdir", tmp_path / "b"
    )


def test_no_mask_of_an_earlier_run_stays(tmp_path: Path, command: Terapose) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", nuclei((3, 60, 70))[0][1], axes="yx")
    words = ("segment", image, tmp_path / "out", "--jobs", "1")
    assert command(*words, "--mask-tiff", "first.tif").code == 0
    assert command(*words, "--min-size", "40", "--mask-tiff", "second.tif").code == 0
    assert [p.name for p in (tmp_path / "out").glob("*.tif")] == ["second.tif"]
    assert command(*words, "--min-size", "60").code == 0
    assert not list((tmp_path / "out").glob("*.tif"))


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.zeros((5, 6)), {"axes": "zyx"}),
        (np.zeros((5, 6)), {"axes": "yy"}),
        (np.zeros((5, 6)), {"axes": 5}),
        (np.zeros((5, 6), object), {}),
        (np.zeros((5, 6)), {"workers": 0}),
    ],
)
def test_arguments_in_python(image: object, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"axes|workers|array of numbers"):
        segment(image, **options)  # type: ignore[arg-type]
