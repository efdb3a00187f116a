"""Results as an object: what is read, what is refused, what a notebook shows."""

from __future__ import annotations

import base64
import html.parser
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image
from tests.synthetic import nuclei, write_ome_zarr

import terapose
from terapose.api.label_array import LabelArray
from terapose.api.result import Result
from terapose.core.errors import InputError, StoreError
from terapose.core.memory import memory_here
from terapose.core.params import ONLY_FILES
from terapose.io.labels.ome_zarr import create, open_level
from terapose.pipeline.graph import STAGES

PACKAGE = Path(terapose.__file__).parents[1]
SCRIPT = """
import sys
import terapose

print("imported once", flush=True)
params = dict(diameter=10, model="nuclei-small", expand=2, block_shape=(1, 48, 48))
print(terapose.run(sys.argv[1], sys.argv[2], workers=2, **params))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plane of nuclei with a hostile name."""
    plane = nuclei((6, 96, 100))[0][3]
    path = tmp_path_factory.mktemp("image") / "<script>alert(1)< b>.zarr"
    return write_ome_zarr(path, plane, axes="yx", voxel_size=(1.0, 0.5, 0.5))


@pytest.fixture(scope="module")
def made(image: Path) -> Result:
    """Its results."""
    params: dict[str, Any] = {"diameter": 10, "model": "nuclei-small", "expand": 2}
    return terapose.run(image, image.parent / "out", workers=1, progress=False, **params)


@pytest.fixture
def copy(made: Result, tmp_path: Path) -> Result:
    """The same, which may be changed."""
    shutil.copytree(made.folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".terapose"))
    return terapose.open_result(tmp_path / "copy")


@pytest.mark.parametrize("how", ["script", "stdin"])
def test_workers_need_no_guard(image: Path, made: Result, tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words = [str(script) if how == "script" else "-", str(image), str(tmp_path / "out")]
    # what numba has compiled is there: it would take most of the time of this test
    compiled = {k: v for k, v in os.environ.items() if k == "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, *words],
        input=SCRIPT if how == "stdin" else "",
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE), "PATH": "", **compiled},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("imported once") == 1
    assert f"<Result: {made.cells} cells in 96 x 100 voxels" in done.stdout
    # lines in a log, one at the end of each stage
    assert "measure: 1 of 1\n" in done.stderr
    found = terapose.open_result(tmp_path / "out")
    np.testing.assert_array_equal(found.labels, made.labels)
    pd.testing.assert_frame_equal(found.table(), made.table())


def test_labels_are_those_on_the_disk(made: Result) -> None:
    there = np.asarray(open_level(str(made.folder / "labels.zarr"), 0)[:])
    labels = made.labels
    assert labels.shape == there.shape == (96, 100) and len(labels) == 96
    assert labels.dtype == there.dtype and labels.nbytes == there.nbytes
    np.testing.assert_array_equal(labels[10:20, ::3], there[10:20, ::3])
    np.testing.assert_array_equal(labels[..., 7], there[:, 7])
    assert (np.asarray(labels) == there).all() and there.max() == made.cells > 10
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(labels))[:9], there[:9])
    lazy = dask.array.from_array(labels)
    assert lazy.chunks == dask.array.from_array(there, chunks=labels.chunks).chunks
    assert int(lazy.max().compute(scheduler="synchronous")) == made.cells
    nuclei_there = made.open_labels("nuclei")[:]
    assert 0 < np.count_nonzero(nuclei_there) < np.count_nonzero(there)


def test_slices_read_the_chunks_they_touch_and_no_others(tmp_path: Path) -> None:
    group = tmp_path / "labels.zarr"
    shape: Any = {"shape": (4, 32, 32), "chunks": (2, 16, 16), "factors": [(1, 1, 1)]}
    create(str(group), dtype="uint32", voxel_size=None, **shape)
    open_level(str(group), 0)[:] = 1
    (group / "cells/0/c/1/1/1").write_bytes(b"damaged")
    labels = LabelArray(str(group))
    assert labels.chunks == (2, 16, 16)
    assert (labels[:2] == 1).all() and (labels[3, :16] == 1).all()
    with pytest.raises(Exception, match=r"(?i)zstd|decompress|frame"):
        labels[3]


