"""Label images that are copied into their image (`labels_in: image`)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from tests.command import EXECUTABLE, Terapose
from tests.in_image import (
    DOCUMENT,
    PLACE,
    SIZE,
    VERSIONS,
    Killed,
    labels_of,
    listed,
    other,
    pixels,
    placed,
    segmented,
    tree,
)
from tests.synthetic import write_ome_zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io import files, lock
from terapose.io.images.opening import open_image
from terapose.results.in_image.attaching import attach
from terapose.results.verify import faults


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with an image of each version, and two results of it that differ."""
    folder = tmp_path_factory.mktemp("made")
    for version in VERSIONS:
        image = placed(folder / f"{version}.zarr", version)
        for name, more in (("one", {}), ("two", {"diameter": 12})):
            out = folder / f"{version}-{name}"
            segmented(tiny_model, image, out, ome_zarr_version=version, **more)
    one, two = (labels_of(folder / f"0.5-{name}/labels.zarr/cells") for name in ("one", "two"))
    assert one.any() and two.any() and (one != two).any()
    return folder


@pytest.fixture
def images(made: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the images."""
    for version in VERSIONS:
        shutil.copytree(made / f"{version}.zarr", tmp_path / f"{version}.zarr")
    return tmp_path


def transformations(node: Any) -> list[Any]:
    """Scales and translations of the levels, as ome-zarr-py has read them, of Z, Y, X."""
    return [
        {one["type"]: one[one["type"]][-3:] for one in level}
        for level in node.metadata["coordinateTransformations"]
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_readers_see_labels_on_the_image(made: Path, images: Path, version: str) -> None:
    image, out = images / f"{version}.zarr", made / f"{version}-one"
    other(image, version)
    before = tree(out), open_image(image).find_identity().digest, image.stat().st_mtime_ns
    assert attach(out, str(image)) == image / "labels"
    assert listed(image, version) == ["nuclei_by_hand", "cells"]
    yaozarrs.validate_zarr_store(str(image))
    seen, *_, cells = list(Reader(parse_url(str(image)))())
    assert (
        transformations(cells)[0]
        == transformations(seen)[0]
        == {
            "scale": [*SIZE],
            "translation": [*PLACE],
        }
    )
    truth = labels_of(out / "labels.zarr/cells")
    np.testing.assert_array_equal(np.asarray(cells.data[0]), truth)
    attributes: Any = zarr.open_group(image / "labels/cells", mode="r").attrs
    assert attributes.get("ome", attributes)["image-label"]["source"] == {"image": "../.."}
    # neither the results nor the image have changed
    assert before[:2] == (tree(out), open_image(image).find_identity().digest)
    assert not faults(out)

    # again: nothing is written
    times = {path: path.stat().st_mtime_ns for path in image.rglob("*") if path.is_file()}
    attach(out, str(image))
    assert times == {path: path.stat().st_mtime_ns for path in image.rglob("*") if path.is_file()}

    # what was damaged is put right, and what was added goes
    chunk = next(p for p in sorted((image / "labels/cells/0").rglob("*")) if p.name.isdigit())
    chunk = chunk if chunk.is_file() else next(p for p in chunk.rglob("*") if p.is_file())
    chunk.write_bytes(b"damaged")
    (image / "labels/cells/notes.txt").touch()
    attach(out, str(image))
    np.testing.assert_array_equal(labels_of(image / "labels/cells"), truth)
    assert not (image / "labels/cells/notes.txt").exists()
    mine = json.loads((image / "labels" / DOCUMENT[version]).read_text())
    assert version == "0.4" or mine["attributes"]["mine"] == 1


def test_the_folder_of_an_image_is_as_old_as_before(made: Path, images: Path) -> None:
    """Nextflow knows folders by their times: it would run everything again."""
    os.utime(images / "0.5.zarr", ns=(10**18, 10**18 + 5))
    attach(made / "0.5-one", str(images / "0.5.zarr"))
    assert (images / "0.5.zarr").stat().st_mtime_ns == 10**18 + 5


@pytest.mark.parametrize("unit", ["micrometer", "nanometer", None])
def test_a_region_of_a_coarser_level_lies_where_it_was(
    tmp_path: Path, tiny_model: Path, unit: str | None
) -> None:
    shift = [PLACE, (10.0, -2.75, 7.75)]
    size = {"nanometer": (2000.0, 500.0, 500.0)}.get(str(unit), SIZE)
    shift = (
        [(10_000.0, -3000.0, 7500.0), (10_000.0, -2750.0, 7750.0)] if unit == "nanometer" else shift
    )
    image = placed(
        tmp_path / "image.zarr", voxel_size=size, unit=unit, factors=(1, 2), translations=shift
    )
    params = {"level": 1, "region": "0:6,2:12,4:20", "diameter": 12, "labels_in": "image"}
    segmented(tiny_model, image, tmp_path / "out", **params)
    yaozarrs.validate_zarr_store(str(image))
    seen, *_, cells = list(Reader(parse_url(str(image)))())
    scale = transformations(seen)[1]["scale"]
    start = [t + n * s for t, n, s in zip(shift[1], (0, 2, 4), scale, strict=True)]
    assert transformations(cells)[0]["scale"] == pytest.approx(scale)
    assert transformations(cells)[0]["translation"] == pytest.approx(start)
    axes = cells.metadata["axes"]
    assert [axis.get("unit") for axis in axes] == [unit or "micrometer"] * 3


def test_of_nuclei_with_cytoplasm_all_three_and_later_only_one(
    tmp_path: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = write_ome_zarr(tmp_path / "plane.zarr", pixels()[3], axes="yx")
    params = {"labels_in": "image", "min_size": 0}
    out = segmented(tiny_model, image, tmp_path / "three", expand=2, **params)
    assert listed(image) == ["cells", "nuclei", "cytoplasm"]
    yaozarrs.validate_zarr_store(str(image))
    assert sorted(p.name for p in (image / "labels").iterdir()) == sorted(
        ["cells", "nuclei", "cytoplasm", "zarr.json"]
    )
    for name in ("cells", "nuclei", "cytoplasm"):
        truth = labels_of(out / "labels.zarr" / name)
        np.testing.assert_array_equal(labels_of(image / "labels" / name), truth)
    # the same image is segmented again, as the image that it was
    segmented(tiny_model, image, tmp_path / "one", **params)
    assert listed(image) == ["cells"]
    assert {p.name for p in (image / "labels").iterdir()} == {"cells", "zarr.json"}
    assert "this one does not write: nuclei, cytoplasm" in caplog.text


@pytest.mark.parametrize("version", VERSIONS)
def test_whoever_reads_sees_complete_label_images_only(
    made: Path, images: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each point a reader looks, and a run is killed; another completes it."""
    image = images / f"{version}.zarr"
    other(image, version)
    one, two = (made / f"{version}-{name}" for name in ("one", "two"))
    known = [labels_of(out / "labels.zarr/cells") for out in (one, two)]
    points: list[str] = []
    stop: int | None = None

    def at_point(name: str) -> None:
        """A reader looks, or the run is killed."""
        points.append(name)
        yaozarrs.validate_zarr_store(str(image))
        assert len(list(Reader(parse_url(str(image)))())) == 2 + len(listed(image, version))
        for found in set(listed(image, version)) - {"nuclei_by_hand"}:
            seen = labels_of(image / "labels" / found)
            assert any(np.array_equal(seen, truth) for truth in known)
        if len(points) == stop:
            raise Killed

    attach(one, str(image))
    with monkeypatch.context() as patch:
        patch.setattr(files, "at_point", at_point)
        attach(two, str(image))
    whole = [*points]
    assert {"label image: before it is renamed", "list of label images: after it is renamed"} <= {
        *whole
    }
    for stop in range(1, len(whole) + 1):
        if whole[stop - 1].startswith("lock"):
            continue
        attach(one, str(image))
        points.clear()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(files, "at_point", at_point)
            # copies aside stay where they are
            patch.setattr(files, "remove", lambda path: None)
            attach(two, str(image))
        attach(two, str(image))
        assert listed(image, version) == ["nuclei_by_hand", "cells"]
        np.testing.assert_array_equal(labels_of(image / "labels/cells"), known[1])
        there = {path.name for path in (image / "labels").iterdir()}
        assert there - {".zattrs", ".zgroup", "zarr.json"} == {"nuclei_by_hand", "cells"}


def test_levels_that_the_image_does_not_have_are_left_out(tmp_path: Path, tiny_model: Path) -> None:
    image = write_ome_zarr(tmp_path / "long.zarr", np.tile(pixels()[3], 8), axes="yx")
    out = segmented(tiny_model, image, tmp_path / "out", labels_in="image", min_size=0)
    assert (out / "labels.zarr/cells/1/zarr.json").exists()
    names = {path.name for path in (image / "labels/cells").iterdir()}
    assert names == {"zarr.json", "0"}
    yaozarrs.validate_zarr_store(str(image))
    before = (image / "labels/cells").stat().st_mtime_ns
    attach(out)
    assert (image / "labels/cells").stat().st_mtime_ns == before
    truth = labels_of(out / "labels.zarr/cells")
    np.testing.assert_array_equal(labels_of(image / "labels/cells"), truth)


def test_one_run_at_a_time(made: Path, images: Path) -> None:
    image = images / "0.5.zarr"
    attach(made / "0.5-one", str(image))
    before = tree(image)
    with lock.held(image / "labels"), pytest.raises(InputError, match="another run is writing"):
        attach(made / "0.5-two", str(image))
    assert tree(image) == before


def test_nothing_damaged_gets_into_an_image(
    made: Path, images: Path, tmp_path: Path, command: Terapose
) -> None:
    out, image = tmp_path / "out", images / "0.5.zarr"
    shutil.copytree(made / "0.5-one", out)
    chunk = next(p for p in (out / "labels.zarr/cells/0/c").rglob("*") if p.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1] + b"?")
    said = command.refuses("attach", out, image)
    assert "the results have changed since they were written" in said
    assert not (image / "labels").exists()
    chunk.write_bytes(whole)
    done = command("attach", out, image)
    assert (done.code, done.out) == (0, f"labels: {image}/labels\n"), done
    assert listed(image) == ["cells"]
    # without an image it is the one in the record, as it was then
    assert command("attach", out).out == f"labels: {made}/0.5.zarr/labels\n"
    shutil.rmtree(made / "0.5.zarr/labels")
    chunk = next(p for p in (made / "0.5.zarr/0/c").rglob("*") if p.is_file())
    status = chunk.stat()
    os.utime(chunk)
    assert "the image has changed since it was segmented" in command.refuses("attach", out)
    assert command("attach", out, made / "0.5.zarr").code == 0
    shutil.rmtree(made / "0.5.zarr/labels")
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
    said = command.refuses("attach", out, write_ome_zarr(tmp_path / "a.zarr", pixels()[1:]))
    assert "is not the image that was segmented" in said and "(6, 24, 40)" in said


