"""An image that another one takes the place of, while a run reads it, never gives a result."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from tests.synthetic import write_ome_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.identity import compare, table_of
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.handover import Handed
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.results.publishing import of_tree
from terapose.results.thumbnails import cut as cut_module
from terapose.results.thumbnails.cut import cut_cells
from terapose.stages import plan as plan_stage
from terapose.stages.check import run as check_run

SHAPE = (8, 24, 26)
CHANGED = "the image has changed since the run was planned"


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50_000, shape).astype(np.uint16)


def write(path: Path, seed: int, kind: str) -> Path:
    """An image of a size on disk that does not depend on its values, where the format can do it."""
    if kind == "zarr":
        array = noise(seed)
        zarr.create_array(path, data=array, chunks=(4, 12, 13), compressors=None)
    elif kind == "tiff":
        tifffile.imwrite(path, noise(seed), metadata={"axes": "ZYX"})
    elif kind == "strips":
        array = noise(seed)
        tifffile.imwrite(path, array, metadata={"axes": "ZYX"}, compression="zlib", rowsperstrip=8)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["raw"] = noise(seed)
    elif kind == "stack":
        path.mkdir()
        for number, plane in enumerate(noise(seed)):
            tifffile.imwrite(path / f"{number}.tif", plane)
    return path


def swap(path: Path, other: Path) -> None:
    """Put the other image in the place of an image, with the same times."""
    before = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    times = {p.relative_to(path): p.stat().st_mtime_ns for p in before}
    path.rename(path.with_name("old"))
    (shutil.copytree if other.is_dir() else shutil.copyfile)(other, path)
    for name, time in times.items():
        os.utime(path / name if str(name) != "." else path, ns=(time, time))


class Swapper:
    """Swaps an image once, at one place of a run.

    Parameters
    ----------
    place
        "planned", "before STAGE", or "in STAGE": after its second read (of
        ``convert`` its only one).
    """

    def __init__(self, place: str, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
        self.when, self.stage = place.split()[0], place.split()[-1]
        self.now, self.reads, self.done = "", 0, False
        self.act = act
        read, run = Image.read, plan_stage.run

        def reading(image: Image, *given: Any) -> np.ndarray:
            values = read(image, *given)
            self.reads += self.now == self.stage
            if self.when == "in" and self.reads == (1 if self.stage == "convert" else 2):
                self.once()
            return values

        def planning(*given: Any) -> None:
            run(*given)
            if self.when == "planned":
                self.once()

        patch.setattr(Image, "read", reading)
        patch.setattr(plan_stage, "run", planning)

    def once(self) -> None:
        if not self.done:
            self.done = True
            self.act()

    def report(self, stage: str, done: int, total: int) -> None:
        self.now = stage
        if self.when == "before" and stage == self.stage:
            self.once()


def labels(out: Path) -> dict[str, bytes]:
    files = sorted((out / "labels.zarr").rglob("*"))
    return {str(p.relative_to(out)): p.read_bytes() for p in files if p.is_file()}


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("zarr", "planned"),
        ("zarr", "in intensities"),
        ("zarr", "before gradients-zx"),
        ("zarr", "in gradients-zx"),
        ("zarr", "in measure"),
        ("tiff", "in gradients-zy"),
        ("hdf5", "in gradients-yx"),
        ("strips", "in convert"),
        ("stack", "in convert"),
    ],
)
def test_swapped_while_it_is_read(
    kind: str, place: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"block_shape": (4, 12, 13), "slab_planes": 4, "max_tasks": 2}
    params = check(
        {"model": str(tiny_model), "diameter": 30, "stack": kind == "stack", "min_size": 0, **more}
    )
    image, other = write(tmp_path / "a", 0, kind), write(tmp_path / "b", 1, kind)
    with monkeypatch.context() as patch:
        swapper = Swapper(place, lambda: swap(image, other), patch)
        with pytest.raises(InputError, match=CHANGED) as caught:
            segment_file(str(image), tmp_path / "out", params, report=swapper.report)
        assert swapper.done and "run again" in str(caught.value)
    assert not (tmp_path / "out" / "labels.zarr").exists()
    if kind != "zarr":
        return
    # what is left of the image before has no part in it
    segment_file(str(image), tmp_path / "out", params)
    segment_file(str(image), tmp_path / "alone", params)
    assert labels(tmp_path / "out") == labels(tmp_path / "alone") != {}


def test_swapped_while_thumbnails_are_cut(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come before the record, which has their checksum."""
    params = {"model": str(tiny_model), "thumbnails": 8, "mode": "2d", "measure": "shape"}
    image, other = write(tmp_path / "a", 0, "zarr"), write(tmp_path / "b", 1, "zarr")
    out = tmp_path / "out"
    record = segment_file(str(image), out, check(params))
    assert record["checksums"]["thumbnails.zarr"] == of_tree(out / "thumbnails.zarr")
    shutil.rmtree(out)

    def cut(*given: Any, **more: Any) -> None:
        cut_cells(*given, **more)
        swap(image, other)

    monkeypatch.setattr(cut_module, "cut_cells", cut)
    with pytest.raises(InputError, match=CHANGED):
        segment_file(str(image), out, check(params))
    assert not (out / "provenance.json").exists() and not (out / "thumbnails.zarr").exists()


