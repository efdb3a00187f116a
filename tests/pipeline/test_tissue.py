"""What a mask of tissue shows, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from tests.synthetic import nuclei, write_ome_zarr, write_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.core.params import check
from terapose.io.images.array_like import open_labels
from terapose.io.labels.ome_zarr import open_level
from terapose.pipeline.checked import open_checked
from terapose.pipeline.image_plan import TissuePlan
from terapose.pipeline.tissue import Tissue, find_tissue, share_of, shown

SIZE = (2.0, 0.5, 0.5)


@pytest.mark.parametrize("background", [np.nan, -1.0, -np.inf, 0.0])
def test_tissue_is_what_is_above_0(tmp_path: Path, background: float) -> None:
    values = np.full((20, 30), background, np.float32)
    values[4:9, 11:17] = 0.25
    values[8, 16] = np.inf
    tifffile.imwrite(tmp_path / "m.tif", values)
    box, plan = find_tissue(str(tmp_path / "m.tif"), (3, 40, 60))
    assert box == Box((0, 8, 22), (3, 18, 34))
    assert (plan.start, plan.stop) == ((0, 4, 11), (1, 9, 17))
    assert isinstance(plan, TissuePlan)
    assert shown(values).sum() == 30
    assert share_of(str(tmp_path / "m.tif")) == 30 / 600


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_negative_numbers_are_background(tmp_path: Path, dtype: str) -> None:
    values = np.full((20, 30), -1, dtype)
    tifffile.imwrite(tmp_path / "m.tif", values)
    with pytest.raises(InputError, match=r"shows no tissue.* got nothing above 0"):
        find_tissue(str(tmp_path / "m.tif"), (1, 40, 60))


def _labels(path: Path, shape: tuple[int, int], start: tuple[int, int], **more: Any) -> Path:
    """Labels of a region, as a run leaves them."""
    size = more.get("size", SIZE)
    place = tuple(s * n for s, n in zip(size, (0, *start), strict=True))
    array = np.ones(shape, np.uint32)
    return write_ome_zarr(path, array, axes="yx", voxel_size=size, translations=[place])


@pytest.mark.parametrize(
    ("shape", "start"), [((30, 40), (10, 20)), ((30, 40), (0, 0)), ((30, 40), (30, 40))]
)
def test_labels_of_a_part_are_not_stretched_over_the_whole(
    tmp_path: Path, shape: tuple[int, int], start: tuple[int, int]
) -> None:
    plane = nuclei((1, 60, 80))[0][0]
    image = str(write_ome_zarr(tmp_path / "a.zarr", plane, axes="yx", voxel_size=SIZE))
    part = _labels(tmp_path / "part.zarr", shape, start)
    with pytest.raises(InputError, match=r"does not cover the image.*got Y .*; allowed: Y "):
        open_checked(image, check({"region": str(part)}))
    # of an image that lies where the mask does, it is all of it
    cut = plane[start[0] : start[0] + 30, start[1] : start[1] + 40]
    place = (0.0, start[0] * 0.5, start[1] * 0.5)
    other = write_ome_zarr(
        tmp_path / "b.zarr", cut, axes="yx", voxel_size=SIZE, translations=[place]
    )
    assert open_checked(str(other), check({"region": str(part)})).shape == (1, 30, 40)


def test_labels_of_a_part_of_an_image_of_unknown_size(tmp_path: Path) -> None:
    image = str(write_zarr(tmp_path / "a.zarr", nuclei((1, 60, 80))[0]))
    array = np.ones((30, 40), np.uint32)
    for number, place in enumerate([(0.0, 10.0, 0.0), (0.0, 0.0, 40.0)]):
        part = write_ome_zarr(tmp_path / f"{number}.zarr", array, axes="yx", translations=[place])
        with pytest.raises(InputError, match="does not cover the image"):
            open_checked(image, check({"region": str(part)}))


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("centred", [True, False])
def test_coarser_masks_of_the_whole_are_taken(tmp_path: Path, factor: int, centred: bool) -> None:
    """A pyramid's levels lie half a voxel from one another, or say that they do not."""
    plane = nuclei((1, 61, 83))[0][0]
    image = str(write_ome_zarr(tmp_path / "a.zarr", plane, axes="yx", voxel_size=SIZE))
    values = np.ones((61 // factor, 83 // factor), np.uint8)
    place = (0.0, *((factor - 1) / 4,) * 2) if centred else (0.0, 0.0, 0.0)
    size = (2.0, 0.5 * factor, 0.5 * factor)
    mask = write_ome_zarr(
        tmp_path / "m.zarr", values, axes="yx", voxel_size=size, translations=[place]
    )
    assert open_checked(image, check({"region": str(mask)})).shape == (1, 61, 83)
    # a TIFF may say what it likes of sizes: it is stretched over the image
    tifffile.imwrite(tmp_path / "m.tif", values, resolution=(300, 300), resolutionunit="INCH")
    assert open_checked(image, check({"region": f"{tmp_path}/m.tif"})).shape == (1, 61, 83)


def test_masks_and_labels_have_one_channel(tmp_path: Path) -> None:
    two = np.ones((2, 60, 80), np.uint16)
    image = str(write_zarr(tmp_path / "a.zarr", nuclei((1, 60, 80))[0]))
    paths = [tmp_path / "m.ome.tif", tmp_path / "ij.tif", tmp_path / "m.zarr"]
    tifffile.imwrite(paths[0], two, metadata={"axes": "CYX"})
    tifffile.imwrite(paths[1], two, imagej=True, metadata={"axes": "CYX"})
    write_ome_zarr(paths[2], two, axes="cyx")
    for path in paths:
        with pytest.raises(
            InputError, match="masks and labels must have one channel; got 2 channels"
        ):
            open_checked(image, check({"region": str(path)}))
        with pytest.raises(
            InputError, match="masks and labels must have one channel; got 2 channels"
        ):
            open_labels(path)


@pytest.mark.parametrize(
    "name", ["a.tif", "strips.tif", "tiles.tif", "a.zarr", "a 1 é.png", "b.PNG"]
)
def test_masks_of_true_and_false_and_png(tmp_path: Path, name: str) -> None:
    mask = np.zeros((31, 45), bool)
    mask[4:9, 11:17] = True
    path = tmp_path / name
    if name == "a.zarr":
        write_zarr(path, mask[None])
    elif name.lower().endswith("png"):
        path.write_bytes(imagecodecs.png_encode(mask.astype(np.uint8) * 255))
    else:
        options: dict[str, Any] = {
            "a.tif": {},
            "strips.tif": {"compression": "zlib", "rowsperstrip": 7},
            "tiles.tif": {"compression": "zlib", "tile": (16, 16)},
        }
        tifffile.imwrite(path, mask, **options[name])
    box, _ = find_tissue(str(path), (3, 62, 90))
    assert box == Box((0, 8, 22), (3, 18, 34))
    assert share_of(str(path)) == 30 / mask.size
    # an image to segment is still none
    said = (
        "not an image that can be read" if name.lower().endswith("png") else "voxels of this type"
    )
    with pytest.raises(InputError, match=said):
        open_checked(str(path), check({}))


@pytest.mark.parametrize("factor", [1, 2, 0.5])
def test_a_part_is_segmented_as_with_a_mask_of_that_part(
    tmp_path: Path, tiny_model: Path, factor: float
) -> None:
    image = str(write_zarr(tmp_path / "a.zarr", nuclei((1, 120, 160), radius=15, spacing=33)[0]))
    rows, columns = (np.arange(round(n / factor)) * factor for n in (120, 160))
    tissue = (rows[:, None] >= 20) & (columns >= 16) & (rows[:, None] + columns < 220)
    tissue[:, (columns >= 70) & (columns < 76)] = False
    tifffile.imwrite(tmp_path / "m.tif", tissue.astype(np.uint8))
    part = Box((0, 10, 24), (1, 84, 120))
    given = {
        "model": str(tiny_model),
        "cellprob_threshold": -0.5,
        "diameter": 30,
        "flow_threshold": 0,
    }
    params = check({**given, "region": f"{tmp_path}/m.tif"})

    opened = open_checked(image, params)
    seen = Tissue(opened, open_labels(params.tissue))
    place = part.moved(opened.region.start)
    alone = np.zeros((120, 160), np.uint8)
    alone[place.slices[1:]] = seen[part.slices][0]
    tifffile.imwrite(tmp_path / "alone.tif", alone)
    if factor == 1:
        np.testing.assert_array_equal(seen[part.slices][0], tissue[place.slices[1:]])

    segment_file(image, tmp_path / "part", params, part=part)
    only = {**given, "region": f"{tmp_path}/alone.tif"}
    segment_file(image, tmp_path / "only", check(only))
    found = [np.asarray(open_level(f"{tmp_path}/{n}/labels.zarr", 0)[:]) for n in ("part", "only")]
    assert found[0].shape == part.shape and found[0].max() > 3
    np.testing.assert_array_equal(found[0], found[1])
    assert not found[0][~seen[part.slices]].any()


def test_without_a_mask_all_is_tissue(tmp_path: Path) -> None:
    opened = open_checked(str(write_zarr(tmp_path / "a.zarr", nuclei((1, 20, 30))[0])), check({}))
    assert Tissue(opened, None)[Box((0, 2, 3), (1, 5, 9)).slices].tolist() == [[[True] * 6] * 3]
