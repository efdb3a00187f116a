"""Zarr whose scales, chunks or names are not as they should be is read as what is known of it."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zarr
from tests.checks import assert_refused
from tests.command import Terapose
from tests.synthetic import voxels, write_ome_zarr, write_zarr

from terapose.io.images.opening import open_image

ARRAY = voxels(5, 33, 47)
SCALE = {"type": "scale", "scale": [2.0, 0.5, 0.25]}
PLACE = {"type": "translation", "translation": [1.0, 2.0, 3.0]}


def _write(path: Path, level: list[Any] | None, shared: list[Any] | None = None) -> Path:
    """An image with units, whose level, and all of it, have these transformations."""
    write_ome_zarr(path, ARRAY, version="0.4", voxel_size=(2, 0.5, 0.25))
    document = json.loads((path / ".zattrs").read_text())
    (multiscale,) = document["multiscales"]
    for holder, given in ((multiscale, shared), (multiscale["datasets"][0], level)):
        holder.pop("coordinateTransformations", None)
        if given is not None:
            holder["coordinateTransformations"] = given
    (path / ".zattrs").write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        [{"type": "affine", "affine": [[1.0] * 4] * 3}],
        [{"type": "rotation", "rotation": [1.0]}, SCALE],
        [{"type": "sequence", "transformations": [SCALE]}],
        [SCALE, {"type": "mapAxis", "mapAxis": [0, 1, 2]}],
        [{"type": "scale", "path": "scales"}],
        [{"type": "scale", "scale": [2.0, math.nan, 0.25]}],
        [{"type": "scale", "scale": [2.0, math.inf, 0.25]}],
        [SCALE, {"type": "translation", "translation": [0.0, math.nan, 0.0]}],
        [{"type": "scale", "scale": [1e300] * 3}, {"type": "scale", "scale": [1e300] * 3}],
        [{}],
    ],
)
def test_transformations_that_are_not_known(
    tmp_path: Path, given: list[Any], is_shared: bool
) -> None:
    """They were left out: voxels of 1 x 1 x 1 um, or places that are no numbers."""
    image = open_image(
        _write(tmp_path / "a.zarr", [SCALE] if is_shared else given, given if is_shared else None)
    )
    assert (image.voxel_size, image.translation) == (None, None)


@pytest.mark.parametrize("level", [None, [], [{"type": "identity"}], [PLACE]])
def test_no_scale_is_no_voxel_size(tmp_path: Path, level: list[Any] | None) -> None:
    assert open_image(_write(tmp_path / "a.zarr", level)).voxel_size is None
    shared = [{"type": "identity"}, SCALE]
    assert open_image(_write(tmp_path / "b.zarr", level, shared)).voxel_size == (2, 0.5, 0.25)
    assert open_image(_write(tmp_path / "c.zarr", [*(level or []), SCALE])).voxel_size == (
        2,
        0.5,
        0.25,
    )


@pytest.mark.parametrize(("written", "said"), [("/", None), ("/", "."), (".", "/")])
def test_chunks_of_other_names(tmp_path: Path, written: Any, said: str | None) -> None:
    """None of them was found: the image was read as zeros."""
    path = write_ome_zarr(tmp_path / "a.zarr", ARRAY, version="0.4")
    zarr.create_array(
        str(path / "0"),
        data=ARRAY,
        chunks=(2, 16, 16),
        zarr_format=2,
        chunk_key_encoding={"name": "v2", "separator": written},
        overwrite=True,
    )
    assert open_image(path).read((slice(1, 2), slice(5, 6), slice(7, 8)))[0, 0, 0] == ARRAY[1, 5, 7]
    document = json.loads((path / "0/.zarray").read_text())
    document["dimension_separator"] = said
    if said is None:
        del document["dimension_separator"]
    (path / "0/.zarray").write_text(json.dumps(document))
    message = f'are not named as its metadata says; .* "dimension_separator": "{written}" into'
    for address in (path, path / "0"):
        assert_refused(message, address)


def test_an_array_without_chunks_is_zeros(tmp_path: Path) -> None:
    for separator in ("/", "."):
        path = tmp_path / f"{ord(separator)}.zarr"
        zarr.create_array(
            str(path),
            shape=(5, 33, 47),
            chunks=(2, 16, 16),
            dtype="uint16",
            zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": separator},
        )
        assert not open_image(path).read((slice(0, 5), slice(0, 33), slice(0, 47))).any()


def test_an_image_without_levels(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ARRAY, version="0.4")
    document = json.loads((path / ".zattrs").read_text())
    document["multiscales"][0]["datasets"] = []
    (path / ".zattrs").write_text(json.dumps(document))
    assert_refused("the multiscales metadata names no array", path)


@pytest.mark.parametrize("name", ["", ".", "./", "//.", "a\0b", "loop"])
def test_names_that_lead_nowhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    """They ended in a traceback, that of the group itself without end."""
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "loop").symlink_to(".")
    (path / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    terapose = Terapose(monkeypatch, capsys)
    for document in (
        {"bioformats2raw.layout": 3, "series": [name]},
        {"multiscales": [{"axes": ["z", "y", "x"], "datasets": [{"path": name}]}]},
    ):
        (path / ".zattrs").write_text(json.dumps(document))
        assert "lead to an array outside the image's own folder" in terapose.refuses("check", path)


@pytest.mark.parametrize("fault", ["name", "start"])
def test_members_of_an_archive_that_are_none(tmp_path: Path, fault: str) -> None:
    folder = write_zarr(tmp_path / "a.zarr", ARRAY)
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"")
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    if fault == "name":  # of no length, its byte is left as a comment
        content[entry + 28 : entry + 34] = b"\0\0\0\0\1\0"
    else:
        content[entry + 42 : entry + 46] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    if fault == "name":
        assert open_image(path).shape == (5, 33, 47)
    else:
        assert_refused("the ZIP archive cannot be read; got ValueError: members that start", path)
