"""A folder with an image, its results and their store, in which runs are broken in every way.

A `World` segments in forked children, so that a kill is a real one. `Trouble` says what happens to
a run, at which of its *points* (`terapose.io.files.point`: before and after each write and rename).
What may come of it is little: either the results are those of an undisturbed run, byte for byte,
and whole, or there is one sentence and, run again, those results. `World.check` and `World.settle`
say so; `tests/reliability/test_machine.py` goes through random sequences of troubles.

Whoever writes a stage runs `python -m pytest tests/reliability`, and `make soak` for longer.
"""

from __future__ import annotations

import errno
import importlib
import os
import pickle
import random
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.registry import CPUDispatcher, cpu_target
from tests.synthetic import nuclei, write_zarr

from terapose.api import runner
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io import files
from terapose.pipeline.graph import EVERY
from terapose.pipeline.local import Runner
from terapose.results.verify import faults

SHAPE = (6, 44, 48)
DIAMETER = 60.0
"""Twice that of the network, which so sees a quarter of the tiles."""
CUTS: tuple[dict[str, Any], ...] = (
    {},
    {"block_shape": (3, 24, 48), "slab_planes": 16, "max_tasks": 3},
    {"block_shape": (6, 22, 24), "slab_planes": 24, "max_tasks": 2, "rectangle": 224},
)
THRESHOLDS = (-0.5, -0.2)
PATIENCE = 300
"""Seconds after which a run hangs; it takes less than one."""
KINDS = ("kill", "full", "damage", "remove", "swap", "twin")


_WARM = ("terapose", "torch", "pandas", "pyarrow", "scipy", "zarr", "numcodecs", "PIL")
"""Packages of which a run imports modules."""


@dataclass
class Trouble:
    """What happens to a run.

    Attributes
    ----------
    kind
        One of `KINDS`; "" lets it run undisturbed.
    at
        The number of the point at which it happens, or the name of a point and how often it is
        passed before.
    seed
        Of what is chosen at random.
    """

    kind: str = ""
    at: int | tuple[str, int] = 0
    seed: int = 0
    passed: dict[str, int] = field(default_factory=dict)
    is_over: bool = False

    def point(self, world: World, name: str) -> None:
        """Called at each point of a run."""
        count = self.passed[name] = self.passed.get(name, -1) + 1
        here = (name, count) == self.at or sum(self.passed.values()) + len(self.passed) == self.at
        if self.kind == "full" and (here or self.is_over):
            self.is_over = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(world.out))
        if not here or self.is_over:
            return
        self.is_over = True
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind in ("damage", "remove"):
            world.damage(self.seed, remove=self.kind == "remove")
        if self.kind == "swap":
            world.swap()
        if self.kind == "twin":
            world.twin()


