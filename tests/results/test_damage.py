"""Whatever is damaged in a store is noticed and made again; results that are there outlive it.

Each kind of file that a run leaves is damaged in each way; running again gives the same bytes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command import Terapose
from tests.reliability.world import outcome
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.core.errors import InputError, StoreError
from terapose.core.params import check
from terapose.io import files
from terapose.results.verify import check as verify
from terapose.results.verify import faults

CUT = {"block_shape": (8, 60, 140), "slab_planes": 70, "max_tasks": 3, "keep_intermediates": "all"}
KINDS = {
    "sums of the network": ("gradients-zy/c", "follow"),
    "metadata of an array": ("gradients-zy/zarr.json", "follow"),
    "ends": ("follow-*/ends/c", "peaks masks"),
    "counts": ("peaks-*/counts/c", "masks"),
    "labels": ("masks-*/labels/c", "errors export measure"),
    "names": ("relabel-*/relabel_map/*/c", "export measure"),
    "tables": ("masks-*/*.npz", "objects"),
    "cells": ("relabel-*/cells/*", "measure"),
    "measured": ("measure-*/*", ""),
    "markers": ("done/*/*", "export"),
    "final labels": ("relabel-*/labels.zarr/cells/0/c", ""),
    "their pyramid": ("relabel-*/labels.zarr/cells/1/c", ""),
    "their metadata": ("relabel-*/labels.zarr/cells/*.json", ""),
}
Change = Callable[[bytes, random.Random], bytes | None]
CHANGES: dict[str, Change | None] = {
    "flipped": lambda data, r: _flip(data, r.randrange(8 * len(data))),
    "cut off": lambda data, r: data[: r.randrange(len(data))],
    "zeros": lambda data, _: bytes(len(data)),
    "removed": lambda _data, _r: None,
    "exchanged": None,
}
"""None: two files take each other's place."""


CASES = [
    (kind, how)
    for n, kind in enumerate(KINDS)
    for m, how in enumerate(CHANGES)
    if os.environ.get("TERAPOSE_LARGE") == "1" or n % len(CHANGES) == m
]
"""Each kind in one way; all of them with `TERAPOSE_LARGE=1`."""


def _flip(data: bytes, bit: int) -> bytes:
    place, mask = bit // 8, 1 << bit % 8
    return bytes([*data[:place], data[place] ^ mask, *data[place + 1 :]])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with an image and results, whose store is kept."""
    folder = tmp_path_factory.mktemp("damage")
    write_zarr(folder / "image.zarr", nuclei((8, 60, 280))[0])
    segment(folder, tiny_model)
    return folder


def segment(folder: Path, model: Path, **more: Any) -> dict[str, Any]:
    """Segment the image of a folder."""
    params = check({"model": str(model), "cellprob_threshold": -0.5, **CUT, **more})
    return segment_file(str(folder / "image.zarr"), folder / "out", params)


def damage(store: Path, pattern: str, change: Change | None, seed: int) -> int:
    """Change some of the files of a kind; returns how many."""
    found = sorted(
        file
        for place in store.glob(pattern)
        for file in (place.rglob("*") if place.is_dir() else [place])
        if file.is_file()
    )
    chosen = random.Random(seed)
    some = chosen.sample(found, min(2, len(found)))
    contents = [file.read_bytes() for file in some]
    if change is None:
        assert len({*contents}) == 2
    for file, whole in zip(some, reversed(contents), strict=True):
        content = change(file.read_bytes(), chosen) if change else whole
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
    return len(some)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "how"), CASES)
def test_what_is_damaged_is_made_again(
    finished: Path, tmp_path: Path, tiny_model: Path, kind: str, how: str
) -> None:
    wanted = outcome(finished / "out")
    shutil.copytree(finished / "out", tmp_path / "out")
    (tmp_path / "image.zarr").symlink_to(finished / "image.zarr")
    (store,) = (p for p in (tmp_path / "out" / ".terapose").iterdir() if p.is_dir())
    pattern, readers = KINDS[kind]
    assert damage(store, pattern, CHANGES[how], len(kind))
    for reader in readers.split():
        for marker in store.glob(f"done/{reader}-*"):
            shutil.rmtree(marker)
    # the image is another one by its path, were it not for the address that is in the plan
    image = str(finished / "image.zarr")
    params = check({"model": str(tiny_model), "cellprob_threshold": -0.5, **CUT})
    segment_file(image, tmp_path / "out", params)
    assert outcome(tmp_path / "out") == wanted
    verify(tmp_path / "out")


def test_results_that_are_there_outlive_the_store(
    finished: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """What is damaged in the store later does not reach them; what is damaged in them is said."""
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    for file in (out / ".terapose").rglob("labels.zarr/**/c/*/*/*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    assert not faults(out)
    chunk = next(p for p in sorted((out / "labels.zarr/cells/0/c").rglob("*")) if p.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(_flip(whole, 77))
    assert faults(out) == ["labels.zarr: region 0-0-0"]
    with pytest.raises(StoreError, match="the results have changed since they were written"):
        verify(out)
    chunk.unlink()
    assert faults(out) == ["labels.zarr: region 0-0-0"]
    chunk.write_bytes(whole)
    added = ["cells/0/.DS_Store", "cells/0/c/9", "cells/linked", "notes.txt"]
    for name in added:
        (out / "labels.zarr" / name).symlink_to(tmp_path)
    assert faults(out) == [f"labels.zarr: {name} was added" for name in added]
    for name in added:
        (out / "labels.zarr" / name).unlink()
    (out / "cells.csv").write_text("CellID\n")
    assert faults(out) == ["cells.csv has another checksum"]
    (out / "cells.csv").unlink()
    (out / "labels.zarr/cells/zarr.json").write_text("{}")
    assert faults(out) == ["labels.zarr: the metadata", "cells.csv is missing"]


@pytest.mark.parametrize("layout", ["", "segmentation/terapose-"])
def test_all_samples_of_a_folder_are_compared(
    layout: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a run of the workflow leaves it that was killed while it copied results."""
    out = tmp_path / "results"
    whole, cut_off, early, bare = (out / f"{layout}{name}" for name in "abcd")
    for place in (whole, cut_off, early, bare):
        ignored = shutil.ignore_patterns(".terapose")
        shutil.copytree(finished / "out", place, ignore=ignored)
    (out / "pipeline_info").mkdir()
    command = Terapose(monkeypatch, capsys)
    assert command("verify", out).out.splitlines() == [
        f"{p}: as written" for p in (whole, cut_off, early, bare)
    ]
    next(p for p in sorted((cut_off / "labels.zarr/cells/0/c").rglob("*")) if p.is_file()).unlink()
    (early / "provenance.json").unlink()
    shutil.rmtree(bare / "labels.zarr")
    said = command("verify", out)
    assert (said.code, said.out) == (2, f"{whole}: as written\n")
    first, second, third, last = said.err.splitlines()
    assert (
        f"{cut_off}: the results have changed since they were written; got labels.zarr: region"
        in first
    )
    assert f"{early}: there are no results, or they are not complete" in second
    assert f"{bare}: the results have changed since they were written" in third
    assert f"{out}: results of 3 of 4 samples have changed since they were written" in last
    assert command("verify", whole).code == 0
    assert command.refuses("verify", early).startswith(f"{early}: there are no results")
    assert command.refuses("verify", tmp_path).startswith(f"{tmp_path}: there are no results")


