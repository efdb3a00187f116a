"""process_cells: a function of the user's gives one result, whatever the blocks are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.command import Terapose
from tests.fields import balls, segment_field, to_centres
from tests.synthetic import nuclei, write_ome_zarr

from terapose.algorithms.objects.filters import Windows
from terapose.apps.process.run import process
from terapose.apps.process.setting import FileSetting
from terapose.core.geometry import Grid, zyx
from terapose.core.params import check
from terapose.core.tables import windows
from terapose.intermediates import relabel_map
from terapose.io.images.array_like import open_labels
from terapose.io.images.watch import Watch
from terapose.results.processing.chosen import chosen, packed

SHAPE = (20, 44, 52)
FIELD = to_centres(balls(SHAPE, seed=3, count=60, radius=6), noise=0.3, seed=1)
WHOLE, CUTS = "20,44,52", ("7,44,15", "20,13,21", "9,16,17")

LOCAL = """
from scipy.ndimage import grey_erosion
HALO = (1, 2, 2)
def process(labels, image, block):
    lowest = grey_erosion(labels, (3, 5, 5), mode="nearest")
    labels[lowest != labels] = 0
    return labels
"""
VALUES = """
from scipy.ndimage import maximum_filter
RETURNS, HALO = "ids", 2
OPTIONS = {"most": 9}
def process(labels, image, block):
    labels[maximum_filter(image[0], 5, mode="nearest") > block.options["most"]] = 0
    return labels
"""
HALVES = """
EACH, HALO = "object", 1
import numpy as np
def process(labels, image, block):
    z, y, x = np.indices(labels.shape)
    middle = (x * labels).sum() / labels.sum()
    return labels * np.where(x < middle, 1, 2)
