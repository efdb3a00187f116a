"""`terapose process`: functions of labels give one result, whatever the blocks are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import grey_erosion, maximum_filter
from skimage.measure import label
from tests.command import Said, Terapose, killed
from tests.synthetic import nuclei, write_ome_zarr, write_tiff

from terapose.apps.process.run import process
from terapose.apps.process.setting import FileSetting
from terapose.core.geometry import Grid, zyx
from terapose.io.images.array_like import open_labels
from terapose.io.images.watch import Watch
from terapose.results.processing.builtin import BUILTIN
from terapose.results.processing.functions import Function

SIZE = (2.0, 0.5, 0.5)
IMAGE, LABELS = nuclei((24, 60, 70), radius=6, spacing=11)
LABELS = LABELS * np.uint32(3)


def _ordered(labels: np.ndarray) -> np.ndarray:
    """Labels numbered by their first voxels."""
    found, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.zeros(len(found), np.uint32)
    rank[np.argsort(np.where(found == 0, -1, first))] = np.arange(len(found))
    if 0 not in found:
        rank += 1
    ordered: np.ndarray = rank[inverse].reshape(labels.shape)
    return ordered


def _parts(labels: np.ndarray) -> np.ndarray:
    """Connected parts of labels, by first voxels."""
    return _ordered(label(labels.astype(np.int64), background=0, connectivity=3))


def _applied(folder: Path, function: Function, block: tuple[int, int, int]) -> np.ndarray:
    watch = Watch()
    cells = watch.labels(folder / "labels.zarr")
    grid = Grid(zyx(cells.shape), block)
    out = folder / "out.zarr"
    process(FileSetting(cells, None, (), function, grid), out, jobs=2, overwrite=True, watch=watch)
    return np.asarray(open_labels(out)[:, :, :])


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    write_ome_zarr(tmp_path / "labels.zarr", LABELS, voxel_size=SIZE, chunks=(16, 32, 32))
    write_ome_zarr(tmp_path / "image.zarr", IMAGE, voxel_size=SIZE, chunks=(16, 32, 32))
    return tmp_path


BLOCKS = ((7, 60, 19), (24, 17, 70), (9, 23, 31))


def _same(folder: Path, command: Terapose, *words: object) -> np.ndarray:
    """The labels that a command makes with any blocks: all files are the same."""
    first: dict[str, bytes] = {}
    for block in ((24, 60, 70), *BLOCKS):
        said: Said = command("process", folder / "labels.zarr", folder / "out.zarr", "--overwrite",
                             "--block-shape", ",".join(map(str, block)), *words)  # fmt: skip
        assert said.code == 0, said.err
        content = _content(folder / "out.zarr")
        assert not first or content == first, block
        first = content
    return np.asarray(open_labels(folder / "out.zarr")[:, :, :])


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 9), st.integers(2, 20), st.integers(2, 20)),
    block=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 20)),
    values=st.integers(1, 4),
    touching=st.booleans(),
)
def test_components_of_any_labels(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shape: tuple[int, int, int],
    block: tuple[int, int, int],
    values: int,
    touching: bool,
) -> None:
    # noise percolates: components wind through all blocks
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, values + 1, shape) * rng.integers(0, 2, shape)).astype(np.uint16)
    folder = tmp_path_factory.mktemp("labels")
    write_ome_zarr(folder / "labels.zarr", labels)
    function = BUILTIN["components"].with_options({"touching": str(touching)})
    expected = _parts(labels > 0 if touching else labels)
    np.testing.assert_array_equal(_applied(folder, function, block), expected)


def test_size(inputs: Path, command: Terapose) -> None:
    sizes = np.bincount(LABELS.reshape(-1))
    least, most = np.quantile(sizes[sizes > 0][1:], (0.3, 0.8)).astype(int)
    found = _same(inputs, command, "--with", "size", "--set", f"min={least}", "--set",
                  f"max={most}")  # fmt: skip
    kept = np.flatnonzero((sizes >= least) & (sizes <= most) & (np.arange(len(sizes)) > 0))
    rank = np.zeros(len(sizes), np.uint32)
    rank[kept] = np.arange(1, len(kept) + 1)
    assert 0 < len(kept) < len(np.unique(LABELS)) - 1
    np.testing.assert_array_equal(found, rank[LABELS])


def test_merge_by_a_table(inputs: Path, command: Terapose) -> None:
    table = inputs / "merge.csv"
    table.write_text("CellID;NewID\n3;9\n6;9\n12;0\n15;1000000\n")
    found = _same(inputs, command, "--with", "merge", "--set", f"table={table}")
    new = LABELS.astype(np.int64)
    for one, other in ((3, 9), (6, 9), (12, 0), (15, 10**6)):
        new[one == LABELS] = other
    np.testing.assert_array_equal(found, np.unique(new, return_inverse=True)[1].reshape(new.shape))
    for text, sentence in {
        "CellID,NewID\n4,5\n": "CellID 4",
        "CellID,Other\n3,5\n": "lacks a column",
        "CellID,NewID\n3,5\n3,6\n": "line 3 is wrong",
        "CellID,NewID\n3,-5\n": "line 2 is wrong",
    }.items():
        table.write_text(text)
        words = ("process", inputs / "labels.zarr", inputs / "b.zarr", "--with", "merge")
        said = command(*words, "--set", f"table={table}")
        assert said.code == 2 and sentence in said.err, said.err
    assert not (inputs / "b.zarr").exists()


def test_split(inputs: Path, command: Terapose) -> None:
    joined = (LABELS > 0).astype(np.uint8)
    shutil.rmtree(inputs / "labels.zarr")
    write_ome_zarr(inputs / "labels.zarr", joined)
    found = _same(inputs, command, "--with", "split", "--set", "distance=6")
    np.testing.assert_array_equal(found > 0, joined > 0)
    # balls that touch are found again
    centres = np.unique(LABELS)[1:]
    assert 0.8 * len(centres) <= found.max() <= 1.2 * len(centres)
    assert len(np.unique(found)) == found.max() + 1
    whole = _same(inputs, command, "--with", "split", "--set", "distance=500")
    assert whole.max() == 1


LOCAL = """
import numpy as np
from scipy.ndimage import grey_erosion
HALO = (1, 2, 2)
OPTIONS = {"least": 0}
def process(labels, image, block):
    lowest = grey_erosion(labels, (3, 5, 5), mode="nearest")
    labels[lowest != labels] = 0
    labels[labels <= block.options["least"]] = 0
    return labels
