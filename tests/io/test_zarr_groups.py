"""Arrays of OME-Zarr images have what their group says; collections say what they hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tests.checks import assert_refused, same
from tests.io.test_zips import pack
from tests.synthetic import voxels, write_ome_zarr, write_zarr

from terapose.core.errors import InputError
from terapose.io.images.array_like import open_labels
from terapose.io.images.describe import describe
from terapose.io.images.opening import open_image

VOXEL_SIZE = (2.0, 0.5, 0.25)
LEVELS: dict[str, Any] = {
    "axes": "czyx",
    "voxel_size": VOXEL_SIZE,
    "factors": (1, 2),
    "translations": ((8.0, 4.0, 2.0), (8.0, 4.25, 2.125)),
    "channel_names": ("DNA", "CD3"),
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("where", ["a.zarr", "plate.zarr/A/1/0", "a.zarr/0"])
def test_levels_that_are_named(tmp_path: Path, server: str, where: str, version: Any) -> None:
    array = voxels(2, 5, 34, 48)
    group = write_ome_zarr(tmp_path / where, array, version=version, **LEVELS)
    packed = pack(tmp_path / where.split("/")[0], tmp_path / "b.zip")
    inside = "/".join(where.split("/")[1:])
    for level, factor in enumerate((1, 2)):
        whole = open_image(group, level=level)
        for address in (
            f"{group}/{level}",
            f"{packed}/{inside}/{level}".replace("//", "/"),
            f"{server}/{where}/{level}",
        ):
            image = open_image(address)
            assert image.address == address
            assert same(image, array[..., ::factor, ::factor])
            for name in ("voxel_size", "translation", "channel_names", "level", "levels_shape"):
                assert getattr(image, name) == getattr(whole, name)
            assert f"level {level} of 0 to 1" in describe(image)[1]
            # whoever opens it again with what was chosen has the same image
            again = open_image(image.address, **image.selection.options)
            assert again == image and again.identity == image.identity
    message = "names a level of the image already; got level 1; allowed: level 0"
    assert_refused(message, f"{group}/0", level=1)


def test_levels_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = voxels(2, 5, 34, 48)
    group = write_ome_zarr(tmp_path / "a.zarr", array, **LEVELS)
    (group / "scales").mkdir()
    (group / "1").rename(group / "scales/s1")
    document = (group / "zarr.json").read_text().replace('"path": "1"', '"path": "scales/s1"')
    (group / "zarr.json").write_text(document)
    image = open_image(group / "scales/s1")
    assert (image.level, image.voxel_size) == (1, (2.0, 1.0, 0.5))
    assert same(image, array[..., ::2, ::2])
    monkeypatch.chdir(group)
    assert open_image("0").voxel_size == VOXEL_SIZE


def test_one_of_several_multiscales(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    group = write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=VOXEL_SIZE)
    write_zarr(group / "other", array[:, ::3], dimension_names="zyx")
    document = json.loads((group / "zarr.json").read_text())
    found = document["attributes"]["ome"]["multiscales"]
    found.append(json.loads(json.dumps(found[0])) | {"name": "second"})
    found[1]["datasets"] = [
        {"path": "other", "coordinateTransformations": [{"type": "scale", "scale": [2, 9, 3]}]}
    ]
    (group / "zarr.json").write_text(json.dumps(document))
    assert_refused(r"several multiscale images; got a, second; .*a\.zarr/0", group)
    assert same(open_image(group / "0"), array[None])
    assert same(open_image(group / "other"), array[None, :, ::3])
    assert open_image(group / "other").voxel_size == (2.0, 9.0, 3.0)


def test_arrays_by_themselves(tmp_path: Path, server: str) -> None:
    """Of no image, or beside the levels of one."""
    array = voxels(5, 33, 47)
    group = write_ome_zarr(tmp_path / "a.zarr", array, voxel_size=VOXEL_SIZE)
    write_zarr(group / "beside", array, dimension_names="zyx")
    write_zarr(tmp_path / "b.zarr", array, dimension_names="zyx")
    for address in (group / "beside", tmp_path / "b.zarr", f"{server}/b.zarr"):
        image = open_image(address)
        assert (image.format, image.voxel_size) == ("zarr", None)
        assert same(image, array[None])


@pytest.mark.parametrize("version", [2, 3])
def test_collections_say_what_can_be_named(tmp_path: Path, version: Any) -> None:
    def group(path: str, **content: Any) -> str:
        attributes = {"ome": content} if version == 3 else content
        zarr.create_group(str(tmp_path / path), zarr_format=version, attributes=attributes)
        return str(tmp_path / path)

    wells = [{"path": f"{row}/{column}"} for row in "ABC" for column in range(1, 7)]
    plate = group("p.zarr", plate={"wells": wells})
    message = r"a plate group.*; got wells A/1, A/2, .*, B/6 and 6 more; .*p\.zarr/A/1/0"
    assert_refused(message, plate)
    well = group("p.zarr/A/1", well={"images": [{"path": "3"}, {"path": "4"}]})
    message = r"got wells A/1, .* and 6 more, with fields 3, 4 in A/1; .*p\.zarr/A/1/3"
    assert_refused(message, plate)
    assert_refused(r"a well group.*; got fields 3, 4; .*p\.zarr/A/1/3", well)
    labels = group("l.zarr", labels=["cells", "nuclei"])
    assert_refused(r"a labels group.*; got cells, nuclei; .*l\.zarr/cells", labels)
    assert_refused(r"no image metadata \(multiscales\); name one array", group("g.zarr"))


ANYTHING: tuple[Any, ...] = (None, 5, -1.5, "a", [], {}, [None], ["x"], [1, 2], {"a": 1})


def _places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON document."""
    if above:
        yield above
    inside = enumerate(node) if isinstance(node, list) else ()
    for key, value in node.items() if isinstance(node, dict) else inside:
        yield from _places(value, (*above, key))


