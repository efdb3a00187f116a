"""AnnData files: what anndata itself would write, in bounded memory, on disks that become full."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from tests.command import EXECUTABLE

from terapose.core.tables import Table
from terapose.io.tables.h5ad import _Patient
from terapose.io.tables.writers import write_table

MARKERS = ["DNA", "CD3/CD4", "\N{GREEK SMALL LETTER ALPHA}"]


def rows(first: int, count: int) -> Table:
    """Cells with a random value of each type."""
    rng = np.random.default_rng(first)
    error = rng.random(count)
    error[::7] = np.nan
    return {
        "CellID": np.arange(first, first + count),
        **{name: rng.random(count).astype(np.float32) for name in MARKERS},
        "X_centroid": rng.random(count),
        "Y_centroid": rng.random(count),
        "Area": rng.integers(1, 99, count),
        "FlowError": error,
        "CellProbability": rng.random(count).astype(np.float32),
        "TouchesBorder": rng.random(count) < 0.3,
    }


def written_by_anndata(path: Path, table: pd.DataFrame) -> None:
    """The same as anndata writes it."""
    obs = table[[name for name in table if name not in MARKERS]]
    obs = obs.assign(
        imageid=pd.Categorical(["slide"] * len(obs), categories=["slide"]),
        region=pd.Categorical(["cells"] * len(obs), categories=["cells"]),
    )
    obs.index = pd.Index([f"slide_{number}" for number in obs["CellID"]], dtype=str)
    keys = {"region": "cells", "region_key": "region", "instance_key": "CellID"}
    anndata.AnnData(
        table[MARKERS].to_numpy(),
        obs=obs,
        var=pd.DataFrame(index=pd.Index(MARKERS, dtype=str)),
        obsm={"spatial": table[["X_centroid", "Y_centroid"]].to_numpy()},
        uns={"all_markers": np.array(MARKERS, dtype=object), "spatialdata_attrs": keys},
    ).write_h5ad(path)


def contents(path: Path) -> dict[str, dict[str, Any]]:
    """Attributes, types and shapes of all that is in a file."""
    found: dict[str, dict[str, Any]] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found[name] = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            found[name] |= {"type": item.dtype, "shape": item.shape}

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return found


@pytest.mark.parametrize("counts", [(0,), (5,), (9000, 1, 20_000)])
def test_the_file_is_that_of_anndata(tmp_path: Path, counts: tuple[int, ...]) -> None:
    firsts = np.cumsum([1, *counts])
    batches = [rows(int(first), count) for first, count in zip(firsts, counts, strict=False)]
    made, known = tmp_path / "made.h5ad", tmp_path / "known.h5ad"
    assert write_table(iter(batches), {"h5ad": made}, "slide", "cells") == sum(counts)
    written_by_anndata(known, pd.concat(map(pd.DataFrame, batches), ignore_index=True))
    assert contents(made) == contents(known)
    ours, theirs = anndata.read_h5ad(made), anndata.read_h5ad(known)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    pd.testing.assert_frame_equal(ours.var, theirs.var)
    np.testing.assert_array_equal(ours.X, theirs.X)
    np.testing.assert_array_equal(ours.obsm["spatial"], theirs.obsm["spatial"])
    assert str(ours) == str(theirs) and str(ours.uns) == str(theirs.uns)


def test_the_file_of_a_few_cells_is_small(tmp_path: Path) -> None:
    write_table([rows(1, 5)], {"h5ad": tmp_path / "a.h5ad"}, "slide", "cells")
    assert (tmp_path / "a.h5ad").stat().st_size < 65_536


@pytest.mark.parametrize("channels", [3, 40, 300])
def test_what_was_written_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    """HDF5 compresses all of a chunk anew for each batch if its cache has no room for the chunk."""
    sizes: list[int] = []
    write = _Patient.write

    def counted(file: _Patient, data: Any) -> int:
        sizes.append(write(file, data))
        return sizes[-1]

    monkeypatch.setattr(_Patient, "write", counted)
    place = {"X_centroid": np.zeros(200), "Y_centroid": np.zeros(200)}
    rng = np.random.default_rng(0)
    batches = (
        {"CellID": np.arange(200), **{f"m{n}": m for n, m in enumerate(values)}, **place}
        for values in (rng.random((channels, 200), np.float32) for _ in range(20))
    )
    write_table(batches, {"h5ad": tmp_path / "a.h5ad"}, "slide", "cells")
    assert sum(sizes) < 1.1 * (tmp_path / "a.h5ad").stat().st_size


_PEAK = """
import sys
from pathlib import Path
from tests.io.test_h5ad import rows
from terapose.io.tables.writers import write_table
from terapose.pipeline.peak import forget_peak, peak_memory
def batches(count):
    return (rows(1 + n * 65536, 65536) for n in range(count))
def write(made):
    write_table(made, {"h5ad": Path(sys.argv[1])}, "slide", "cells")
write(batches(1))
forget_peak()
before = peak_memory()
write(batches(16))
print((peak_memory() - before) // 2**20)
kept = list(batches(16))
print((peak_memory() - before) // 2**20)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """A million rows of 57 bytes; whoever kept them would be seen."""
    words = [sys.executable, "-c", _PEAK, str(tmp_path / "a.h5ad")]
    done = subprocess.run(words, capture_output=True, text=True, env=_paths(), check=True)
    written, kept = map(int, done.stdout.split())
    assert written < 25 < kept
    assert (tmp_path / "a.h5ad").stat().st_size > 80e6


def _paths() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {"PYTHONPATH": f"{root}:{EXECUTABLE.parent}"}


def endless() -> Iterator[Table]:
    """More rows than any disk has room for."""
    first = 1
    while True:
        yield rows(first, 5000)
        first += 5000


@pytest.mark.parametrize("size", ["100k", "3m"])
def test_a_full_disk_is_an_error(mount: Callable[[str], Path], size: str) -> None:
    path = mount(f"size={size}") / "a.h5ad"
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_table(endless(), {"h5ad": path}, "slide", "cells")
    assert caught.value.filename == str(path)


def test_a_disk_that_becomes_full_at_the_end_is_an_error(mount: Callable[[str], Path]) -> None:
    """There is room for some of what HDF5 writes as it is closed."""
    folder = mount("size=4m")
    write_table([rows(1, 500)], {"h5ad": folder / "whole.h5ad"}, "slide", "cells")
    size = (folder / "whole.h5ad").stat().st_size
    filler, path = folder / "filler", folder / "a.h5ad"
    for left in range(4096, size, size // 6):
        filler.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - left))
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_table([rows(1, 500)], {"h5ad": path}, "slide", "cells")
        assert caught.value.filename == str(path)


def test_what_could_not_be_written_can_be_read(mount: Callable[[str], Path]) -> None:
    file = _Patient(mount("size=8k") / "file")
    for number in range(5):
        assert file.write(bytes([number + 1]) * 3000) == 3000
    assert file.fault is not None and file.fault.errno == errno.ENOSPC
    file.seek(100)
    file.write(b"\xff" * 50)
    assert file.seek(0, 2) == 15_000
    file.seek(0)
    whole = bytearray(15_000)
    assert file.readinto(whole) == 15_000
    wanted = bytearray(b"".join(bytes([number + 1]) * 3000 for number in range(5)))
    wanted[100:150] = b"\xff" * 50
    assert whole == wanted
    file.close()