@dataclass
class World:
    """Where runs are broken.

    Attributes
    ----------
    folder
        With the image, the results (`out`) and, while they are made, everything else.
    model
        Weights of a network.
    truths
        What undisturbed runs give, by version of the image and threshold; filled when needed, and
        shared between worlds.
    """

    folder: Path
    model: Path
    truths: dict[tuple[int, float], dict[str, bytes]]
    version: int = 0
    cut: dict[str, Any] = field(default_factory=dict)
    threshold: float = THRESHOLDS[0]
    _go: int = -1

    def __post_init__(self) -> None:
        self._write_image(self.folder, 0)
        self._put_image(self.folder, 0)
        if not self.truths:
            self._warm_up()

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return self.folder / "out"

    @property
    def stores(self) -> list[Path]:
        """Folders of the stores."""
        return [p for p in (self.out / ".terapose").glob("*") if p.is_dir()]

    # -- troubles ------------------------------------------------------------------------------

    def damage(self, seed: int, *, remove: bool = False) -> None:
        """Change a bit, cut off, empty, remove or exchange a file of the store."""
        chosen = random.Random(seed)
        found = sorted(p for store in self.stores for p in store.rglob("*") if p.is_file())
        if not found:
            return
        file = chosen.choice(found)
        content = bytearray(file.read_bytes())
        ways = ("flip", "flip", "cut", "zeros", "empty", "exchange")
        how = "remove" if remove else chosen.choice(ways)
        if how == "remove":
            file.unlink()
        elif how == "flip" and content:
            content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
            file.write_bytes(content)
        elif how == "cut":
            file.write_bytes(content[: chosen.randrange(len(content) + 1)])
        elif how == "zeros":
            file.write_bytes(bytes(len(content)))
        elif how == "exchange":
            other = chosen.choice(found)
            file.write_bytes(other.read_bytes())
            other.write_bytes(content)
        else:
            file.write_bytes(b"")

    def swap(self) -> None:
        """Put another image in the place of the image."""
        self._put_image(self.folder, self.version + 1)

    def twin(self) -> None:
        """Let another process do all the tasks of this run at the same time, with its store."""
        os.write(self._go, b"!")

    def _begin_twin(self) -> None:
        """Fork the twin of the run that begins: once kernels have run, numba allows no fork."""
        wait, self._go = os.pipe()
        if os.fork():
            os.close(wait)
            return
        os.close(self._go)
        if not os.read(wait, 1):  # the run has ended before
            os._exit(0)
        files.at_point = lambda name: None
        os.nice(5)
        aside = self.folder / f"twin-{os.getpid()}"
        aside.mkdir()
        (aside / ".terapose").symlink_to(self.out / ".terapose")
        try:
            self._segment(aside)
        except BaseException:
            os._exit(1)
        os._exit(0)

    # -- runs ----------------------------------------------------------------------------------

    def run(self, trouble: Trouble | None = None, order: int = 0) -> str:
        """Segment in a child; returns "done", "killed", or what was said.

        Raises
        ------
        AssertionError
            If it ended in a traceback.
        """
        trouble = trouble or Trouble()
        begin = self.version
        if trouble.kind == "swap":  # written before: zarr may be at work where it is put in place
            self._write_image(self.folder, begin + 1)

        def work() -> str:
            files.at_point = lambda name: trouble.point(self, name)
            Runner.order = staticmethod(_order(order))
            if trouble.kind == "twin":
                self._begin_twin()
            self._segment(self.out)
            return "done"

        said: str = in_child(work)
        if trouble.kind == "swap":
            self.version = self._version_there()
            if said == "done":
                # it came too late to be seen, or at the very end
                self.check({(begin, self.threshold), (self.version, self.threshold)})
                return said
        if said == "done":
            self.check({(self.version, self.threshold)})
        else:
            self.check(None)
        return said

    def _segment(self, out: Path) -> None:
        _segment(self.folder, out, self.model, self.threshold, **self.cut)

    def _warm_up(self) -> None:
        """Do what each child would take a second for: import modules, and load compiled kernels.

        What there is to do a child says that segments. Nothing may run here: neither torch nor
        numba goes on after a fork in a process in which it has.
        """
        modules, kernels = in_child(self._loaded)
        for name in modules:
            importlib.import_module(name)
        cpu_target.target_context.refresh()
        cpu_target.typing_context.refresh()
        for (module, name), signatures in kernels.items():
            for signature in signatures:
                getattr(importlib.import_module(module), name).compile(signature)
        for stage in EVERY:
            assert stage.calls or stage.code  # which is remembered

    def _loaded(self) -> tuple[list[str], dict[tuple[str, str], list[Any]]]:
        """Modules that a run imports, and signatures of the kernels in them, by their names."""
        _segment(self.folder, self.folder / "warm-up", self.model, self.threshold, **CUTS[1])
        names = [name for name in sys.modules if name.partition(".")[0] in _WARM]
        kernels = {
            (name, key): list(value.signatures)
            for name in names
            for key, value in vars(sys.modules[name]).items()
            # loading one that runs in threads starts these
            if isinstance(value, CPUDispatcher) and not value.targetoptions.get("parallel")
        }
        return names, kernels

    # -- what has to hold ----------------------------------------------------------------------

    def check(self, allowed: set[tuple[int, float]] | None) -> None:
        """Results that say they are complete are whole, and those of an undisturbed run."""
        if not (self.out / "provenance.json").exists():
            assert allowed is None, "done, but there is no record"
            return
        assert not faults(self.out)
        found = outcome(self.out)
        known = allowed or {(v, t) for v in range(self.version + 1) for t in THRESHOLDS}
        assert any(found == self.truth(*one) for one in known), "other results"

    def settle(self) -> None:
        """Without further trouble the results are those of an undisturbed run."""
        said = self.run()
        assert said == "done", said

    def truth(self, version: int, threshold: float) -> dict[str, bytes]:
        """What an undisturbed run gives, in one block and one task."""
        if (version, threshold) not in self.truths:
            folder = self.folder / f"truth-{version}-{threshold}"
            folder.mkdir()
            self._write_image(folder, version)
            self._put_image(folder, version)
            said = in_child(lambda: _segment(folder, folder / "out", self.model, threshold))
            assert said == "done", said
            self.truths[version, threshold] = outcome(folder / "out")
            shutil.rmtree(folder)
        return self.truths[version, threshold]

    def _write_image(self, folder: Path, version: int) -> None:
        place = folder / f"image-{version}.zarr"
        if not place.exists():
            write_zarr(place, nuclei(SHAPE, seed=version)[0].astype(np.uint16))
            (place / "version").write_text(str(version))

    def _put_image(self, folder: Path, version: int) -> None:
        files.put_in_place(folder / f"image-{version}.zarr", folder / "image.zarr")

    def _version_there(self) -> int:
        return int((self.folder / "image.zarr" / "version").read_text())


def _segment(folder: Path, out: Path, model: Path, threshold: float, **cut: Any) -> str:
    params = {"model": str(model), "diameter": DIAMETER, "cellprob_threshold": threshold, **cut}
    runner.segment_file(str(folder / "image.zarr"), out, check(params))
    return "done"


def _order(seed: int) -> Callable[[int], list[int]]:
    def order(total: int) -> list[int]:
        numbers = list(range(total))
        random.Random(seed).shuffle(numbers)
        return numbers

    return order


def outcome(out: Path) -> dict[str, bytes]:
    """All that a user gets, but the record."""
    found = [*(out / "labels.zarr").rglob("*"), out / "cells.csv"]
    return {str(p.relative_to(out)): p.read_bytes() for p in found if p.is_file()}


def in_child(work: Callable[[], Any]) -> Any:
    """Do it in a forked process; what it returned, "killed", or the sentence it ended in."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        said: tuple[str, object] = ("", "")
        try:
            said = ("said", work())
        except (InputError, OSError) as error:
            said = ("said", f"{type(error).__name__}: {error}")
        except BaseException:
            said = ("traceback", traceback.format_exc())
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(said, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        if not select.select([pipe], [], [], PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"a run hangs: nothing for {PATIENCE} s")
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    kind, text = pickle.loads(answer)
    assert kind == "said", text
    return text
