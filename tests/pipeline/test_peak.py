"""The peak of memory that a receipt tells is that of its task, whatever its process did before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.fields import checkerboard, segment_field, to_centres

from terapose.pipeline import peak, running
from terapose.pipeline.job import Receipt
from terapose.pipeline.local import Runner
from terapose.pipeline.running import run
from terapose.pipeline.stage import Stage
from terapose.pipeline.state import Step

MB = 10**6


def touched(size: int) -> None:
    """Hold so many bytes for a moment."""
    assert np.ones(size, np.uint8).sum() == size


@pytest.fixture
def resets() -> None:
    """Asked of the kernel itself, in this process as it is now: some take the request in vain."""
    touched(300 * MB)
    before = peak.peak_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not reset a process's peak")
    if peak.peak_memory() > before - 200 * MB:
        pytest.skip("a reset leaves this process's peak where it was")


@pytest.mark.usefixtures("resets")
def test_a_peak_is_forgotten() -> None:
    touched(300 * MB)
    before = peak.peak_memory()
    assert peak.forget_peak()
    assert peak.peak_memory() < before - 200 * MB
    touched(300 * MB)
    assert peak.peak_memory() > before - 100 * MB


@pytest.mark.parametrize(
    ("peak_mb", "held_mb", "forgotten"), [(900, 400, False), (410, 400, True), (400, 400, True)]
)
def test_a_request_that_does_nothing_is_noticed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    peak_mb: int,
    held_mb: int,
    forgotten: bool,
) -> None:
    # figures as a kernel may show them after the request: no two kernels agree on their own
    status = tmp_path / "status"
    status.write_text(
        f"Name:\tpython\nVmHWM:\t{peak_mb * 1024} kB\nVmRSS:\t{held_mb * 1024} kB\nThreads:\t1\n"
    )
    monkeypatch.setattr(peak, "_STATUS", status)
    monkeypatch.setattr(peak, "_RESET", tmp_path / "clear_refs")
    assert peak.forget_peak() is forgotten
    assert peak.peak_memory() == peak_mb * 1024**2


def receipts_of_two(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> list[Receipt]:
    """Receipts of two tasks in this process; the first takes 300 MB, the second next to nothing."""
    field = to_centres(checkerboard((8, 24, 24), 8))
    result = segment_field(tmp_path, model, field, block_shape=(8, 12, 24), max_tasks=2)
    result.store.drop("done")

    def work(job: Any) -> dict[str, Any]:
        if not job.task:
            touched(300 * MB)
        return {}

    monkeypatch.setattr(Stage, "implementation", SimpleNamespace(run=work))
    runner = Runner(result.plan, result.store)
    state = result.states["seeds"]
    return [run(runner.job("masks", {}, state, task)) for task in range(2)]


@pytest.mark.usefixtures("resets")
def test_a_task_tells_its_own_peak(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = receipts_of_two(tmp_path, tiny_model, monkeypatch)
    assert second["peak_memory"] < first["peak_memory"] - 200 * MB


def test_where_it_cannot_be_told_it_is_null(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "_RESET", tmp_path / "no" / "clear_refs")
    receipts = receipts_of_two(tmp_path, tiny_model, monkeypatch)
    assert [receipt["peak_memory"] for receipt in receipts] == [None, None]
    step = Step(stage="masks", key="k", params={}, tasks=2, seconds=1.0, peak_memory=None)
    assert step.record()["peak_memory"] is None


@pytest.mark.parametrize(
    ("peaks", "largest"), [([], 0), ([3, 7], 7), ([3, None], None), ([None], None)]
)
def test_the_largest_is_known_if_all_are(peaks: list[int | None], largest: int | None) -> None:
    assert running._largest(peaks) == largest
