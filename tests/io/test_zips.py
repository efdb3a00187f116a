"""OME-Zarr in a ZIP archive is read in place, as the folder that was packed."""

from __future__ import annotations

import os
import pickle
import zipfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from tests.checks import REGION, assert_refused, same
from tests.command import Terapose
from tests.synthetic import voxels, write_ome_zarr, write_zarr

from terapose.core.errors import InputError
from terapose.io.images.array_like import open_labels
from terapose.io.images.opening import open_image
from terapose.io.images.zips import Archive

VOXEL_SIZE = (2.0, 0.5, 0.25)
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]


def pack(folder: Path, archive: Path, *, method: int = zipfile.ZIP_STORED, top: str = "") -> Path:
    """Pack all files of a folder, in a folder of the archive if that is named."""
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, Path(top) / path.relative_to(folder))
    return archive


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("top", ["", "a.zarr", "deep/er/a.zarr"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_packed_as_the_folder(tmp_path: Path, version: Any, top: str, method: int) -> None:
    array = voxels(2, 5, 33, 47)
    options: dict[str, Any] = {"axes": "czyx", "voxel_size": VOXEL_SIZE, "factors": (1, 2)}
    options |= {"version": version, "chunks": (1, 2, 16, 16), "channel_names": ("DNA", "CD3")}
    folder = write_ome_zarr(tmp_path / "a.zarr", array, **options)
    path = pack(folder, tmp_path / "a.zarr.zip", method=method, top=top)
    image = open_image(path)
    assert same(image, array)
    plain = open_image(folder)
    for name in ("format", "channel_names", "voxel_size", "levels_shape", "chunks", "is_lazy"):
        assert getattr(image, name) == getattr(plain, name)
    assert same(open_image(path, level=1), array[..., ::2, ::2])
    assert same(open_image(f"{path}/0"), array)


def test_ozx_as_rfc_9_has_it(tmp_path: Path) -> None:
    """Written by zarr's own store: members are stored, shards are read by their inner chunks."""
    array = voxels(8, 64, 64)
    folder = write_ome_zarr(tmp_path / "a.zarr", array)
    document = (folder / "zarr.json").read_bytes()
    path = tmp_path / "a.ozx"
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        options: dict[str, Any] = {"shape": array.shape, "dtype": "uint16", "chunks": (2, 16, 16)}
        made = zarr.create_array(store, name="0", shards=(8, 32, 32), compressors=None, **options)
        made[:] = array
    (tmp_path / "a.zip").rename(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("zarr.json", document)
        file.comment = b'{"ome": {"version": "0.5", "zipFile": {"centralDirectory": {}}}}'
    assert same(open_image(path), array[None])
    # a chunk that is not wanted may be anything: it is not read
    wanted, other = (array[0:2, 0:16, 0:16].tobytes(), array[0:2, 0:16, 16:32].tobytes())
    content = path.read_bytes()
    assert content.count(wanted) == content.count(other) == 1
    path.write_bytes(content.replace(other, b"\xff" * len(other)))
    block = open_image(path).read((slice(0, 2), slice(0, 16), slice(0, 16)))
    np.testing.assert_array_equal(block, array[0:2, 0:16, 0:16])


def test_members_are_named_by_the_address(tmp_path: Path) -> None:
    arrays = [voxels(5, 33, 47), voxels(4, 40, 36)]
    plate = tmp_path / "p.zarr"
    zarr.create_group(str(plate), zarr_format=3, attributes={"ome": {"plate": {}}})
    for name, array in zip(("A/1/0", "B/2/0"), arrays, strict=True):
        write_ome_zarr(plate / name, array)
    write_zarr(plate / "B/2/0/labels/cells", arrays[1] // 2, dimension_names="zyx")
    path = pack(plate, tmp_path / "p.zarr.zip", method=zipfile.ZIP_DEFLATED)
    for name, array in zip(("A/1/0", "B/2/0"), arrays, strict=True):
        image = open_image(f"{path}/{name}")
        assert image.address == f"{path}/{name}"
        assert same(image, array[None])
    assert same(open_labels(f"{path}/B/2/0/labels/cells").image, arrays[1][None] // 2)
    assert_refused(r"p\.zarr\.zip: this is a plate group", path)
    message = r"zip/C: the ZIP archive holds nothing of this name; .*, as in \S+p\.zarr\.zip/0"
    assert_refused(message, f"{path}/C")


def test_several_in_one_archive(tmp_path: Path) -> None:
    arrays = {"a.zarr": voxels(5, 33, 47), "data/b.zarr": voxels(4, 40, 36)}
    for name, array in arrays.items():
        write_ome_zarr(tmp_path / "in" / name, array)
    path = pack(tmp_path / "in", tmp_path / "both.zip")
    for name, array in arrays.items():
        assert same(open_image(f"{path}/{name}"), array[None])
    message = r"holds several Zarr hierarchies; got a\.zarr, data/b\.zarr; .*both\.zip/a\.zarr"
    assert_refused(message, path)


@pytest.mark.parametrize("suffix", [".zarr.zip", ".ozx", ".OZX"])
def test_on_a_server(tmp_path: Path, server: str, suffix: str) -> None:
    array = voxels(5, 33, 47)
    folder = write_ome_zarr(tmp_path / "a.zarr", array, chunks=(2, 16, 16))
    pack(folder, tmp_path / f"a{suffix}", top="a.zarr")
    image = open_image(f"{server}/a{suffix}")
    assert same(image, array[None]) and len(image.identity) == 64
    assert same(open_image(f"{server}/a{suffix}/0"), array[None])
    assert_refused("there is no such file", f"{server}/b{suffix}")


def test_each_process_reads_for_itself(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    folder = write_ome_zarr(tmp_path / "a.zarr", array, chunks=(1, 8, 8))
    image = open_image(pack(folder, tmp_path / "a.ozx"))
    assert same(image, array[None])
    assert same(pickle.loads(pickle.dumps(image)), array[None])
    with get_context("fork").Pool(4) as pool:
        for block in pool.map(image.read, [REGION] * 20):
            np.testing.assert_array_equal(block, array[REGION])


def test_identity(tmp_path: Path) -> None:
    """The archive and the image in it; an archive that is written again is read again."""
    for name in ("a", "b"):
        write_ome_zarr(tmp_path / "in" / name, voxels(5, 33, 47))
    path = pack(tmp_path / "in", tmp_path / "both.zip")
    images = [open_image(f"{path}/{name}").identity for name in ("a", "b", "a")]
    assert images[0] == images[2] != images[1]
    array = voxels(6, 20, 20)
    pack(write_ome_zarr(tmp_path / "c", array), path, top="a")
    os.utime(path, ns=(0, 2**62))
    image = open_image(f"{path}/a")
    assert same(image, array[None]) and image.identity not in images


def test_damage_is_noticed(tmp_path: Path) -> None:
    array = voxels(5, 33, 47)
    folder = write_ome_zarr(tmp_path / "a.zarr", array)
    chunk = (folder / "0/c/0/0/0").read_bytes()
    for method in METHODS:
        path = pack(folder, tmp_path / f"{method}.zip", method=method)
        content = bytearray(path.read_bytes())
        middle = Archive(str(path)).members["0/c/0/0/0"].header + 200
        content[middle] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read.*(checksum|[Ee]rror).*damaged"):
            open_image(path).read((slice(0, 5), slice(0, 33), slice(0, 47)))
        path.write_bytes(content[: len(content) // 2])
        assert_refused("the ZIP archive cannot be read; got BadZipFile", path)
    assert len(chunk) > 200


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_ome_zarr(tmp_path / "a.zarr", voxels(5, 33, 47))
    path = pack(folder, tmp_path / "a.zip", method=zipfile.ZIP_LZMA)
    assert_refused("zarr.json: a member .* cannot be unpacked; got compression lzma", path)
    path = pack(folder, tmp_path / "b.zip")
    content = path.read_bytes()
    # the flag of encryption, in the directory
    path.write_bytes(
        content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    )
    assert_refused("cannot be unpacked; got encryption", path)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as file:
        file.writestr("planes/img_1.tif", b"II*\0")
    assert_refused("the ZIP archive holds no Zarr; got planes; .*unpack", tmp_path / "c.zip")
    with zipfile.ZipFile(tmp_path / "d.zip", "w"):
        pass
    assert_refused("the ZIP archive holds no Zarr; got nothing", tmp_path / "d.zip")


def test_segmented_as_the_folder(
    tmp_path: Path, tiny_model: Path, monkeypatch: Any, capsys: Any
) -> None:
    terapose = Terapose(monkeypatch, capsys)
    folder = write_ome_zarr(tmp_path / "a.zarr", voxels(4, 30, 30), chunks=(2, 16, 16))
    path = pack(folder, tmp_path / "a.ozx")
    options = ("--model", tiny_model, "--diameter", 30, "--jobs", 2, "--cellprob-threshold", -9)
    for name in (folder, path):
        assert terapose("segment", name, tmp_path / f"{name.suffix}", *options).code == 0
    tables = [(tmp_path / suffix / "cells.csv").read_text() for suffix in (".zarr", ".ozx")]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) > 2