def test_the_second_network_writes_nothing_into_the_image() -> None:
    params = check({"labels_in": "image", "cell_model": "cells"})
    assert params.second.labels_in == "results"


@pytest.mark.parametrize("version", VERSIONS)
def test_readers_that_use_consolidated_metadata(
    made: Path, images: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = images / f"{version}.zarr"
    one, two = made / f"{version}-one", made / f"{version}-two"
    other(image, version)
    truth = labels_of(two / "labels.zarr/cells")
    # those of the group know nothing of what comes, or something that is no longer so
    for results in (one, two):
        zarr.consolidate_metadata(image / "labels")
        attach(results, str(image))
    group: Any = zarr.open_group(image / "labels", mode="r")
    assert {*group.group_keys()} == {"cells", "nuclei_by_hand"}
    np.testing.assert_array_equal(group["cells/0"][:], truth)
    assert not caplog.text

    # those of the image are not written to
    shutil.rmtree(image / "labels")
    zarr.consolidate_metadata(image)
    before = tree(image)
    for number in range(2):
        attach(two, str(image))
        warned = "its consolidated metadata do not describe these label images" in caplog.text
        assert warned == (number == 0)
        caplog.clear()
        zarr.consolidate_metadata(image)
    assert before.items() - tree(image).items() == {
        (key, before[key]) for key in (".zmetadata" if version == "0.4" else "zarr.json",)
    }
    group = zarr.open_group(image, mode="r")
    np.testing.assert_array_equal(group["labels/cells/0"][:], truth)


def test_a_limit_of_the_size_of_files(made: Path, images: Path) -> None:
    image = images / "0.5.zarr"
    words = [sys.executable, EXECUTABLE, "attach", made / "0.5-one", image]
    limit = "ulimit -f 1; exec " + shlex.join(map(str, words))
    done = subprocess.run(["bash", "-c", limit], capture_output=True, text=True)
    assert done.returncode == 2 and not listed(image)
    assert "File too large; allow larger files (ulimit -f unlimited)" in done.stderr
    assert done.stderr.count("\n") == 1
    attach(made / "0.5-one", str(image))
    assert listed(image) == ["cells"]
