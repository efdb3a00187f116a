"""Tasks of the local run share the cores: fewer tasks than processes have more threads each."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import terapose
from terapose.io.store.store import Store
from terapose.pipeline.graph import STAGES
from terapose.pipeline.local import Pool, Runner
from terapose.pipeline.plan import Plan
from terapose.pipeline.state import State

BIN = Path(terapose.__file__).parents[1]
USED = """
import os
import sys
from terapose.core.threads import limit, use

limit(2, numba=3)
use(1, None)
assert not {"numba", "torch"} & set(sys.modules)
use(1, "numba")
import numba
print(numba.get_num_threads(), end=" ")
for count in (3, 1, 2):
    use(count, "numba")
    use(count, "torch")
    import torch
    print(torch.get_num_threads(), numba.get_num_threads(), end=" ")
use(8, "numba")
print(torch.get_num_threads(), numba.get_num_threads(), os.environ["OMP_NUM_THREADS"])
"""


class Noting(Pool):
    """Notes what is submitted to it, and runs nothing."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.shares: list[int] = []

    def submit(self, *words: Any, **_: Any) -> Future[Any]:
        """Note the last word."""
        self.shares.append(words[-1])
        done = Future[Any]()
        done.set_result(None)
        return done


def test_libraries_follow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", USED],
        env={**os.environ, "PYTHONPATH": str(BIN)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # numba never has more than it was allowed
    assert done.stdout.split() == ["1", "3", "3", "1", "1", "2", "2", "2", "3", "2"]


@pytest.mark.parametrize(
    ("workers", "gpus", "tasks", "share"),
    [(16, 0, 2, 8), (16, 0, 16, 1), (16, 0, 40, 1), (4, 0, 3, 5), (4, 0, 40, 4), (4, 2, 40, 8)],
)
def test_no_core_is_left_to_itself(workers: int, gpus: int, tasks: int, share: int) -> None:
    plan = SimpleNamespace(tasks={"gradients-yx": range(tasks)}, dump=lambda: "")
    store = SimpleNamespace(address="", run="")
    pool, own = Noting(workers), [Noting(1) for _ in range(gpus)]
    runner = Runner(cast(Plan, plan), cast(Store, store), pool, gpus=own, cores=16)
    runner.scatter("gradients-yx", {}, State())
    assert [one for some in own or [pool] for one in some.shares] == [share] * tasks


@pytest.mark.parametrize("stage", ["gradients-yx", "follow"])
def test_stages_that_use_gpus_have_them(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which do is in their description: here one does that is no pass of the network."""
    described = STAGES[stage]
    takes = {*described.parameters, "use_gpu"}
    monkeypatch.setitem(STAGES, stage, replace(described, parameters=tuple(sorted(takes))))
    plan = SimpleNamespace(tasks={stage: range(4), "masks": range(4)}, dump=lambda: "")
    store = SimpleNamespace(address="", run="")
    pool, own = Noting(2), [Noting(1), Noting(1)]
    runner = Runner(cast(Plan, plan), cast(Store, store), pool, gpus=own, cores=2)
    runner.scatter(stage, {}, State())
    assert [len(gpu.shares) for gpu in own] == [2, 2] and not pool.shares
    runner.scatter("masks", {}, State())
    assert len(pool.shares) == 4
