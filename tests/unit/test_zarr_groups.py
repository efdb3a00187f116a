"""Arrays of OME-Zarr images have what their group says; collections say what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zarr
from tests.checks import assert_refused, same
from tests.synthetic import voxels, write_ome_zarr, write_zarr
from tests.unit.test_zips import pack

from terapose.image import describe, open_image

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
