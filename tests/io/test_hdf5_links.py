"""Links of HDF5 files, virtual datasets, filters, files that are being written or are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.checks import assert_refused, same
from tests.hdf5_files import VOLUME, linked, opens_again, whole, write
from tests.io.test_bdv import write as bdv
from tests.io.test_imaris import write as imaris

from terapose.io.images.opening import open_image

# -- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["part.h5", "below/part.h5", "{folder}/below/part.h5", "/elsewhere/of/old/part.h5"]
)
def test_external_links(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    for place in ("part.h5", "below/part.h5"):
        write(tmp_path / place, "s/data")
    link = h5py.ExternalLink(target.format(folder=tmp_path), "/s/data")
    path = linked(tmp_path / "a.h5", raw=link, second=h5py.SoftLink("/raw"))
    whole = linked(tmp_path / "b.h5", all=h5py.ExternalLink("a.h5", "/"))
    for address in (path, path / "raw", path / "second", whole, whole / "all/second"):
        image = open_image(address)
        assert same(image, VOLUME[None])
        assert opens_again(image)


def test_the_identity_is_of_the_linked_files_too(tmp_path: Path) -> None:
    part = write(tmp_path / "part.h5", "data")
    path = linked(tmp_path / "a.h5", raw=h5py.ExternalLink("part.h5", "data"))
    before = open_image(path).identity
    os.utime(part, (1, 1))
    assert open_image(path).identity != before


def test_a_file_that_is_a_symbolic_link_finds_its_parts(tmp_path: Path) -> None:
    write(tmp_path / "data/part.h5", "data")
    linked(tmp_path / "data/a.h5", raw=h5py.ExternalLink("part.h5", "data"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work/a.h5").symlink_to(tmp_path / "data/a.h5")
    assert same(open_image(tmp_path / "work/a.h5"), VOLUME[None])


@pytest.mark.parametrize("way", ["../part.h5", "{folder}/part.h5", "symlink.h5"])
@pytest.mark.parametrize("kind", ["link", "virtual"])
def test_links_may_not_leave_the_folder(tmp_path: Path, way: str, kind: str) -> None:
    write(tmp_path / "part.h5", "data")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/symlink.h5").symlink_to(tmp_path / "part.h5")
    path = tmp_path / "in/a.h5"
    _refer(path, way.format(folder=tmp_path), kind)
    assert_refused("a.h5 leads to a file outside the image's own folder.*part|symlink", path)


@pytest.mark.parametrize("kind", ["link", "virtual"])
def test_targets_that_are_missing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.h5"
    _refer(path, "gone.h5", kind)
    assert_refused("a file .* is missing; got gone.h5, named in a.h5; copy it beside", path)
    write(tmp_path / "gone.h5", "other")
    assert_refused("no such dataset; got data in gone.h5; allowed: other", path)


def _refer(path: Path, target: str, kind: str) -> None:
    if kind == "link":
        linked(path, raw=h5py.ExternalLink(target, "data"))
        return
    layout = h5py.VirtualLayout(VOLUME.shape, VOLUME.dtype)
    layout[:] = h5py.VirtualSource(target, "data", VOLUME.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("raw", layout)


def test_links_that_run_in_a_circle(tmp_path: Path) -> None:
    path = linked(tmp_path / "a.h5", raw=h5py.SoftLink("/more"), more=h5py.SoftLink("/raw"))
    assert_refused("links in the HDF5 file form a cycle", path)
    with h5py.File(path, "a") as file:
        file.create_group("group")["up"] = h5py.SoftLink("/")
        file["group/image"] = VOLUME
    assert same(open_image(path / "group"), VOLUME[None])


def test_broken_links_harm_only_who_asks_for_them(tmp_path: Path) -> None:
    path = write(write(tmp_path / "a.h5", "dapi"), "gfp", VOLUME // 2)
    linked(path, gone=h5py.ExternalLink("gone.h5", "data"))
    assert same(open_image(path, series="2"), VOLUME[None] // 2)
    assert_refused("is missing; got gone.h5", path / "gone")


def test_raw_data_outside_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", (9, 9), "u1", external=[("/etc/hostname", 0, 81)])
    assert_refused("keeps its voxels outside .* got /etc/hostname", tmp_path / "a.h5")


def test_virtual_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume of planes in files of their own, one of them by way of a link."""
    monkeypatch.chdir("/")
    layout = h5py.VirtualLayout(VOLUME.shape, VOLUME.dtype)
    for number, plane in enumerate(VOLUME):
        write(tmp_path / f"planes/{number}.h5", "plane", plane)
        layout[number] = h5py.VirtualSource(f"planes/{number}.h5", "plane", plane.shape)
    linked(tmp_path / "planes/link.h5", plane=h5py.ExternalLink("2.h5", "plane"))
    layout[2] = h5py.VirtualSource("planes/link.h5", "plane", VOLUME.shape[1:])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("virtual", layout)
    image = open_image(tmp_path / "a.h5")
    assert same(image, VOLUME[None])
    assert opens_again(image)
    assert (image.chunks, image.is_lazy) == ((1, 16, 16), True)
    os.utime(tmp_path / "planes/3.h5", (1, 1))
    assert open_image(tmp_path / "a.h5").identity != image.identity
    (tmp_path / "planes/3.h5").unlink()
    assert_refused("is missing; got planes/3.h5", tmp_path / "a.h5")


