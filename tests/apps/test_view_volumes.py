"""What a viewer reads: the same voxels as the image, the labels and the table have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from tests.in_image import segmented
from tests.synthetic import nuclei, voxels, write_ome_zarr

from terapose.apps.view import colors, site
from terapose.apps.view.derived import (
    MISSING,
    NOTHING,
    OPACITY,
    OPAQUE,
    SECTIONS,
    Outlines,
    Values,
)
from terapose.apps.view.direct import plain_group
from terapose.apps.view.folder import write_view
from terapose.apps.view.pixels import Pixels
from terapose.apps.view.results import open_results
from terapose.apps.view.table import Cells
from terapose.apps.view.volumes import Served
from terapose.core.errors import InputError
from terapose.core.geometry import Box
from terapose.io.images.opening import open_image


def written(volume: Any, folder: Path) -> zarr.Group:
    """A volume as the server would send it, opened by another library."""
    served = Served(volume, "test")
    for key in served.all_keys():
        content = served.get(key)
        if content is not None:
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(content)
    return zarr.open_group(folder, mode="r")


def level(group: zarr.Group, number: int) -> np.ndarray:
    return np.asarray(group[str(number)][...])  # type: ignore[index]


def outlined(labels: np.ndarray, across: int) -> np.ndarray:
    """Outlines in sections across an axis, voxel by voxel."""
    found = np.zeros(labels.shape, bool)
    steps = [step for axis, step in enumerate(np.eye(3, dtype=int)) if axis != across]
    for voxel in np.argwhere(labels):
        for step in (*steps, *(-step for step in steps)):
            other = tuple(voxel + step)
            if all(0 <= n < m for n, m in zip(other, labels.shape, strict=True)):
                found[tuple(voxel)] |= labels[other] != labels[tuple(voxel)]
    return found


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_is_served_as_it_is(tmp_path: Path, dtype: str, compression: Any) -> None:
    array = voxels(40, 140, 260, dtype=dtype)
    array[:32, :128, :128] = 0
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, array, compression=compression, metadata={"axes": "ZYX"})
    volume = Pixels((open_image(path),), 1, 3)
    group = written(volume, tmp_path / "served")
    assert (level(group, 0) == array).all()
    assert level(group, 0).dtype == np.dtype("float32" if dtype == "float64" else dtype)
    # it has no coarser level, so that takes every second voxel
    assert len(volume.levels) == 2
    assert (level(group, 1) == array[::2, ::2, ::2]).all()
    document = json.loads((tmp_path / "served" / "zarr.json").read_text())
    multiscale = document["attributes"]["ome"]["multiscales"][0]
    scales = [one["coordinateTransformations"][0]["scale"] for one in multiscale["datasets"]]
    assert scales == [[1, 1, 1], [2, 2, 2]]
    # chunks of nothing are not there, as in other arrays
    assert not (tmp_path / "served" / "0" / "c" / "0" / "0" / "0").exists()
    assert (tmp_path / "served" / "0" / "c" / "1" / "1" / "2").exists()


def test_a_pyramid_is_served_with_its_own_levels(tmp_path: Path) -> None:
    array = voxels(2, 3, 90, 80)
    path = write_ome_zarr(
        tmp_path / "image.zarr", array, axes="czyx", voxel_size=(3, 1, 1), factors=(1, 2)
    )
    images = tuple(open_image(path, level=n) for n in (0, 1))
    group = written(Pixels(images, 2, 3), tmp_path / "served")
    for number, image in enumerate(images):
        assert (level(group, number) == image.read(Box.whole(image.shape).slices, 2)).all()


NO_CHUNKS = ("1/c/0", "0/c/9/0/0", "0/c/00/0/0", "9/zarr.json", "00/zarr.json", "0/c/0/0/0/")


@pytest.mark.parametrize("chunk", [*NO_CHUNKS, "0/c/-1/0/0", "0/zarr.json/", "c/0/0/0", ""])
def test_what_is_no_chunk_is_nothing(tmp_path: Path, chunk: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", voxels(5, 20, 20), metadata={"axes": "ZYX"})
    served = Served(Pixels((open_image(tmp_path / "a.tif"),), 1, 3), "a")
    assert served.get("0/c/0/0/0")
    assert served.get(chunk) is None


def test_outlines_are_those_of_single_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terapose.apps.view.volumes.CHUNK", (2, 7, 9))
    labels = nuclei((5, 50, 60), radius=8)[1]
    path = write_ome_zarr(tmp_path / "labels.zarr", labels)
    image = open_image(path)
    levels = Pixels((image,), 1, 3).levels[:1]
    group = written(Outlines((image,), levels, unit=False, dimensions=3), tmp_path / "served")
    found = level(group, 0)
    for across, bit in enumerate(SECTIONS):
        assert ((found & bit > 0) == outlined(labels, across)).all()
    assert set(np.unique(found >> OPACITY)) == {0, OPAQUE}


def test_values_are_those_of_the_table(viewed: Path, tmp_path: Path) -> None:
    results = open_results(viewed / "volume")
    table = pd.read_csv(viewed / "volume" / "cells.csv")
    column = Cells(viewed / "volume" / "cells.csv", len(table)).column("Volume")
    assert len(table) > 5
    first = results.labels["cells"]
    volume = Values(column.values, first, results.levels, unit=True, dimensions=3)
    found = level(written(volume, tmp_path / "served"), 0)
    labels = first[0].read(Box.whole(results.shape).slices)
    expected = np.concatenate([[NOTHING], table["Volume"]]).astype(np.float32)
    assert (found == expected[labels]).all()


def test_a_label_without_a_row_is_refused(viewed: Path) -> None:
    results = open_results(viewed / "volume")
    values = np.zeros(3, np.float32)
    volume = Values(values, results.labels["cells"], results.levels, unit=True, dimensions=3)
    with pytest.raises(InputError, match="cells that are not in the table"):
        volume.read(0, Box.whole(results.shape))


def test_colors_rise_evenly_and_missing_ones_are_grey() -> None:
    values = np.array([0, 5, 10, 99, MISSING], np.float32)
    found = colors.of_values(values, 0, 10, MISSING)
    assert found == ["#440154", "#21918c", "#fde725", "#fde725", "#8c8c8c"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_missing_values_have_no_number(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"CellID": [1, 2, 3], "Mean": [1.5, np.nan, np.inf], "n": [1, 2, 3]})
    path = tmp_path / f"cells.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    cells = Cells(path, 3)
    assert cells.column("Mean").values.tolist() == [NOTHING, 1.5, MISSING, MISSING]
    inline = json.loads(cells.properties())["inline"]
    assert inline["ids"] == ["1", "2", "3"]
    assert [(one["id"], one["data_type"], one["values"]) for one in inline["properties"]] == [
        ("Mean", "float32", [1.5, "NaN", "NaN"]),
        ("n", "int32", [1, 2, 3]),
    ]


@pytest.mark.parametrize("rows", [[1, 2], [1, 2, 3, 4], [1, 2, 9], [0, 1, 2], [1.0, 2.0, 3.0], []])
def test_a_table_of_other_cells_is_refused(tmp_path: Path, rows: list[float]) -> None:
    path = tmp_path / "cells.csv"
    pd.DataFrame({"CellID": rows, "Volume": rows}).to_csv(path, index=False)
    with pytest.raises(InputError, match="the table of cells cannot be used"):
        Cells(path, 3).column("Volume")


def test_channels_that_are_left_out_are_named(
    viewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "_CHANNELS", 0)
    made = site.make_site(open_results(viewed / "volume"), client="https://example.org")
    assert made.notes == (
        "channel 1 of the image cannot be chosen: besides those that were segmented, 0 are shown",
    )
    names = [layer["name"] for layer in made.state["layers"]]
    assert "DNA" in names and "actin" not in names


def test_an_ome_zarr_is_served_as_it_is_and_others_are_computed(
    viewed: Path, tmp_path: Path
) -> None:
    notes = {}
    for name, parts in (("volume", {"data/image"}), ("plane", {"data/channel1"})):
        made = site.make_site(open_results(viewed / name), client="https://example.org")
        notes[name] = made.notes
        always = {"", "data/cells", "data/outlines", "data/table"}
        assert {*made.parts} == always | parts
    assert notes == {"volume": (), "plane": ()}
    # in shards only where parts of files are served
    array = voxels(4, 32, 32)
    path = write_ome_zarr(tmp_path / "image.zarr", array, voxel_size=(1, 1, 1))
    assert plain_group(open_image(path), True, shards=False)
    zarr.create_array(
        path / "0", data=array, chunks=(2, 16, 16), shards=(4, 32, 32), overwrite=True
    )
    assert plain_group(open_image(path), True, shards=True)
    assert plain_group(open_image(path), True, shards=False) is None
    # a viewer would place it elsewhere than labels in micrometres
    assert plain_group(open_image(path), False, shards=True) is None


@pytest.mark.parametrize("change", ["lz4", "float64", "time", "letters"])
def test_what_the_viewer_cannot_read_is_computed(tmp_path: Path, change: str) -> None:
    axes = {"time": "tzyx", "letters": "zyx"}.get(change, "zyx")
    array = voxels(
        *(2, 3, 20, 24)[-len(axes) :], dtype="float64" if change == "float64" else "uint16"
    )
    path = write_ome_zarr(
        tmp_path / "i.zarr", array, axes=axes, voxel_size=(1, 1, 1), version="0.4"
    )
    chosen = {"time": 2} if change == "time" else {}
    if change in ("lz4", "letters"):
        document = path / ("0/.zarray" if change == "lz4" else ".zattrs")
        about = json.loads(document.read_text())
        if change == "lz4":
            about["compressor"] = {"id": "lz4", "acceleration": 1}
        else:
            for axis in about["multiscales"][0]["axes"]:
                axis["name"] = axis["name"].upper()
        document.write_text(json.dumps(about))
    assert plain_group(open_image(path, **chosen), True, shards=True) is None  # type: ignore[arg-type]


def test_another_voxel_size_than_the_image_has(
    viewed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = segmented(tiny_model, viewed / "volume.zarr", tmp_path / "out", channels=(2,),
                    voxel_size=(4.0, 1.0, 1.0))  # fmt: skip
    made = site.make_site(open_results(out), client="x")
    assert "data/image" not in made.parts
    document = json.loads(made.get("data/channel2/zarr.json") or "")  # type: ignore[arg-type]
    dataset = document["attributes"]["ome"]["multiscales"][0]["datasets"][0]
    cells = json.loads((out / "labels.zarr" / "cells" / "zarr.json").read_text())
    same = cells["attributes"]["ome"]["multiscales"][0]["datasets"][0]
    assert dataset["coordinateTransformations"] == same["coordinateTransformations"]


def test_a_region_begins_in_a_cell(viewed: Path, tmp_path: Path) -> None:
    given = {"mode": "stitch", "channels": (2,), "diameter": 10, "region": "1:6,10:58,20:66"}
    out = segmented(Path("nuclei-small"), viewed / "volume.zarr", tmp_path / "out", **given)
    results = open_results(out)
    made = site.make_site(results, client="x")
    position = made.state["position"][::-1]
    origin, scale = results.levels[0].origin, results.levels[0].scale
    place = [p - o / s for p, o, s in zip(position, origin, scale, strict=True)]
    labels = results.labels["cells"][0].read(Box.whole(results.shape).slices)
    z, y, x = (round(n) for n in place)
    assert labels[z - 1 : z + 2, y - 2 : y + 3, x - 2 : x + 3].any()
    table = pd.read_csv(out / "cells.csv")
    around = table[["Z_centroid", "Y_centroid", "X_centroid"]] - [1, 10, 20]
    assert np.isclose(around, place).all(1).any()


def test_a_folder_has_what_the_server_sends(viewed: Path, tmp_path: Path) -> None:
    for links in (False, True):
        out = tmp_path / f"{links}"
        write_view(viewed / "plane", out, client="https://example.org", links=links)
        made = site.make_site(open_results(viewed / "plane"), client="https://example.org")
        there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
        assert {"index.html", "v/view/index.html", "state.json", "data/table/info"} <= there
        for key in there:
            found = made.get(key)
            assert found is not None, key
            content = found if isinstance(found, bytes) else found.read_bytes()
            assert (out / key).read_bytes() == content
        assert (out / "data" / "cells" / ".zattrs").is_symlink() == links
        with pytest.raises(InputError, match="would be overwritten"):
            write_view(viewed / "plane", out, client="https://example.org")


def test_labels_of_any_web_server_are_in_no_shards(viewed: Path, tmp_path: Path) -> None:
    """The server here sends parts of files, so there they are as they are in the results."""
    results, there = open_results(viewed / "volume"), tmp_path / "site" / "data" / "cells"
    labels = results.folder / "labels.zarr" / "cells"
    write_view(viewed / "volume", tmp_path / "site", client="https://example.org")
    for number, image in enumerate(results.labels["cells"]):
        given = np.asarray(zarr.open_array(labels / str(number), mode="r")[:])
        found = zarr.open_array(there / str(number), mode="r")
        assert given.any() and found.shards is None and found.dtype == given.dtype
        np.testing.assert_array_equal(found[:], given)
        np.testing.assert_array_equal(image.read(Box.whole(image.shape).slices), given)
    assert zarr.open_array(labels / "0", mode="r").shards == (8, 64, 64)
    sent = site.make_site(results, client="https://example.org").get("data/cells/0/zarr.json")
    assert isinstance(sent, Path) and sent.samefile(labels / "0" / "zarr.json")


def test_what_appears_in_a_folder_meanwhile_is_kept(
    viewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match="would be overwritten"):
        write_view(
            *(viewed / "plane", out),
            client="https://example.org",
            progress=lambda *_: (out / "mine").touch(),
        )
    assert [path.name for path in out.iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.chdir(tmp_path)
    for name in (".", "../" + tmp_path.name, str(tmp_path)):
        with pytest.raises(InputError, match="which cannot be replaced"):
            write_view(viewed / "plane", Path(name), client="https://example.org")


def test_a_folder_that_fails_is_not_there(
    viewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(InputError, match="full"):
        write_view(viewed / "volume", tmp_path / "out" / "site", client="x")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("leaves", [True, False])
def test_a_folder_lacks_nothing_behind_links(viewed: Path, tmp_path: Path, leaves: bool) -> None:
    shutil.copytree(viewed / "plane", tmp_path / "results")
    level = tmp_path / "results" / "labels.zarr" / "cells" / "0"
    moved = tmp_path / "moved" if leaves else level / "moved"
    (level / "0").rename(moved)
    (level / "0").symlink_to(moved)
    with pytest.raises(InputError, match="the files cannot be copied"):
        write_view(tmp_path / "results", tmp_path / "out", client="x")
    assert not (tmp_path / "out").exists()


def test_several_samples_and_nothing_are_refused(viewed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the results of several samples; got plane, volume"):
        open_results(viewed)
    with pytest.raises(InputError, match="there are no complete results"):
        open_results(tmp_path)
    with pytest.raises(InputError, match="does not have the shape of these results"):
        open_results(viewed / "volume", str(viewed / "plane.tif"))


def test_columns_that_there_are_not(viewed: Path) -> None:
    results = open_results(viewed / "volume")
    with pytest.raises(InputError, match="did you mean Volume"):
        site.make_site(results, color_by="volumes", client="x")
    made = site.make_site(results, color_by="CellID", client="x")
    assert all("segmentColors" not in layer for layer in made.state["layers"])