def test_a_large_label_image_is_no_array_in_memory(tmp_path: Path) -> None:
    group = tmp_path / "labels.zarr"
    create(str(group), shape=(2000, 500, 500), dtype="uint32", voxel_size=None, factors=[(1, 1, 1)])
    labels = LabelArray(str(group))
    for convert in (np.asarray, np.unique, lambda array: np.add(array, 1)):
        with pytest.raises(InputError) as caught:
            convert(labels)
        assert str(caught.value) == (
            f"{group}/cells/0: this label image is too large to be read into memory as a whole; "
            "got shape (2000, 500, 500), 2.0 GB; allowed: 1.1 GB; take slices of it, or "
            "dask.array.from_array(labels)"
        )
    assert labels[1999, 4:6, :].shape == (2, 500)
    assert dask.array.from_array(labels)[5, :9, :9].compute(scheduler="synchronous").sum() == 0


def test_tables(made: Result) -> None:
    table = made.table()
    # CSV has other types
    csv = pd.read_csv(made.folder / "cells.csv")
    pd.testing.assert_frame_equal(table, csv, check_dtype=False)
    assert len(table) == made.cells and table["TouchesBorder"].dtype == bool
    assert [*made.table("nuclei", columns=["Area", "CellID"])] == ["Area", "CellID"]
    assert (made.table("nuclei")["Area"] < table["Area"]).any()