"""
NUMBERS = """
import numpy as np
def renumber(ids, sizes, options):
    return np.where(sizes > np.median(sizes), ids // 2, 0)
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return str(path)


def test_cells_of_many_windows(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows are those of the numbers that objects had before some of them were left out."""
    params = packed(check({"process": "split", "process_options": "distance=3"}))
    given = {"process": params.process, "process_options": params.process_options}
    expected = segment_field(
        tmp_path / "one", tiny_model, FIELD, block_shape=WHOLE, min_size=600, **given
    )
    monkeypatch.setattr(windows, "__defaults__", (7,))
    monkeypatch.setattr(Windows.__init__, "__defaults__", (7,))
    monkeypatch.setattr(relabel_map, "ROWS", 7)
    for block in (WHOLE, CUTS[1]):
        found = segment_field(
            tmp_path / "many", tiny_model, FIELD, block_shape=block, min_size=600, **given
        )
        relabelled, objects = found.states["relabel"].cells, found.states["objects"].last
        assert 14 < relabelled < objects - 7
        np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("split", "distance=3"),
        ("components", "touching=true"),
        ("size", "min=300"),
        (LOCAL, ""),
        (VALUES, "most=0"),
        (HALVES, ""),
        (NUMBERS, ""),
    ],
)
def test_any_blocks_give_what_the_command_gives(
    tmp_path: Path, tiny_model: Path, source: str, options: str
) -> None:
    """The command has another way to write, and no table; it gets the labels of a plain run."""
    name = written(tmp_path, source) if "\n" in source else source
    params = packed(check({"process": name, "process_options": options or None}))
    given = {"process": params.process, "process_options": params.process_options}
    plain = segment_field(tmp_path, tiny_model, FIELD, block_shape=WHOLE)
    write_ome_zarr(tmp_path / "labels.zarr", plain.labels)
    write_ome_zarr(tmp_path / "zero.zarr", np.zeros(SHAPE, np.uint8))
    watch = Watch()
    labels, image = watch.labels(tmp_path / "labels.zarr"), watch.labels(tmp_path / "zero.zarr")
    function = chosen(params.process, params.process_options)
    setting = FileSetting(labels, image.image, (1,), function, Grid(zyx(SHAPE), (8, 20, 20)))
    process(setting, tmp_path / "out.zarr", watch=watch)
    expected = np.asarray(open_labels(tmp_path / "out.zarr")[:, :, :])
    assert source in (VALUES,) or not np.array_equal(expected, plain.labels)
    first: dict[str, Any] = {}
    for block in (WHOLE, *CUTS):
        found = segment_field(tmp_path, tiny_model, FIELD, block_shape=block, **given)
        np.testing.assert_array_equal(found.labels, expected)
        count = int(expected.max())
        assert found.states["process_cells"].cells == count
        np.testing.assert_array_equal(found.cells["CellID"], np.arange(1, count + 1))
        np.testing.assert_array_equal(
            found.cells["Volume"], np.bincount(expected.reshape(-1), minlength=count + 1)[1:]
        )
        assert not {"CellProbability", "FlowError"} & set(found.cells)
        first = first or found.cells
        assert list(found.cells) == list(first)
        for column, values in first.items():
            np.testing.assert_array_equal(found.cells[column], values, err_msg=column)


def test_border_and_nothing_at_all(tmp_path: Path, tiny_model: Path) -> None:
    """Columns are those of a plain run, where the function leaves the cells as they are."""
    plain = segment_field(tmp_path, tiny_model, FIELD, block_shape=CUTS[0])
    same = {"process": "size", "process_options": ("min=0",)}
    found = segment_field(tmp_path, tiny_model, FIELD, block_shape=CUTS[0], **same)
    for column, values in found.cells.items():
        np.testing.assert_array_equal(values, plain.cells[column], err_msg=column)
    none = {"process": "size", "process_options": ("min=1000000",)}
    found = segment_field(tmp_path, tiny_model, FIELD, block_shape=CUTS[1], **none)
    assert not found.labels.any() and not len(found.cells["CellID"])


def test_a_halo_that_is_too_small_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    source = written(tmp_path, LOCAL.replace("(1, 2, 2)", "0"))
    given = {"process": packed(check({"process": source})).process}
    with pytest.raises(Exception, match=r"mine.py: the function is not local .*give a larger HALO"):
        segment_field(tmp_path, tiny_model, FIELD, block_shape=CUTS[2], **given)


def test_other_content_is_another_function(tmp_path: Path, tiny_model: Path) -> None:
    keys, params = [], []
    for text in (LOCAL, LOCAL, LOCAL.replace("(3, 5, 5)", "(3, 3, 3)")):
        params.append(packed(check({"process": written(tmp_path, text)})))
        states = segment_field(
            tmp_path, tiny_model, FIELD, block_shape=CUTS[0], process=params[-1].process
        ).states
        keys.append((states["relabel"].key, states["process_cells"].key))
    assert keys[0] == keys[1] and keys[0][0] == keys[2][0] and keys[0][1] != keys[2][1]
    # tasks need no file: it may be gone by then, or be on another machine
    (tmp_path / "mine.py").unlink()
    assert packed(params[0]) == params[0]
    assert chosen(params[0].process, ()).halo == (1, 2, 2)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    volume, _ = nuclei((8, 40, 44), spacing=12, seed=5)
    return write_ome_zarr(tmp_path / "image.zarr", volume)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def process(labels, image, block):\n    return 1 / 0\n", "mine.py, line 2: the function"),
        ("import sys\nsys.exit(0)\n", "mine.py, line 2: the function fails; got SystemExit"),
        ("def process(a, b, c):\n    raise SystemExit\n", "mine.py, line 2: the function fails"),
        ("def process(labels, image, block):\n    return labels / 2\n", "values of type float64"),
        ("HALO = -1\ndef process(labels, image, block):\n    return labels\n", "is not a halo"),
        ("def other():\n    pass\n", "defines no function"),
        ("def process(:\n", "SyntaxError"),
        ("\0", "mine.py: the function fails"),
    ],
)
def test_files_that_are_wrong(
    image: Path, tmp_path: Path, tiny_model: Path, command: Terapose, text: str, sentence: str
) -> None:
    words = ("--model", tiny_model, "--process", written(tmp_path, text))
    said = command("segment", image, tmp_path / "out", *words, "--cellprob-threshold", -9)
    assert said.code == 2 and "Traceback" not in said.err
    assert sentence in said.err.splitlines()[-1], said.err
    assert not (tmp_path / "out" / "provenance.json").exists()


def test_what_is_refused_before_anything_runs(
    image: Path, tmp_path: Path, command: Terapose
) -> None:
    rng = np.random.default_rng(0)
    long = "# " + rng.bytes(90_000).hex() + "\n" + LOCAL
    (tmp_path / "folder.py").mkdir()
    for words, sentence in {
        ("sizes",): "allowed: components, split, size, or a file .*did you mean size",
        ("merge",): "process finished labels with it",
        (tmp_path / "none.py",): "none.py: cannot be read",
        (tmp_path / "folder.py",): "folder.py: cannot be read",
        (written(tmp_path, long),): "is too large to be used as process in a run",
        ("size", "--process-options", "least=3"): "has no option least",
        ("size", "--process-options", "min"): "process_options: is not an option",
        ("size", "--process-options", "min=x"): "is of another type",
        ("size", "--cell-diameter", 20): "process: given, allowed: only without cell_model",
        ("mine.py:damaged",): "process: is damaged",
    }.items():
        for name in ("segment", "check"):
            place = (tmp_path / "out",) if name == "segment" else ()
            said = command.refuses(name, image, *place, "--process", *words)
            assert re.search(sentence, said), said
    said = command.refuses("segment", image, tmp_path / "out", "--process-options", "min=3")
    assert "process_options: given, allowed: only with process" in said
    assert not (tmp_path / "out").exists()


def test_results_of_a_run(image: Path, tmp_path: Path, command: Terapose) -> None:
    """Labels, tables, outlines and report are of the new cells; what is damaged is made again."""
    source = written(tmp_path, LOCAL.replace("(3, 5, 5)", "(1, 3, 3)"))
    words = ("--mode", "2d", "--diameter", 12, "--process", source)
    tables = ("--table", "csv,h5ad,geojson", "--mask-tiff", "mask.tif", "--expand", 2, "--report")
    out = tmp_path / "out"
    assert command("segment", image, out, *words, *tables, "--block-shape", "3,17,44").code == 0
    assert command("verify", out).code == 0
    record = json.loads((out / "provenance.json").read_text())
    step = record["stages"]["process_cells"]
    assert step["params"]["process"].startswith("mine.py:") and step["cells"] == record["cells"] > 3
    (numbers,) = out.glob(".terapose/*/process_cells-*/cells/ids/0.npz")
    numbers.write_bytes(b"")
    before = (out / "labels.zarr" / "cells" / "zarr.json").read_bytes()
    said = command("segment", image, out, *words, *tables, "--block-shape", "3,17,44", "--upscale")
    assert said.code == 0, said.err
    assert command("verify", out).code == 0
    assert (out / "labels.zarr" / "cells" / "zarr.json").read_bytes() == before


def test_cells_of_several_planes_are_refused_in_mode_2d(
    image: Path, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    words = (
        "--model",
        tiny_model,
        "--mode",
        "2d",
        "--cellprob-threshold",
        -9,
        "--flow-threshold",
        0,
    )
    whole = ("--min-size", 0, "--max-size-fraction", 1)
    touching = ("--process", "components", "--process-options", "touching=true")
    said = command("segment", image, tmp_path / "out", *words, *whole, *touching)
    assert said.code == 2 and "several planes, which mode 2d has not" in said.err, said.err