"""


def test_a_local_function_of_names(inputs: Path, command: Terapose) -> None:
    found = _same(inputs, command, "--with", _written(inputs, LOCAL), "--set", "least=9")
    eroded = np.where(grey_erosion(LABELS, (3, 5, 5), mode="nearest") == LABELS, LABELS, 0)
    eroded[eroded <= 9] = 0
    np.testing.assert_array_equal(found, _parts(eroded))
    assert not list(inputs.glob("__pycache__"))


@pytest.mark.parametrize("returns", ["names", "ids"])
def test_a_halo_that_is_too_small_is_noticed(inputs: Path, command: Terapose, returns: str) -> None:
    source = _written(inputs, f"{LOCAL}\nRETURNS = '{returns}'\n")
    words = ("process", inputs / "labels.zarr", inputs / "b.zarr", "--with", source)
    said = command(*words, "--block-shape", "7,60,19", "--halo", 0)
    assert said.code == 2 and "not local within its halo" in said.err, said.err
    assert not (inputs / "b.zarr").exists()


IDS = """
from scipy.ndimage import maximum_filter
HALO, RETURNS = 2, "ids"
def process(labels, image, block):
    assert image.shape == (1, *labels.shape)
    grown = maximum_filter(labels, 5, mode="nearest")
    grown[image[0] < 200] = 0
    return grown
