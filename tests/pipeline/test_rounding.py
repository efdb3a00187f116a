"""Machines of several kinds: variables of the environment make one look like another one."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.command import EXECUTABLE
from tests.synthetic import nuclei, write_zarr

from terapose.cli import main
from terapose.core.errors import GPUMemoryError, InputError
from terapose.core.params import check
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline.arguments import arguments
from terapose.pipeline.checked import open_checked
from terapose.pipeline.code import modules_of
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.machine import kind_here, mixture, of_receipts, refuse_other, together
from terapose.pipeline.plan import Plan, load
from terapose.pipeline.planning import make_plan
from terapose.pipeline.stage import Stage
from terapose.stages import gradients
from terapose.stages import plan as plan_stage

OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
"""A processor that torch finds to be twenty years old."""
OTHER_NUMPY = {"OPENBLAS_CORETYPE": "Nehalem"}
GIVEN = {
    "block_shape": (3, 24, 28),
    "slab_planes": 2,
    "max_tasks": 3,
    "max_size_fraction": 1.0,
    "diameter": 30,  # that of the network: none is looked for
}
SEVERAL = "machines of several kinds, which may round differently: "


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, str(EXECUTABLE), *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def done(*words: object, **environment: str) -> str:
    """What a command that succeeds wrote to standard error."""
    process = run(*words, **environment)
    assert process.returncode == 0, process.stderr
    return process.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few nuclei."""
    path = tmp_path_factory.mktemp("image") / "image.zarr"
    return write_zarr(path, nuclei((6, 24, 28))[0].astype(np.uint16))