@pytest.mark.parametrize("which", ["image", "labels"])
def test_swapped_while_thumbnails_are_cut_alone(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, other = write(tmp_path / "a", 0, "zarr"), write(tmp_path / "b", 1, "zarr")
    labels = np.zeros(SHAPE, np.uint32)
    labels[2:5, 3:9, 4:9] = 1
    zarr.create_array(tmp_path / "l", data=labels, chunks=(4, 12, 13), compressors=None)
    table = pd.DataFrame({"CellID": [1], "X_centroid": [6], "Y_centroid": [6], "Z_centroid": [3]})
    given = (str(image), str(tmp_path / "l"), table, str(tmp_path / "cut.zarr"))
    cut_cells(*given, overwrite=True)

    def sweep(*arguments: Any) -> None:
        run(*arguments)
        swap(image if which == "image" else tmp_path / "l", other)

    run = cut_module._sweep
    monkeypatch.setattr(cut_module, "_sweep", sweep)
    before = of_tree(tmp_path / "cut.zarr")
    with pytest.raises(
        InputError, match="the image has changed since it was opened; got files that differ"
    ):
        cut_cells(*given, overwrite=True)
    assert of_tree(tmp_path / "cut.zarr") == before


@pytest.mark.parametrize("kind", ["zarr", "tiff", "hdf5", "stack"])
def test_content_in_place_of_times(kind: str, tmp_path: Path) -> None:
    """Touched or copied it is the same image; changed behind its time it is another one."""
    path = write(tmp_path / "a", 0, kind)
    files = [p for p in [path, *path.rglob("*")] if p.is_file()]
    before = identities(path, kind)
    for file in files:
        os.utime(file, ns=(0, 10**18))
    assert identities(path, kind)[0] != before[0] and identities(path, kind)[1] == before[1]
    there = tmp_path / "elsewhere" / path.name
    there.parent.mkdir()
    (shutil.copytree if path.is_dir() else shutil.copyfile)(path, there)
    assert identities(there, kind)[1] == before[1]
    file, stat = files[-1], files[-1].stat()
    known = identities(path, kind)
    behind(file)
    assert file.stat().st_mtime_ns == stat.st_mtime_ns and file.stat().st_ino == stat.st_ino
    found = identities(path, kind, afresh=True)
    assert found[0] == known[0] and found[1] != known[1]


def identities(path: Path, kind: str, *, afresh: bool = False) -> tuple[str, str]:
    """By the states of its files, and by what they hold."""
    known = open_image(path, stack=kind == "stack").find_identity()
    return known.digest, known.by_content(afresh=afresh).digest


def behind(file: Path) -> None:
    """Change a byte of a file in place, with its times as they were."""
    stat = file.stat()
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last[0] ^ 1]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("act", ["touched", "changed"])
def test_content_during_a_run(
    act: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A touched image is read on; of one changed behind its times there is no result."""
    params = {"model": str(tiny_model), "mode": "2d", "measure": "shape", "identity": "content"}
    image, out = write(tmp_path / "a", 0, "zarr"), tmp_path / "out"
    file = image / "c/0/0/0"
    change = partial(os.utime, file, ns=(0, 10**18)) if act == "touched" else partial(behind, file)
    with monkeypatch.context() as patch:
        swapper = Swapper("before gradients-yx", change, patch)
        run = partial(segment_file, str(image), out, check(params), report=swapper.report)
        if act == "touched":
            assert run()["image"]["identified_by"] == "content"
        else:
            with pytest.raises(InputError, match=CHANGED):
                run()
        assert swapper.done
    assert (out / "provenance.json").exists() == (act == "touched")


@pytest.mark.parametrize("network", ["a file", "https://example.org/network.pth"])
def test_what_check_saw_is_what_plan_takes(tmp_path: Path, tiny_model: Path, network: str) -> None:
    """What is handed on is of one image: another one in its place is refused."""
    image, other = write(tmp_path / "a b", 0, "tiff"), write(tmp_path / "b", 1, "tiff")
    mask = tmp_path / "mask it's.tif"
    tifffile.imwrite(mask, np.ones(SHAPE, np.uint8), metadata={"axes": "ZYX"})
    model = str(tiny_model) if network == "a file" else network
    given = {"model": model, "diameter": 17, "region": str(mask), "max_tasks": 3}
    params = check(given)
    names, values = (
        line.split("\t") for line in check_run("s", str(image), params, None).lines.splitlines()
    )
    handed = Handed.read(dict(zip(names, values, strict=True))["plan"])
    # the network's file is there by now, whatever it was given as
    assert isinstance(handed.work, Plan) == (network == "a file")
    known = make_plan(open_checked(str(image), params), identify(tiny_model), params)
    stores = (Store(str(tmp_path / f"store-{n}")) for n in itertools.count())

    def plan() -> Plan:
        made = handed.plan(tiny_model)
        plan_stage.run(made, next(stores))
        return made

    assert plan() == known
    swap(image, other)
    with pytest.raises(InputError, match=CHANGED):
        plan()
    image.unlink()
    (tmp_path / "old").rename(image)
    assert plan() == known
    os.utime(mask, ns=(0, 1))
    with pytest.raises(InputError, match=f"{CHANGED}|the mask has changed"):
        plan()


def test_upscale_is_no_other_image(tmp_path: Path, tiny_model: Path) -> None:
    """Results at level 0 are of the same plan: what was computed at a coarser level stays."""
    path = write_ome_zarr(tmp_path / "a.zarr", noise(0)[0], axes="yx", factors=(1, 2))
    rows = []
    for upscale in (False, True):
        params = check({"model": str(tiny_model), "level": 1, "diameter": 6, "upscale": upscale})
        names, values = check_run("s", str(path), params, None).lines.splitlines()
        rows.append(dict(zip(names.split("\t"), values.split("\t"), strict=True)))
    assert {k for k in rows[0] if rows[0][k] != rows[1][k]} == {"relabel", "whole"}


def known(image: Image) -> dict[str, np.ndarray]:
    return table_of(image.find_identity())


def test_single_chunks(tmp_path: Path) -> None:
    """Of many chunks those count that were read, and those that are not there."""
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=SHAPE, chunks=(4, 12, 13), dtype="uint16")
    array[:4] = noise(0)[:4]
    table = known(open_image(path))
    upper, lower = ((slice(a, a + 4), slice(0, 12), slice(0, 13)) for a in (0, 4))
    os.utime(path / "c/0/1/1", ns=(0, 1))
    image = open_image(path)
    image.read(upper)
    image.read(lower)
    compare("a", image.files_read(), table)
    image.read((slice(0, 4), slice(0, 24), slice(0, 26)))
    with pytest.raises(InputError, match=rf"{CHANGED}; got files that differ: .*c/0/1/1; run"):
        compare("a", image.files_read(), table)
    array[4:, :12, :13] = 1
    image = open_image(path)
    image.read(lower)
    with pytest.raises(InputError, match=CHANGED):
        compare("a", image.files_read(), table)
    (path / "c/0/0/0").unlink()
    image = open_image(path)
    image.read(upper)
    with pytest.raises(InputError, match=CHANGED):
        compare("a", image.files_read(), table)


@pytest.mark.parametrize("change", ["size", "time", "inode"])
@pytest.mark.parametrize("kind", ["zarr", "tiff"])
def test_what_counts(kind: str, change: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", 0, kind)
    file = path / "c/0/0/0" if kind == "zarr" else path
    before = file.stat()
    identity = open_image(path).identity
    assert open_image(path).identity == identity
    if change == "size":
        file.write_bytes(file.read_bytes() + b"\0")
        os.utime(file, ns=(0, before.st_mtime_ns))
    elif change == "time":
        os.utime(file, ns=(0, before.st_mtime_ns + 1))
    else:
        shutil.copy2(file, tmp_path / "copy")
        (tmp_path / "copy").rename(file)
        assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert open_image(path).identity != identity


def test_on_servers(tmp_path: Path, server: str) -> None:
    """Object stores list chunks; web servers tell of a file, and of a Zarr its metadata."""
    memory = fsspec.filesystem("memory")
    address = "memory://swapped/a.zarr"
    array = zarr.create_array(address, data=noise(0), chunks=(4, 12, 13), overwrite=True)
    image = open_image(address)
    identity, table = image.identity, known(image)
    corner = (slice(0, 4), slice(0, 12), slice(0, 13))
    image.read(corner)
    compare("a", image.files_read(), table)
    array[:4, :12, :13] = 1
    assert open_image(address).identity != identity
    with pytest.raises(InputError, match=CHANGED):
        compare("a", image.files_read(), table)
    memory.rm("/swapped", recursive=True)
    write(tmp_path / "a.zarr", 0, "zarr")
    path = write(tmp_path / "a.tif", 0, "tiff")
    for name, file in (("a.tif", path), ("a.zarr", tmp_path / "a.zarr" / "zarr.json")):
        image = open_image(f"{server}/{name}")
        identity, table = image.identity, known(image)
        image.read(corner)
        compare("a", image.files_read(), table)
        os.utime(file, ns=(0, 10**18))
        with pytest.raises(InputError, match=CHANGED):
            compare("a", image.files_read(), table)
        assert name == "a.zarr" or open_image(f"{server}/{name}").identity != identity