"""


def test_a_local_function_of_ids_and_an_image(inputs: Path, command: Terapose) -> None:
    words = ("--with", _written(inputs, IDS), "--image", inputs / "image.zarr")
    found = _same(inputs, command, *words)
    grown = np.where(IMAGE < 200, 0, maximum_filter(LABELS, 5, mode="nearest"))
    expected = np.unique(grown, return_inverse=True)[1].reshape(grown.shape)
    np.testing.assert_array_equal(found, expected)


OBJECTS = """
import numpy as np
EACH, HALO = "object", (0, 1, 1)
def process(labels, image, block):
    own = image[0][labels > 0]
    names = labels * (1 + (image[0] > np.median(own)))
    image[...] = 0
    labels[...] = 0
    assert block.stop[0] - block.start[0] == names.shape[0] and block.voxel_size == (2, 0.5, 0.5)
    return names
"""


def test_a_function_of_objects(inputs: Path, command: Terapose) -> None:
    words = ("--with", _written(inputs, OBJECTS), "--image", inputs / "image.zarr")
    found = _same(inputs, command, *words)
    names = np.zeros(LABELS.shape, np.int64)
    for number in np.unique(LABELS)[1:]:
        own = number == LABELS
        names[own] = 2 * number + (IMAGE[own] > np.median(IMAGE[own]))
    expected = np.unique(names, return_inverse=True)[1].reshape(names.shape)
    np.testing.assert_array_equal(found, expected)


def test_a_function_of_numbers_and_a_plane(tmp_path: Path, command: Terapose) -> None:
    plane = LABELS[12].astype(np.uint64) * np.uint64(2**40)
    write_tiff(tmp_path / "labels.tif", plane, kind="tiled")
    source = _written(
        tmp_path,
        "import numpy as np\nOPTIONS = {'base': 1}\n"
        "def renumber(ids, sizes, options):\n    return sizes // options['base']\n",
    )
    words = ("process", tmp_path / "labels.tif", tmp_path / "b.zarr", "--with", source)
    assert command(*words, "--set", "base=40", "--block-shape", "1,20,30").code == 0
    found, sizes = open_labels(tmp_path / "b.zarr"), np.bincount(LABELS[12].reshape(-1)) // 40
    sizes[0] = 0
    expected = np.unique(sizes[LABELS[12]], return_inverse=True)[1].reshape(plane.shape)
    np.testing.assert_array_equal(found[:, :, :][0], expected)
    assert found.image.axes == "YX"


def test_levels_scale_and_record(inputs: Path, command: Terapose) -> None:
    shifts = ((4.0, 3.0, 2.0),)
    labels = write_ome_zarr(inputs / "a.zarr", np.tile(LABELS, (1, 5, 1)), voxel_size=SIZE,
                            translations=shifts)  # fmt: skip
    words = ("process", labels, inputs / "b.zarr", "--with", "components")
    assert command(*words, "--ome-zarr-version", "0.4").code == 0
    fine = open_labels(inputs / "b.zarr").image
    assert fine.format == "ome-zarr-0.4" and fine.levels == 2
    assert fine.voxel_size == SIZE and fine.origin == shifts[0]
    coarse = np.asarray(zarr.open_array(inputs / "b.zarr/cells/1", mode="r"))
    np.testing.assert_array_equal(coarse, fine.read((slice(None),) * 3)[:, ::2, ::2])
    about: Any = zarr.open_group(inputs / "b.zarr/cells", mode="r").attrs["terapose"]
    assert about["process"]["with"] == "components"


def test_nothing_at_all(tmp_path: Path, command: Terapose) -> None:
    write_ome_zarr(tmp_path / "labels.zarr", np.zeros((4, 9, 9), np.int16))
    for name in ("components", "split", "size"):
        words = ("process", tmp_path / "labels.zarr", tmp_path / f"{name}.zarr", "--with", name)
        assert command(*words, "--block-shape", "4,5,5").out.endswith(": 0 objects\n")
        assert not open_labels(tmp_path / f"{name}.zarr")[:, :, :].any()


WRONG = {
    "def process(labels, image, block):\n    return 1 / 0\n": "mine.py, line 2: the function fails",
    "def process(labels, image, block):\n    return labels[1:]\n": "does not return what it should",
    "def process(labels, image, block):\n    return labels / 2\n": "values of type float64",
    "EACH = 'object'\ndef process(labels, image, block):\n    return labels + 1\n": "outside the",
    "EACH = 'cell'\ndef process(labels, image, block):\n    return labels\n": "EACH is wrong",
    "HALO = -1\ndef process(labels, image, block):\n    return labels\n": "is not a halo",
    "def renumber(ids, sizes, options):\n    return ids[:2]\n": "a whole number from 0 for each",
    "def other():\n    pass\n": "defines no function",
    "def process(labels, image, block):\n    exit(0)\n": "mine.py, line 2: the function fails",
    "raise SystemExit(3)\n": "mine.py, line 1: the function fails",
    "import nothing_of_this_name\n": "mine.py, line 1: the function fails",
    "def process(:\n": "SyntaxError",
}


@pytest.mark.parametrize("text", WRONG)
def test_functions_that_are_wrong(inputs: Path, command: Terapose, text: str) -> None:
    source = _written(inputs, text)
    said = command("process", inputs / "labels.zarr", inputs / "b.zarr", "--with", source)
    assert said.code == 2 and WRONG[text] in said.err, said.err
    assert not (inputs / "b.zarr").exists()


def test_what_is_refused(inputs: Path, command: Terapose) -> None:
    write_ome_zarr(inputs / "small.zarr", IMAGE[:, :-1])
    mine, numbers = inputs / "mine.py", inputs / "numbers.py"
    mine.write_text("def process(labels, image, block):\n    return labels\n")
    numbers.write_text("def renumber(ids, sizes, options):\n    return ids\n")
    for words, sentence in {
        ("--with", "sizes"): "did you mean size?",
        ("--with", "nothing.py"): "cannot be read",
        ("--with", "size", "--set", "least=3"): "has no option least",
        ("--with", "size", "--set", "min=x"): "is of another type",
        ("--with", "size", "--set", "min"): "is not an option",
        ("--with", "size", "--halo", 2): "has no halo",
        ("--with", "merge"): "needs a table",
        ("--with", "split", "--image", inputs / "small.zarr"): "--image: the function sees no",
        ("--with", "size", "--channels", 1): "--channels: the function sees no image",
        ("--with", numbers, "--image", inputs / "small.zarr"): "the function sees no image",
        ("--with", mine, "--image", inputs / "small.zarr"): "differ in shape",
        ("--with", mine, "--channels", 1): "there is no image",
    }.items():
        said = command("process", inputs / "labels.zarr", inputs / "b.zarr", *words)
        assert said.code == 2 and sentence in said.err, said.err
    zarr.create_array(str(inputs / "float.zarr"), data=IMAGE.astype(np.float32))
    words = ("process", inputs / "float.zarr", inputs / "b.zarr", "--with", "size")
    assert "must have whole numbers" in command.refuses(*words)
    negative = LABELS.astype(np.int32) - 1
    zarr.create_array(str(inputs / "negative.zarr"), data=negative)
    said = command("process", inputs / "negative.zarr", inputs / "b.zarr", "--with", "size")
    assert said.code == 2 and "whole numbers from 0 up" in said.err
    assert not (inputs / "b.zarr").exists()


def test_interruptions_do_not_show(inputs: Path, command: Terapose) -> None:
    places = ("process", inputs / "labels.zarr", inputs / "b.zarr")
    words = (*places, "--with", "components", "--block-shape", "10,30,35")
    assert command(*words).code == 0
    expected = _content(inputs / "b.zarr")
    (inputs / "b.zarr").rename(inputs / "first.zarr")
    killed("table: before it is renamed", 3, *words)
    killed("receipt: after it is written", 8, *words)
    (folder,) = inputs.glob(".b.zarr.*.unfinished")
    (folder / "applied" / "0.npz").write_bytes(b"")
    assert not (inputs / "b.zarr").exists()
    assert command(*words).code == 0
    assert _content(inputs / "b.zarr") == expected
    assert not list(inputs.glob(".b.zarr*"))
