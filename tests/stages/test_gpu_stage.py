"""The network's stage as it runs with a GPU: tiles are cut and added up on the device.

The CPU plays the device, with batches of one tile on one thread, as the CPU runs them otherwise.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.command import EXECUTABLE
from tests.fields import prepared
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.core import drivers
from terapose.core.devices import device_for, turn_of
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.labels.ome_zarr import open_level
from terapose.networks import base, on_device
from terapose.pipeline import running
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.job import Job
from terapose.pipeline.local import Runner, pool_of, pools_of_gpus, run_stages
from terapose.stages import gradients

CASES: tuple[dict[str, Any], ...] = (
    {"anisotropy": 2.0, "block_shape": (8, 24, 24)},
    {
        "mode": "2d",
        "block_shape": (2, 60, 60),
        "rectangle": 64,
        "flow_threshold": 0,
        "flow_precision": "float16",
    },
    {
        "mode": "stitch",
        "block_shape": (3, 80, 80),
        "rectangle": 70,
        "flow_threshold": 0,
        "augment": True,
        "skip_empty": 0.1,
    },
)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.get("mode", "3d"))
def test_the_labels_are_those_of_the_cpu(
    case: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_zarr(tmp_path / "a.zarr", nuclei((12, 90, 100), radius=6, spacing=15)[0]))
    params = check({"model": str(tiny_model), "diameter": 30, "cellprob_threshold": -0.5, **case})
    torch.set_num_threads(1)
    segment_file(path, tmp_path / "cpu", params)
    ran: list[int] = []
    run = on_device.run_on_device

    def counting(*args: Any, **more: Any) -> Any:
        ran.append(1)
        return run(*args, **more)

    monkeypatch.setattr(on_device, "BESIDE", ())
    monkeypatch.setattr(on_device, "run_on_device", counting)
    monkeypatch.setitem(base.BATCHES, "unet", 1)
    gradients._network.cache_clear()
    segment_file(path, tmp_path / "device", params)
    gradients._network.cache_clear()
    assert len(ran) > 2
    found, expected = (
        np.asarray(open_level(f"{tmp_path}/{name}/labels.zarr", 0)[:]) for name in ("device", "cpu")
    )
    assert expected.max() > 5
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("given", [{}, {"diameter": 20}], ids=["sought", "given"])
def test_without_a_gpu_no_network_runs(
    given: dict[str, Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        raise AssertionError("a network runs")

    monkeypatch.setattr(base.Network, "__call__", run)
    path = str(write_zarr(tmp_path / "a.zarr", nuclei((6, 40, 40))[0]))
    params = check({"model": str(tiny_model), "use_gpu": True, "anisotropy": 1, **given})
    with pytest.raises(InputError, match=r"^device: this device is not available; got cuda \("):
        segment_file(path, tmp_path / "out", params)


@pytest.mark.skipif(drivers._has_driver(), reason="there is the driver of a GPU")
def test_without_a_driver_it_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", nuclei((6, 40, 40))[0])
    words = ["terapose", "segment", path, tmp_path / "out", "--use-gpu"]
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        f"sys.argv = {list(map(str, words))}; runpy.run_path({str(EXECUTABLE)!r}, None, '__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "terapose: device: this device is not available; got cuda (no GPU driver is installed); "
        "run without use_gpu, or on a machine with a GPU"
    )


def test_fewer_tiles_at_once_are_another_kind_of_machine(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where others use the memory of a GPU: the run goes on, and it is noted what ran there."""
    image = nuclei((8, 24, 40))[0].astype(np.uint16)
    plan, store = prepared(tmp_path, tiny_model, image, slab_planes=2, max_tasks=4)
    params = check({"model": str(tiny_model), "use_gpu": True})
    given = {"gradients": {"model_files": (str(tiny_model),)}}
    number = next(n for n, stage in enumerate(GRAPH) if stage.axis)
    before = run_stages(Runner(plan, store), params, given, GRAPH[:number]).state
    for name, answer in (
        ("is_available", True),
        ("get_device_name", "a GPU"),
        ("get_device_capability", (9, 0)),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 9)
    monkeypatch.setattr(gradients, "device_for", lambda *_: "cpu")
    monkeypatch.setattr("terapose.pipeline.machine.device_for", lambda *_: "cuda")
    monkeypatch.setattr(on_device, "BESIDE", ())
    holds = 32
    run = base.Tilewise._run

    def limited(self: base.Tilewise, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(tiles) > holds:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return run(self, tiles)

    monkeypatch.setattr(base.Tilewise, "_run", limited)
    jobs = [
        Job(
            plan, store, "gradients-yx", task, {**params.model_dump(), **given["gradients"]}, before
        )
        for task in range(len(plan.tasks["gradients-yx"]))
    ]
    monkeypatch.setattr(on_device, "_HELD", {})
    gradients._network.cache_clear()
    receipts = [running.run(jobs[0])]
    # a process that begins now finds less, since others use the GPU
    holds = 9
    gradients._network.cache_clear()
    strict = replace(jobs[1], params={**jobs[1].params, "strict": True})
    with pytest.raises(InputError, match=r"machine may round.*got torch .*, 8 tiles at once\)"):
        running.run(strict)
    receipts += [running.run(job) for job in jobs[1:]]
    gradients._network.cache_clear()
    many, few = (
        [name for r in receipts for name in r["ran_on"]["torch"] if n in name]
        for n in ("32 tiles at once", " 8 tiles at once")
    )
    assert (len(many), len(few)) == (1, len(jobs) - 1)
    running.run_gather(jobs[0], receipts)
    said = [one.message for one in caplog.records if "several kinds" in one.message]
    assert len(said) == 1 and f", 8 tiles at once) ({len(jobs) - 1} tasks)" in said[0]


def test_each_gpu_has_one_process_for_the_network(tmp_path: Path, tiny_model: Path) -> None:
    image = nuclei((8, 24, 40))[0].astype(np.uint16)
    plan, store = prepared(tmp_path, tiny_model, image, slab_planes=2, max_tasks=4)
    params = check({"model": str(tiny_model)})
    given = {"gradients": {"model_files": (str(tiny_model),)}}
    number = next(n for n, stage in enumerate(GRAPH) if stage.axis)
    before = run_stages(Runner(plan, store), params, given, GRAPH[:number]).state
    assert len(plan.tasks["gradients-yx"]) > 2
    with pool_of(2) as pool, pools_of_gpus(2) as gpus:
        runner = Runner(plan, store, pool, gpus=gpus)
        assert pool is not None
        pool.shutdown()
        done = run_stages(runner, params, given, GRAPH[number : number + 1], before)
        assert len(done.receipts["gradients-yx"]) == len(plan.tasks["gradients-yx"])
        # one after another in one process, and another one for the other GPU
        ran = [{gpu.submit(os.getpid).result() for _ in range(4)} for gpu in gpus]
        assert [len(each) for each in ran] == [1, 1] and ran[0] != ran[1]
        with pytest.raises(RuntimeError, match="after shutdown"):
            run_stages(runner, params, given, [STAGES["follow"]], done.state)


def test_tasks_share_the_gpus_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    turns = [turn_of("00000001ffff", task) for task in range(4)]
    assert [device_for("cuda", turn) for turn in turns] == ["cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    # so do images with a single task
    plans = [hashlib.sha256(bytes([n])).hexdigest() for n in range(60)]
    used = Counter(device_for("cuda", turn_of(plan, 0)) for plan in plans)
    assert len(used) == 3 and min(used.values()) >= 10
    assert device_for("cpu", 1) == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_for("cuda", 5) == "cuda"