def _replaced(document: Any, place: tuple[Any, ...], value: Any) -> str:
    changed = copy.deepcopy(document)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return json.dumps(changed)


def _documents(folder: Path) -> dict[str, Path]:
    """Images and collections, and the documents that say what they are."""
    array = np.zeros((2, 3, 8, 9), np.uint16)
    common: dict[str, Any] = {"axes": "czyx", "channel_names": ("a", "b"), "factors": (1, 2)}
    old = write_ome_zarr(folder / "old.zarr", array, version="0.4", **common)
    new = write_ome_zarr(folder / "new.zarr", array, version="0.5", **common)
    series = folder / "series.zarr"
    write_ome_zarr(series / "0", array[0], version="0.4")
    (series / "OME").mkdir()
    (series / ".zgroup").write_text('{"zarr_format": 2}')
    (series / ".zattrs").write_text('{"bioformats2raw.layout": 3, "series": ["0"]}')
    plate = folder / "plate.zarr"
    write_ome_zarr(plate / "A/1/0", array[0], version="0.4")
    (plate / ".zgroup").write_text('{"zarr_format": 2}')
    (plate / ".zattrs").write_text('{"plate": {"wells": [{"path": "A/1"}]}}')
    (plate / "A/1/.zgroup").write_text('{"zarr_format": 2}')
    (plate / "A/1/.zattrs").write_text('{"well": {"images": [{"path": "0"}]}}')
    labels = folder / "labels.zarr"
    write_ome_zarr(labels / "cells", array[0], version="0.4")
    (labels / ".zgroup").write_text('{"zarr_format": 2}')
    (labels / ".zattrs").write_text('{"labels": ["cells"]}')
    return {
        "old": old / ".zattrs",
        "new": new / "zarr.json",
        "series": series / ".zattrs",
        "plate": plate / ".zattrs",
        "plate/A/1": plate / "A/1/.zattrs",
        "labels": labels / ".zattrs",
    }


@pytest.mark.parametrize("kind", ["old", "new", "series", "plate", "plate/A/1", "labels"])
def test_anything_in_the_metadata(tmp_path: Path, kind: str) -> None:
    """It is read or refused in one sentence, whatever stands where something else should."""
    document = _documents(tmp_path)[kind]
    content = json.loads(document.read_text())
    refused = 0
    for place in _places(content):
        for value in ANYTHING:
            document.write_text(_replaced(content, place, value))
            for address in (document.parent, document.parent / "0", tmp_path / "plate.zarr"):
                for opens in (open_image, open_labels):
                    try:
                        assert opens(address).shape
                    except InputError as error:
                        refused += 1
                        assert "\n" not in str(error)
    assert refused


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale"), [None] * 4),
        (("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale"), ["a"] * 4),
        (("multiscales", 0, "datasets", 0, "coordinateTransformations"), ["x"]),
        (("omero",), [1]),
        (("omero", "channels"), [None]),
    ],
)
def test_metadata_that_is_of_another_form(tmp_path: Path, place: Any, value: Any) -> None:
    document = _documents(tmp_path)["old"]
    content = json.loads(document.read_text())
    document.write_text(_replaced(content, place, value))
    assert_refused(f"the {place[0]} metadata cannot be understood; got .*damaged", document.parent)
    document.write_text(_replaced(content, ("omero", "channels", 1, "label"), 5))
    assert open_image(document.parent).channel_names == ("a", "5")


NAMED = [
    (("channel", "y", "x"), "CYX"),
    (("time", "y", "x"), "TYX"),
    (("z", "row", "column"), "ZYX"),
    (("slice", "height", "width"), "ZYX"),
    (("dim_0", "y", "x"), "QYX"),
    ((None, "y", "x"), "QYX"),
    (("dim_0", "dim_1", "dim_2"), "QYX"),
    (("position", "y", "x"), None),
    (("wavelength", "y", "x"), None),
    (("batch", "y", "x"), None),
]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("names", "axes"), NAMED)
def test_names_of_axes(
    tmp_path: Path, names: tuple[str | None, ...], axes: str | None, version: int
) -> None:
    """What a plain array calls its axes is believed, and an axis of another name is no Z."""
    path = tmp_path / "plain.zarr"
    words: dict[str, Any] = {"zarr_format": version}
    if version == 3:
        words["dimension_names"] = names
    array = zarr.create_array(path, shape=(4, 64, 64), dtype="u2", **words)
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    if axes is None:
        with pytest.raises(InputError, match="give them with the parameter axes"):
            open_image(path)
    elif axes == "TYX":
        assert open_image(path, time=2).layout.found == axes
    else:
        assert open_image(path).layout.found == axes
    assert open_image(path, axes="ZYX").shape == (4, 64, 64)


def test_a_chunk_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "linked.zarr"
    array = zarr.create_array(path, shape=(4, 64, 64), chunks=(2, 32, 32), dtype="u2")
    array[:] = 7
    chunk = path / "c" / "0" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to("/nowhere/chunk")
    with pytest.raises(
        InputError, match=r"c/0/0/0: a file of the image is a link .*/nowhere/chunk"
    ):
        assert open_image(path).identity