ODD: dict[str, dict[str, Callable[[Path], None]]] = {
    "of files": {
        "done/masks-*/task-0.json": os.mkfifo,
        "done/follow-*/*.json": Path.mkdir,
        "masks-*/labels/c/0/0/*": os.mkfifo,
        "peaks-*/counts/c/0/0/0": Path.mkdir,
        "objects-*/pieces.npz": Path.mkdir,
        "relabel-*/labels.zarr/cells/0/c/0/0/0": os.mkfifo,
        "relabel-*/labels.zarr/cells/zarr.json": lambda path: path.symlink_to("zarr.json"),
        "plan.json": os.mkfifo,
        "image/*": Path.mkdir,
    },
    "of folders": {
        "done/export-*": Path.touch,
        "masks-*/labels": Path.touch,
        "follow-*/ends/c": os.mkfifo,
        "relabel-*/labels.zarr/cells/0": Path.touch,
        "relabel-*/relabel_map": Path.touch,
    },
}
"""What is put in place of files and folders of a store."""


@pytest.mark.parametrize("places", ODD)
def test_what_is_odd_is_made_again(
    finished: Path, tmp_path: Path, tiny_model: Path, places: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    (store,) = (p for p in (out / ".terapose").iterdir() if p.is_dir())
    for pattern, make in ODD[places].items():
        path = sorted(store.glob(pattern))[0]
        files.remove(path)
        make(path)
    for reader in ("masks", "measure"):
        for marker in store.glob(f"done/{reader}-*/*"):
            files.remove(marker)
    params = check({"model": str(tiny_model), "cellprob_threshold": -0.5, **CUT})
    segment_file(str(finished / "image.zarr"), out, params)
    assert not faults(out) and outcome(out) == outcome(finished / "out")


def test_what_was_added_to_the_store_is_no_result(
    finished: Path, tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    (labels,) = (out / ".terapose").glob("*/relabel-*/labels.zarr")
    (labels / "notes.txt").touch()
    (labels / "linked").symlink_to(tmp_path)
    os.mkfifo(labels / "cells" / "pipe")
    params = check({"model": str(tiny_model), "cellprob_threshold": -0.5, **CUT})
    segment_file(str(finished / "image.zarr"), out, params)
    assert not faults(out) and outcome(out) == outcome(finished / "out")


def test_the_record_is_sealed(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "out", tmp_path / "out", ignore=shutil.ignore_patterns(".terapose"))
    place = tmp_path / "out" / "provenance.json"
    record = json.loads(place.read_text())
    place.write_text(json.dumps({**record, "cells": record["cells"] + 1}))
    with pytest.raises(StoreError, match=r"provenance\.json: is damaged"):
        faults(tmp_path / "out")
    place.write_text(json.dumps(record))  # laid out in another way, it says the same
    assert not faults(tmp_path / "out")


def test_damaged_results_are_made_again(finished: Path, tmp_path: Path, tiny_model: Path) -> None:
    wanted = outcome(finished / "out")
    out = tmp_path / "out"
    shutil.copytree(finished / "out", out)
    for file in (out / "labels.zarr").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    params = check({"model": str(tiny_model), "cellprob_threshold": -0.5, **CUT})
    segment_file(str(finished / "image.zarr"), out, params)
    assert outcome(out) == wanted


def test_a_copy_that_differs_is_no_result(
    finished: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that keeps something else than was written; the results that were there stay."""
    wanted, out = outcome(finished / "out"), tmp_path / "out"
    shutil.copytree(finished / "out", out)
    whole = files.copy

    def copy(source: Path, target: Path) -> None:
        whole(source, target)
        if source.parts[-5:-3] == ("0", "c"):
            target.write_bytes(_flip(target.read_bytes(), 99))

    monkeypatch.setattr(files, "copy", copy)
    params = check({"model": str(tiny_model), "cellprob_threshold": -0.5, **CUT})
    with pytest.raises(InputError, match="changed after it was copied; got other checksums of"):
        segment_file(str(finished / "image.zarr"), out, params)
    assert outcome(out) == wanted and not faults(out)
