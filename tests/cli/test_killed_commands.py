"""Commands that write files or folders, killed in the middle, and two of them into one place.

Nothing half-written has a final name, the same command again gives what it would have given, and of
two at once both end with it, or one says why it does not. Each runs in a process that is forked
from one Python, and is killed (SIGKILL) at a point of `terapose.io.files`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.command import EXECUTABLE
from tests.synthetic import nuclei, write_ome_zarr, write_tiff

from terapose import measure

_FORKS = """
import json, os, signal, sys, time
import h5py, numba, numpy, pandas, pyarrow.parquet, scipy.ndimage, tifffile, torch, zarr
from terapose import cli
from terapose.io import files
import terapose.api.measuring, terapose.api.runner

def child(words, die_at, together):
    passed = 0
    def at_point(name):
        nonlocal passed
        passed += 1
        if passed == 1 and together:
            # both have begun before either of them writes
            os.write(together[1], b"x")
            latest = time.monotonic() + 300
            while os.stat(together[0]).st_size < 2:
                time.sleep(0.01)
                if time.monotonic() > latest:
                    print("the other one has not begun", file=sys.stderr, flush=True)
                    os._exit(3)
        if passed == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
    files.at_point = at_point
    sys.argv = ["terapose", *words]
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    sys.stderr.flush()
    print("points", passed, file=sys.stderr, flush=True)
    os._exit(code)

for line in sys.stdin:
    asked = json.loads(line)
    os.chdir(asked["folder"])
    together = None
    if asked["count"] > 1:
        open(asked["said"] + "gate", "wb").close()
        gate = os.open(asked["said"] + "gate", os.O_WRONLY | os.O_APPEND)
        together = asked["said"] + "gate", gate
    running = []
    for number in range(asked["count"]):
        pid = os.fork()
        if not pid:
            said = os.open(asked["said"] + str(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 2)
            os.dup2(said, 1)
            child(asked["words"], asked["die_at"], together)
        running.append(pid)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running]))
    sys.stdout.flush()
"""


class Done(NamedTuple):
    """How a process has ended, what it has said, and how many points it has passed."""

    code: int
    said: str

    @property
    def points(self) -> int:
        """Points that it has passed."""
        return int(self.said.rpartition("points ")[2])


class Forks:
    """Runs command lines, each in a process of its own."""

    def __init__(self, said: Path) -> None:
        self._said = said
        root = EXECUTABLE.parents[1]
        paths = {"PYTHONPATH": f"{EXECUTABLE.parent}:{root}", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **paths},
        )

    def __call__(self, folder: Path, *words: str, die_at: int = 0, count: int = 1) -> list[Done]:
        """Run a command in a folder, several times at once, killed at a point."""
        process, said = self._process, str(self._said / "said")
        asked = {"folder": str(folder), "words": words, "die_at": die_at, "count": count}
        assert process.stdin is not None and process.stdout is not None
        print(json.dumps({**asked, "said": said}), file=process.stdin, flush=True)
        codes = json.loads(process.stdout.readline())
        return [Done(code, Path(f"{said}{n}").read_text()) for n, code in enumerate(codes)]

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """One Python that forks."""
    made = Forks(tmp_path_factory.mktemp("said"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """What commands need: an image, labels, results, weights, a manifest and an empty folder."""
    folder = tmp_path_factory.mktemp("inputs")
    image, labels = (np.asarray(part[4:5]) for part in nuclei((9, 40, 44), spacing=12, seed=5))
    write_ome_zarr(folder / "image.zarr", image[0], axes="yx", chunks=(20, 22))
    write_tiff(folder / "labels.tif", labels.astype(np.uint16))
    write_tiff(folder / "image.tif", image)
    write_ome_zarr(folder / "volume.zarr", nuclei((9, 20, 20), spacing=12)[1].astype(np.uint16))
    given = folder / "image.zarr", folder / "labels.tif", folder / "results"
    measure(*given, table="csv,h5ad", workers=1, progress=False)
    shutil.copyfile(tiny_model, folder / "tiny.pth")
    (folder / "scores").mkdir()
    (folder / "manifest.csv").write_text(
        "crop_name,dataset,class_label,voxel_size,translation,shape\n"
        "1,a,volume,[1;1;1],[0;0;0],[9;20;20]\n"
    )
    return folder


COMMANDS = {
    "crop": ("crop image.zarr OUT.zarr --pyramid mean -p 1", "OUT.zarr"),
    "process": ("process results/labels.zarr OUT.zarr --with components -p 1", "OUT.zarr"),
    "pack": ("pack manifest.csv {label}.zarr OUT.zip", "OUT.zip"),
    "crate": ("crate results", "results/ro-crate-metadata.json"),
    "spatialdata": ("spatialdata results OUT.zarr --copy-image", "OUT.zarr"),
    "npy": ("npy results/labels.zarr image_seg.npy", "image_seg.npy"),
    "measure": ("measure image.zarr labels.tif OUT --jobs 1", "OUT"),
    "attach": ("attach results image.zarr", "image.zarr/labels"),
    "tune": (
        "tune image.tif OUT --model tiny.pth --mode 2d --diameter 12 --regions 1 --size 40,44 "
        "--sweep cellprob_threshold=1",
        "OUT",
    ),
    "evaluate": (
        "evaluate labels.tif results/labels.zarr --json scores/a.json --csv scores/a.csv "
        "--picture scores/a.png",
        "scores",
    ),
}
TIMES = {"provenance.json", "ro-crate-metadata.json", "tune.json"}
"""Files that hold times: they are whole, not the same."""


def contents(path: Path) -> dict[str, bytes]:
    """Bytes of what has a final name, by name."""
    if path.is_file():
        return {path.name: _bytes(path)}
    names = (one.relative_to(path) for one in sorted(path.rglob("*")) if one.is_file())
    final = (n for n in names if not any(part.startswith(".") for part in n.parts))
    return {str(name): _bytes(path / name) for name in final}


def _bytes(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name not in TIMES:
        return content
    assert isinstance(json.loads(content), dict)
    return b"a document"


def refused(done: Done) -> bool:
    """Whether a command has ended with one sentence."""
    return done.code == 2 and "terapose: " in done.said and "Traceback" not in done.said


@pytest.fixture
def place(inputs: Path, tmp_path: Path) -> Callable[[], Path]:
    """A new copy of the inputs, always in the same place: files name it."""

    def copy() -> Path:
        folder = tmp_path / "here"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(inputs, folder)
        return folder

    return copy


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_and_twice(forks: Forks, place: Callable[[], Path], name: str) -> None:
    line, out = COMMANDS[name]
    whole = place()
    (done,) = forks(whole, *line.split())
    assert done.code == 0 and done.points >= 2, done.said
    known: Any = contents(whole / out)
    assert known
    for die_at in sorted({2, done.points // 2, done.points - 1}):
        folder = place()
        (end,) = forks(folder, *line.split(), die_at=die_at)
        assert end.code == -9, end.said
        left = contents(folder / out) if (folder / out).exists() else {}
        assert left == {key: known[key] for key in left}, f"point {die_at}"
        (again,) = forks(folder, *line.split())
        # what was complete already is not replaced unless it is asked for
        assert again.code == 0 or (left == known and refused(again)), again.said
        assert contents(folder / out) == known
    both = place()
    ends = forks(both, *line.split(), count=2)
    assert any(end.code == 0 for end in ends), ends
    assert all(end.code == 0 or refused(end) for end in ends), ends
    assert contents(both / out) == known