def test_virtual_datasets_of_numbered_files(tmp_path: Path) -> None:
    for number, plane in enumerate(VOLUME):
        write(tmp_path / f"s_{number}.h5", "plane", plane)
    endless, plane_shape = h5py.h5s.UNLIMITED, VOLUME.shape[1:]
    space = h5py.h5s.create_simple(VOLUME.shape, (endless, *plane_shape))
    space.select_hyperslab((0, 0, 0), (endless, 1, 1), (1, 1, 1), (1, *plane_shape))
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_virtual(space, b"s_%b.h5", b"/plane", h5py.h5s.create_simple(plane_shape))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        all_of_it = h5py.h5s.create_simple(VOLUME.shape, (endless, *plane_shape))
        h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT16, all_of_it, settings)
    image = open_image(tmp_path / "a.h5")
    assert same(image, VOLUME[None])
    assert opens_again(image)
    os.utime(tmp_path / "s_4.h5", (1, 1))
    assert open_image(tmp_path / "a.h5").identity != image.identity


@pytest.mark.parametrize("part", [slice(None), slice(1, 3)])
@pytest.mark.parametrize(
    ("source", "is_read"),
    [
        (VOLUME, True),
        (np.concatenate([VOLUME, VOLUME]), True),
        (VOLUME.astype(np.uint8), True),
        (VOLUME[:2], False),
        (VOLUME[:, :, :30], False),
        (VOLUME[:, :30], False),
        (VOLUME.transpose(0, 2, 1), False),
        (VOLUME[0], False),
        (VOLUME + 0.7, False),
        (VOLUME.astype(np.uint32), False),
        (VOLUME.astype(np.int16), False),
    ],
)
def test_sources_that_do_not_fit(
    tmp_path: Path, source: np.ndarray, is_read: bool, part: slice
) -> None:
    """Zeros were read in the place of what is missing, and numbers that were cut off."""
    expected = VOLUME[part]
    layout = h5py.VirtualLayout(expected.shape, VOLUME.dtype)
    layout[:] = h5py.VirtualSource("part.h5", "data", VOLUME.shape)[part]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    write(tmp_path / "part.h5", "data", source)
    if is_read:
        assert (whole(open_image(tmp_path / "a.h5")) == expected).all()
    else:
        said = "a source of a virtual dataset lacks voxels .*; got part.h5, data: "
        assert_refused(said, tmp_path / "a.h5")


# -- what cannot be read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"), [(32001, "blosc"), (32015, "zstd"), (32004, "lz4"), (999, "unknown")]
)
def test_filters_that_are_not_installed(
    tmp_path: Path, code: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    if code != 999 and h5py.h5z.filter_avail(code):
        pytest.skip("hdf5plugin was imported before")
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 8, 8))
    settings.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (3,))
    with h5py.File(tmp_path / "part.h5", "w") as file:
        space = h5py.h5s.create_simple((4, 8, 8))
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, settings)
    _refer(tmp_path / "virtual.h5", "part.h5", "virtual")
    message = f"filter that is not installed; got {name} .HDF5 filter {code}.; .*hdf5plugin"
    for path in (tmp_path / "part.h5", tmp_path / "virtual.h5"):
        assert_refused(message, path)


def test_filters_of_hdf5plugin(tmp_path: Path) -> None:
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=VOLUME, chunks=(2, 16, 16), **plugin.Zstd())
    assert same(open_image(tmp_path / "a.h5"), VOLUME[None])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "open for writing in another program"),
        ({"libver": "latest"}, "is being written, or was never closed"),
    ],
)
def test_files_that_are_being_written(tmp_path: Path, how: dict[str, str], message: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", **how) as file:
        file["raw"] = VOLUME
    script = (
        f"import h5py; f = h5py.File({str(path)!r}, 'r+', **{how!r});"
        f"{'f.swmr_mode = True;' if how else ''} print(flush=True); input()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as writer:
        assert writer.stdout and writer.stdout.readline() == b"\n"
        assert_refused(message, path)
        writer.communicate(b"\n")
    assert same(open_image(path), VOLUME[None])


def _plain(path: Path) -> Path:
    return write(path, "group/image", VOLUME[:2, :20, :20], axes="ZYX")


@pytest.mark.parametrize("make", [_plain, bdv, imaris])
def test_damaged_bytes_are_told_or_harmless(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """Wherever 64 bytes of the metadata are lost: refused in a sentence, or read."""
    path = make(tmp_path / "whole.h5")
    content = path.read_bytes()
    refused = 0
    for place in range(0, min(len(content), 8192), 128):
        damaged = tmp_path / f"{place}.h5"  # HDF5 shares what it knows of a file that is open
        damaged.write_bytes(content[:place] + b"\xff" * 64 + content[place + 64 :])
        try:
            whole(open_image(damaged))
        except ValueError as error:
            assert type(error).__name__ == "InputError"
            assert "\n" not in str(error), str(error)
            refused += 1
    assert refused > 10


def test_virtual_datasets_in_threads(tmp_path: Path) -> None:
    """One would close the files in which another looks for its chunks."""
    planes = np.random.default_rng(0).integers(0, 60_000, (12, 64, 64)).astype(np.uint16)
    layout = h5py.VirtualLayout(planes.shape, np.uint16)
    for number, plane in enumerate(planes):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file.create_dataset("d", data=plane, chunks=(32, 32), compression="gzip")
        layout[number] = h5py.VirtualSource(f"part{number}.h5", "d", (64, 64))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    image = open_image(tmp_path / "all.h5", axes="ZYX")

    def is_right(number: int) -> bool:
        at = number % len(planes)
        block = image.read((slice(at, at + 1), slice(0, 64), slice(0, 64)))
        return bool((block[0] == planes[at]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_right, range(200)))