@pytest.fixture(scope="module")
def begun(image: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan beside its store, and the summary from which the network starts."""
    folder = tmp_path_factory.mktemp("begun")
    params = check({"model": str(tiny_model), **GIVEN})
    plan = make_plan(open_checked(str(image), params), identify(tiny_model), params)
    plan_stage.run(plan, Store(str(folder / "store"), plan.digest))
    (folder / "plan.json").write_text(plan.dump())
    assert len(plan.tasks["gradients-yx"]) > 2
    tasks = range(len(plan.tasks["intensities"]))
    for task in tasks:
        done(*words_of(folder, "intensities", task))
    receipts = [folder / f"intensities-{task}.json" for task in tasks]
    summary = folder / "before.json"
    done("stage", "percentiles", *of_plan(folder), "--output", summary, *receipts)
    return folder


@pytest.fixture
def planned(begun: Path, tmp_path: Path) -> Plan:
    """The plan; its store and the summary are copied into the folder of the test."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    return load(begun / "plan.json")


def of_plan(folder: Path) -> list[object]:
    return ["--plan", folder / "plan.json", "--store", folder / "store"]


def words_of(folder: Path, stage: str, task: int) -> list[object]:
    """The command line of a task."""
    out = folder / f"{stage}-{task}.json"
    return ["stage", stage, *of_plan(folder), "--task", task, "--output", out]


def network(folder: Path, model: Path, task: int, *more: object) -> list[object]:
    """The command line of a task of the network."""
    given = ("--axis", "yx", "--before", folder / "before.json", "--model-file", model)
    return [*words_of(folder, "gradients", task), *given, *more]


def gather(folder: Path, plan: Plan, *more: object) -> list[object]:
    """The command line that gathers the tasks of the network."""
    receipts = [folder / f"gradients-{n}.json" for n in range(len(plan.tasks["gradients-yx"]))]
    given = ("--before", folder / "before.json", "--output", folder / "yx.json")
    return [
        *("stage", "gather", "--stage", "gradients-yx"),
        *(*of_plan(folder), *given, *more, *receipts),
    ]


def test_a_gather_warns_of_several_kinds_and_refuses_them_on_request(
    planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    done(*network(tmp_path, tiny_model, 0), **OLD)
    for task in range(1, len(planned.tasks["gradients-yx"])):
        assert not done(*network(tmp_path, tiny_model, task))
    said = done(*gather(tmp_path, planned))
    assert said.count(SEVERAL) == 1 and said.count("\n") == 1
    others = len(planned.tasks["gradients-yx"]) - 1
    assert "ONEDNN_MAX_CPU_ISA=SSE41) (1 task)" in said and f"({others} tasks)" in said
    summary = json.loads((tmp_path / "yx.json").read_text())
    ran_on = summary["history"][-1]["ran_on"]
    assert sorted(ran_on["torch"].values()) == [1, others] and list(ran_on["numba"].values()) == [
        others + 1
    ]
    # what all have done cannot be undone: it is for the gather to refuse it
    refused = run(*gather(tmp_path, planned, "--strict"))
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "stage gradients-yx: tasks ran on machines of several kinds" in refused.stderr
    assert "allowed: one kind (strict)" in refused.stderr
    # that they ran on several is in what later stages are given, so they do not say it again
    more = ("--before", tmp_path / "yx.json", "--model-file", tiny_model, "--axis", "zx")
    refused = run(*words_of(tmp_path, "gradients", 0), *more, "--strict")
    assert refused.returncode == 2 and "this machine may round differently" in refused.stderr


def test_a_second_task_is_refused_before_it_computes(
    planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    done(*network(tmp_path, tiny_model, 0, "--strict"))
    before = sorted((tmp_path / "store").rglob("*"))
    refused = run(*network(tmp_path, tiny_model, 1, "--strict"), **OLD)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "ONEDNN_MAX_CPU_ISA=SSE41)" in refused.stderr.partition("allowed: ")[0]
    assert "(strict)" in refused.stderr and "leave strict out" in refused.stderr
    assert sorted((tmp_path / "store").rglob("*")) == before
    assert not (tmp_path / "gradients-1.json").exists()
    # nor does another library matter that this stage does not round with
    done(*network(tmp_path, tiny_model, 1, "--strict"), **OTHER_NUMPY)
    # a damaged note counts as none: it is written again, and nothing stops
    (note,) = (tmp_path / "store").glob("ran-on/gradients-yx-*/first.json")
    note.write_bytes(b"{")
    done(*network(tmp_path, tiny_model, 2, "--strict"))
    assert "torch" in json.loads(note.read_text())


def test_a_refusal_leaves_nothing_that_stops_others(
    planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    for task in range(len(planned.tasks["gradients-yx"])):
        done(*network(tmp_path, tiny_model, task, "--strict"))
    done(*gather(tmp_path, planned, "--strict"))
    given = ("--axis", "zx", "--before", tmp_path / "yx.json", "--model-file", tiny_model)
    words = [*words_of(tmp_path, "gradients", 0), *given, "--strict"]
    before = sorted((tmp_path / "store").rglob("*"))
    # the first task of its pass, after another pass
    refused = run(*words, **OLD)
    assert refused.returncode == 2 and "stage gradients-zx: this machine may" in refused.stderr
    assert sorted((tmp_path / "store").rglob("*")) == before
    done(*words)


def test_a_task_that_another_machine_left_half_done_is_of_both_kinds(
    planned: Plan, tmp_path: Path, tiny_model: Path
) -> None:
    done(*network(tmp_path, tiny_model, 0), **OLD)
    # all but the task's own marker is there
    (marker,) = (tmp_path / "store").glob("done/gradients-yx-*/task-0.json")
    marker.unlink()
    done(*network(tmp_path, tiny_model, 0))
    receipt = json.loads((tmp_path / "gradients-0.json").read_text())
    assert len(receipt["ran_on"]["torch"]) == 2 and len(receipt["ran_on"]["numba"]) == 1
    kinds = of_receipts([receipt, {"stage": "of an earlier version"}])
    assert sorted(kinds["torch"].values()) == [1, 1] and mixture(kinds)


def test_a_task_for_which_a_gpu_lacks_memory_may_succeed_later(
    planned: Plan,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its exit status is that of faults that pass, also beside other samples in one process."""

    def lacking(*_: object) -> None:
        raise GPUMemoryError("too little free memory", where="cuda:0")

    monkeypatch.setattr(gradients, "_box", lacking)
    words = [str(word) for word in network(tmp_path, tiny_model, 0)]
    for called in (words, ["stage", "each"]):
        lines = "".join(f"{tmp_path / name} {shlex.join(words)}\n" for name in ("one", "two"))
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        with pytest.raises(SystemExit) as end:
            main(called)
        assert end.value.code == 75
        assert capsys.readouterr().err == "terapose: cuda:0: too little free memory\n"


def test_a_run_that_goes_on_elsewhere(image: Path, tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    words = ["segment", image, out, "--model", tiny_model, "--jobs", 1]
    words += arguments(check(GIVEN), GIVEN).split()
    assert SEVERAL not in done(*words)
    record = json.loads((out / "provenance.json").read_text())
    assert not record["notes"]
    assert record["stages"]["measure"]["ran_on"].keys() == {"numpy", "numba"}
    assert "ran_on" not in record["stages"]["peaks"]
    # a part has to be measured again, and BLAS has other loops here
    (marker,) = out.glob(".terapose/*/done/measure-*/task-1.json")
    marker.unlink()
    refused = run(*words, "--strict", **OTHER_NUMPY)
    assert refused.returncode == 2 and "stage measure: this machine may" in refused.stderr
    assert json.loads((out / "provenance.json").read_text()) == record
    said = done(*words, **OTHER_NUMPY)
    assert SEVERAL in said and "torch" not in said
    notes = json.loads((out / "provenance.json").read_text())["notes"]
    assert len(notes) == 1 and SEVERAL in notes[0] and "BLAS Nehalem) (1 task)" in notes[0]
    # it is refused wherever it goes on, but not what is of one kind: all is measured again
    assert run(*words, "--strict").returncode == 2
    done(*words, "--measure", "shape", "--strict", **OTHER_NUMPY, **OLD)


KERNELS = """
import hashlib
import numpy as np
from terapose.algorithms.flows.flow_error import flow_errors_3d
from terapose.algorithms.flows.follow import follow, scale_flows
from terapose.networks.tiling import run_planes

random, shape = np.random.default_rng(0), (9, 20, 22)
starts = np.argwhere(np.ones(shape)).astype(np.int32)
digest = hashlib.sha256()
for components in (2, 3):
    flows = random.normal(size=(components, *shape)).astype(np.float32) * 3
    scaled = scale_flows(flows, random.random(shape) < 0.8, shape)
    for part in follow(scaled, (0, 0, 0), shape, starts, 50):
        digest.update(part.tobytes())
labels = np.kron(np.arange(1, 13).reshape(3, 2, 2), np.ones((3, 10, 11))).astype(np.uint32)
digest.update(flow_errors_3d(labels, flows, np.arange(1, 13)).tobytes())
tiles = random.normal(size=(9, 3, 224, 224)).astype(np.float32)
planes = random.random((1, 1, 400, 300)).astype(np.float32)
digest.update(run_planes(lambda t: tiles[: len(t)], planes, tile=224).tobytes())
print(digest.hexdigest())
"""


def test_kernels_have_the_same_bits_on_every_processor(tmp_path: Path) -> None:
    """So the kind of processor is not what numba's bits depend on."""
    found = set()
    for name in ("", "generic"):
        given = {"NUMBA_CPU_NAME": name, "NUMBA_CACHE_DIR": str(tmp_path)} if name else {}
        process = subprocess.run(
            [sys.executable, "-c", KERNELS],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        found.add(process.stdout)
    assert len(found) == 1
    # for each processor code of its own was compiled
    assert any(tmp_path.rglob("*.nbc"))


def test_the_first_one_leaves_its_kind(tmp_path: Path) -> None:
    """Of many at the same time; the others read what it says."""
    stores = [Store(str(tmp_path / "store"), "run") for _ in range(8)]
    for turn in range(20):
        with ThreadPoolExecutor(len(stores)) as pool:
            found = list(
                pool.map(
                    lambda pair, turn=turn: pair[1].claim_json(f"ran-on/{turn}", {"n": pair[0]}),
                    enumerate(stores),
                )
            )
        assert len({one["n"] for one in found}) == 1
        assert found[0] == stores[0].get_json(f"ran-on/{turn}")
    assert len(list((tmp_path / "store" / "ran-on").iterdir())) == 20


def test_kinds_in_words() -> None:
    kinds = together([{"torch": {"b": 2}}, {"torch": {"a": 1, "b": 1}, "numpy": {"c": 7}}])
    assert mixture(kinds) == "torch a (1 task) and torch b (3 tasks)"
    assert mixture({"numpy": {"c": 7}}) == mixture({}) == ""
    refuse_other({"numpy": "c", "numba": "d"}, kinds, "measure")
    with pytest.raises(InputError, match=r"stage gradients-yx: .*torch b.*torch a"):
        refuse_other({"torch": "b"}, kinds, "gradients-yx")


@pytest.mark.parametrize("stage", GRAPH, ids=lambda stage: stage.name)
def test_stages_name_the_libraries_that_they_import(stage: Stage) -> None:
    assert ("torch" in stage.rounds) == (stage.input == "network")
    assert "numba" not in stage.rounds or "io.compiled" in modules_of(*stage.modules)
    # whoever may find several kinds can refuse them
    sees = stage.rounds or any(STAGES[name].rounds for name in stage.gathers)
    assert bool(sees) == ("strict" in stage.parameters)


def test_what_does_not_run_torch_does_not_import_it() -> None:
    script = (
        "import sys\nfrom terapose.pipeline.graph import GRAPH\n"
        "from terapose.pipeline.machine import kind_here\n"
        "for stage in GRAPH:\n    if 'torch' not in stage.rounds: kind_here(stage.rounds)\n"
        "assert 'torch' not in sys.modules and 'cv2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert kind_here(("torch",), tiles=32)["torch"] != kind_here(("torch",))["torch"]
