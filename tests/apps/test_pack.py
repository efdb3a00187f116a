"""`terapose pack`: what the challenge finds in the zip file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.command import Terapose
from tests.synthetic import voxels, write_ome_zarr, write_tiff

from terapose.apps.pack import read_manifest, save

HEADER = "crop_name,dataset,class_label,voxel_size,translation,shape\n"
MANIFEST = f"""{HEADER}234,jrc_ctl-id8-1,er,[3.48;4.0;4.0],[20528.52;7904.0;35704.0],[20;24;28]
234,jrc_ctl-id8-1,mito,[13.92;16.0;16.0],[20533.74;7910.0;35710.0],[5;6;7]
"""
FINE = voxels(20, 24, 28, dtype="uint32") + np.uint32(300)


def _manifest(folder: Path, text: str = MANIFEST) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text)
    return path


def _opened(path: Path) -> zarr.Group:
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        assert ".zgroup" in archive.namelist()
        archive.extractall(folder)
    return zarr.open_group(folder, mode="r", zarr_format=2)


def _array(group: zarr.Group, name: str) -> np.ndarray:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return np.asarray(array[...])


def test_ids_attributes_and_voxels(tmp_path: Path, command: Terapose) -> None:
    size, place = (3.48, 4.0, 4.0), (20528.52, 7904.0, 35704.0)
    save(tmp_path / "crop234" / "er.zarr", FINE, size, place)
    # the same label image for a coarser row; it begins earlier and ends before the last voxels
    wider = np.zeros((22, 25, 26), np.uint16)
    wider[2:, 1:] = FINE[:, :, :26]
    early = (place[0] - 2 * size[0], place[1] - size[1], place[2])
    save(tmp_path / "crop234" / "mito.zarr", wider, size, early)
    pattern = f"{tmp_path}/{{crop}}/{{label}}.zarr"
    words = ("pack", _manifest(tmp_path), pattern, tmp_path / "s.zip")
    said = command(*words)
    assert said.code == 0 and "2 of 2" in said.out, said.err
    group = _opened(tmp_path / "s.zip")
    np.testing.assert_array_equal(_array(group, "crop234/er"), FINE)
    # a centre between two voxels takes the later one
    coarse = FINE[2::4, 2::4, 2::4].copy()
    coarse[:, :, -1] = 0
    np.testing.assert_array_equal(_array(group, "crop234/mito"), coarse)
    found = group["crop234/er"]
    assert isinstance(found, zarr.Array) and found.dtype == np.uint32
    assert dict(found.attrs) == {
        "voxel_size": list(size),
        "translation": list(place),
        "shape": [20, 24, 28],
    }
    first = (tmp_path / "s.zip").read_bytes()
    assert "already exists" in command.refuses(*words)
    assert command(*words, "--overwrite").code == 0
    assert (tmp_path / "s.zip").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["crop234", "manifest.csv", "s", "s.zip"]


def test_a_much_finer_label_image_in_nanometres(tmp_path: Path, command: Terapose) -> None:
    labels = voxels(40, 50, 900, dtype="uint8")
    shift = [(0.0, 0.0, 0.0)]
    write_ome_zarr(tmp_path / "a.zarr", labels, voxel_size=(2, 2, 2), unit="nanometer",
                   translations=shift)  # fmt: skip
    text = f"{HEADER}7,d,nuc,[6;6;6],[2;2;2],[13;16;299]\n"
    words = ("pack", _manifest(tmp_path, text), tmp_path / "a.zarr", tmp_path / "s.zip")
    assert command(*words).code == 0
    expected = labels[1::3, 1::3, 1::3][:13, :16, :299]
    np.testing.assert_array_equal(_array(_opened(tmp_path / "s.zip"), "crop7/nuc"), expected)


def test_missing_label_images(tmp_path: Path, command: Terapose) -> None:
    write_tiff(tmp_path / "er.tif", FINE, axes="ZYX")
    words = ("pack", _manifest(tmp_path), f"{tmp_path}/{{label}}.tif", tmp_path / "s.zip")
    assert "1 of 2 label images are missing" in command.refuses(*words)
    assert not (tmp_path / "s.zip").exists()
    said = command(*words, "--skip-missing")
    assert said.code == 0 and "crop234/mito is left out" in said.err
    group = _opened(tmp_path / "s.zip")
    np.testing.assert_array_equal(_array(group, "crop234/er"), FINE)
    assert "crop234/mito" not in group


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, command: Terapose, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiff(tmp_path / "er.tif", FINE, axes="ZYX")
    out = tmp_path / "s.zip"
    monkeypatch.setattr("terapose.apps.pack.Watch.confirm", lambda _: out.write_text("mine"))
    words = ("pack", _manifest(tmp_path), f"{tmp_path}/{{label}}.tif", out, "--skip-missing")
    said = command(*words)
    assert said.code == 2 and "already exists" in said.err and out.read_text() == "mine"


def test_what_does_not_fit(tmp_path: Path, command: Terapose) -> None:
    text = MANIFEST.partition("234,jrc_ctl-id8-1,mito")[0]
    words = ("pack", _manifest(tmp_path, text), tmp_path / "a.zarr", tmp_path / "s.zip")
    write_ome_zarr(tmp_path / "a.zarr", FINE[1:])
    assert "no voxel size" in command.refuses(*words)
    save(tmp_path / "a.zarr", FINE, (4, 4, 4), (0, 0, 0))
    assert "does not overlap" in command.refuses(*words)
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize(
    "text",
    [
        "crop_name,dataset\n1,2\n",
        HEADER,
        f"{HEADER}1,d,er,[1;1],[0;0;0],[2;2;2]\n",
        f"{HEADER}1,d,er,[1;1;1],[0;0;0],[2;2;2.5]\n",
        f"{HEADER}1,d,er,[1;1;1],[0;0;x],[2;2;2]\n",
        f"{HEADER}1,d,../er,[1;1;1],[0;0;0],[2;2;2]\n",
        f"{HEADER}1,d,er,[1;1;nan],[0;0;0],[2;2;2]\n",
        HEADER + 2 * "1,d,er,[1;1;1],[0;0;0],[2;2;2]\n",
    ],
)
def test_manifests_that_are_wrong(tmp_path: Path, command: Terapose, text: str) -> None:
    path = _manifest(tmp_path, text)
    assert str(path) in command.refuses("pack", path, tmp_path / "{label}", tmp_path / "s.zip")


def test_rows(tmp_path: Path) -> None:
    rows = read_manifest(_manifest(tmp_path))
    assert [(row.crop, row.label, row.shape) for row in rows] == [
        ("crop234", "er", (20, 24, 28)),
        ("crop234", "mito", (5, 6, 7)),
    ]