def test_what_there_is_not_is_said(made: Result, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labels of this name; got x; allowed: cells, nuclei"):
        made.open_labels("x")
    with pytest.raises(InputError, match="there is no such level; got 9"):
        made.open_labels(level=9)
    with pytest.raises(InputError, match="has no such column; got Volume"):
        made.table(columns=["Volume"])
    with pytest.raises(InputError, match=r"there are no complete results; got no provenance\.json"):
        terapose.open_result(tmp_path)
    with pytest.raises(InputError, match="only results on a local disk can be opened"):
        terapose.open_result("s3://bucket/folder")


def test_what_has_changed_is_not_read(copy: Result) -> None:
    copy.verify()
    with (copy.folder / "cells.parquet").open("ab") as file:
        file.write(b"1")
    with pytest.raises(InputError, match=r"cells\.parquet: has changed since the run; run again"):
        copy.table()
    with pytest.raises(StoreError, match="have changed since they were written"):
        copy.verify()
    assert copy.labels.shape == copy.shape == (96, 100)
    record = copy.folder / "provenance.json"
    record.write_text(record.read_text().replace(f'"cells": {copy.cells}', '"cells": 7'))
    with pytest.raises(InputError, match="the record of the results is not as it was written"):
        terapose.open_result(copy.folder)
    for read in (lambda: copy.labels, copy.open_labels, lambda: copy.report):
        with pytest.raises(InputError, match="replaced or removed since they were opened; open"):
            read()
    assert repr(copy).startswith(f"<Result: {copy.cells} cells in 96 x 100 voxels, /")


def test_the_record_is_a_copy(made: Result) -> None:
    made.provenance["output"].clear()
    assert made.provenance["output"]["shape"] == [1, 96, 100]
    assert made.voxel_size == (0.5, 0.5, 0.5) and made.seconds > 0


def test_the_report_is_made_once(copy: Result) -> None:
    assert not (copy.folder / "report.html").exists()
    page = copy.report
    assert page == copy.folder / "report.html" and b"cells" in page.read_bytes()
    page.write_bytes(page.read_bytes() + b"\n")
    assert copy.report.read_bytes().endswith(b"\n\n")


class Piece(html.parser.HTMLParser):
    """Elements of a piece of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_a_notebook_shows(made: Result, image: Path) -> None:
    piece = Piece(made._repr_html_())
    assert {tag for tag, _ in piece.found} == {"div", "table", "tr", "th", "td", "a", "img"}
    assert str(image) in piece.text and f"cells{made.cells}" in piece.text
    assert "0.5, 0.5, 0.5 µm" in piece.text
    links = [str(attributes["href"]) for tag, attributes in piece.found if tag == "a"]
    assert links[0] == (made.folder / "labels.zarr").as_uri() and "<" not in "".join(links)
    (source,) = [attributes["src"] for tag, attributes in piece.found if tag == "img"]
    kind, _, data = str(source).partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert max(pixels.shape[:2]) == 360
    outlines = (pixels == (255, 176, 0)).all(axis=2)
    grey = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 1] == pixels[..., 2])
    assert 1000 < outlines.sum() < grey.sum() and (outlines | grey).all()


def test_without_the_image_there_is_no_picture(copy: Result, image: Path, tmp_path: Path) -> None:
    record = copy.provenance
    record["image"]["address"] = str(tmp_path / "gone.zarr")
    piece = Piece(Result(copy.folder, record)._repr_html_())
    assert "img" not in {tag for tag, _ in piece.found}
    assert "no picture: " in piece.text and "gone.zarr" in piece.text


def test_run_takes_one_image_with_an_address(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the path or URL of an image; got ndarray; save"):
        terapose.run(np.zeros((4, 4)), tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="only one image can be segmented"):
        terapose.run("image.tif", tmp_path / "out", time="all")
    with pytest.raises(InputError, match="is not a number of processes; got 0"):
        terapose.run("image.tif", tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("odd", [None, 3, b"out"], ids=str)
def test_what_is_no_address_is_refused(odd: Any) -> None:
    number: Any = 7  # None is no store
    calls: list[Callable[[], object]] = [
        lambda: terapose.run("image.tif", odd),
        lambda: terapose.measure("image.tif", "labels.tif", odd),
        lambda: terapose.measure("image.tif", odd, "out"),
        lambda: terapose.open_result(odd),
        lambda: terapose.run("image.tif", "out", store=odd or number),
    ]
    for call in calls:
        with pytest.raises(
            InputError, match=r"is not the path( or URL)? of (a folder|labels); got"
        ):
            call()


def test_an_array_is_checked_like_a_file() -> None:
    array = nuclei((6, 40, 40))[0]
    for shape, axes in {(40, 40, 3): "YXC or ZYX", (2, 40, 40, 3): "ZYXC"}.items():
        with pytest.raises(InputError) as caught:
            terapose.segment(np.resize(array, shape), diameter=10)
        said = str(caught.value)
        assert said.startswith("image: the file does not say what its axes are, and the last axis")
        assert said.endswith(f"give them with the parameter axes: {axes}")
    with pytest.raises(InputError, match=r"^image, channel 1: the image is constant"):
        terapose.segment(np.zeros((40, 40)), diameter=10)
    with pytest.raises(InputError, match=r"^image: the image has no plane of Y and X"):
        terapose.segment(np.array(3.0), diameter=10)


def test_what_concerns_files_alone_is_no_parameter_of_segment() -> None:
    array = nuclei((6, 40, 40))[0]
    files = {"report": True, "thumbnails": 20, "mask_tiff": "m.tif", "keep_intermediates": "all"}
    for name, value in files.items():
        with pytest.raises(InputError, match=f"^{name}: only says what is written to files"):
            terapose.segment(array, **{name: value})  # type: ignore[arg-type]
    # measure "none" saves time
    own = {name for name in STAGES["finish"].parameters if name not in ("measure", "strict")}
    assert own <= {*ONLY_FILES}


def test_what_has_no_effect_is_said_once(
    image: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params: dict[str, Any] = {"cell_model": "nuclei-small", "diameter": 10, "normalize_tile": 50}
    terapose.run(image, tmp_path, workers=1, progress=False, model="nuclei-small", **params)
    assert caplog.text.count("normalize_tile 50 has no effect with normalize global") == 1


def test_labels_that_do_not_fit_into_memory_are_refused_with_what_to_call(tmp_path: Path) -> None:
    path = tmp_path / "large.zarr"
    shape = (10_000, 100_000, 100_000)
    axes: Any = {"chunks": (64, 64, 64), "dimension_names": "zyx"}
    zarr.create_array(path, shape=shape, dtype="uint8", **axes)
    with pytest.raises(InputError) as caught:
        terapose.segment(path, diameter=10)
    said = str(caught.value)
    assert f"{path}: the labels of this image would not fit into memory" in said
    assert re.search(r"400\.0 TB, on a machine with [\d.]+ [GT]B; use terapose\.run\(", said)


def test_the_limit_of_a_process_counts() -> None:
    said = subprocess.run(
        ["sh", "-c", 'ulimit -v 900000; "$0" -c "$1"', sys.executable, _MEMORY],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE)},
    )
    assert said.stdout == f"{900_000 * 1024}\n", said.stderr
    assert (memory_here() or 0) > 2**28


_MEMORY = "from terapose.core.memory import memory_here; print(memory_here())"
