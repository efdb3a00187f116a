"""The whole workflow through the real Nextflow: its results, and what -resume runs again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaozarrs
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.conftest import Launches
from tests.workflow.launch import RAW_TRACE, Launch, Run, results, segment

from terapose.apps.profile.trace import parse, stage_of
from terapose.pipeline.graph import SCATTERED
from terapose.results.earlier import GOING, RECORD, announce

pytestmark = pytest.mark.slow

Again = Callable[..., Run]

# a task for each stage
CUT = ("--block_shape", "14,20,24", "--slab_planes", 16, "--single_task", "false")
LAST = {"RELABEL", "EXPORT", "MEASURE", "FINISH", "PUBLISH", "PICTURE"}
FROM_FOLLOW = {"FOLLOW", "GATHER_FOLLOW", "PEAKS", "SEEDS", "MASKS", "OBJECTS", *LAST}
ALL = {
    *("CHECK", "FETCH", "PLAN", "INTENSITIES", "PERCENTILES"),
    *(f"{process}_{axis}" for process in ("GRADIENTS", "GATHER") for axis in ("YX", "ZX", "ZY")),
    *("COMBINE", "GATHER_COMBINE", *FROM_FOLLOW),
}


@pytest.fixture(scope="module")
def launch(launches: Launches, image: Path) -> Launch:
    """A folder in which the workflow ran once."""
    launch = launches("workflow")
    assert launch.done("--input", image, *CUT, "-c", RAW_TRACE).submitted == ALL
    return launch


@pytest.fixture
def again(launch: Launch, image: Path) -> Again:
    """Run the workflow again with -resume."""

    def run(*words: object) -> Run:
        return launch.done("--input", image, *CUT, "-resume", *words)

    return run


def test_results_are_complete_and_agree(launch: Launch, voxels: np.ndarray) -> None:
    out = launch.out / "nuclei"
    nodes = list(Reader(parse_url(str(out / "labels.zarr" / "cells")))())
    labels = np.asarray(nodes[0].data[0])
    assert labels.shape == voxels.shape
    cells = pd.read_csv(out / "cells.csv")
    # the synthetic volume is easy: nearly every ball is found
    assert 8 <= len(cells) <= 16
    numbers, counts = np.unique(labels[labels > 0], return_counts=True)
    np.testing.assert_array_equal(numbers, cells["CellID"])
    np.testing.assert_array_equal(counts, cells["Volume"])
    parquet = pd.read_parquet(out / "cells.parquet")
    pd.testing.assert_frame_equal(parquet, cells, check_exact=False, rtol=1e-5, check_dtype=False)
    record = json.loads((out / "provenance.json").read_text())
    assert record["cells"] == len(cells)
    assert set(record["stages"]) >= {"intensities", "gradients-zy", "follow", "relabel", "export"}
    told = launch.out / "pipeline_info"
    names = {"finished.json", "report.html", "timeline.html", "trace.txt"}
    assert {p.name for p in told.iterdir()} == names
    trace = pd.read_csv(told / "trace.txt", sep="\t")
    assert len(trace) == launch.runs[0].tasks and set(trace["exit"]) == {0}
    # each process of one sample alone is a step of its profile
    with (told / "trace.txt").open() as lines:
        known = parse(lines, "trace.txt", ["nuclei"], SCATTERED)["nuclei"]
    assert {*known} == {stage_of(process) for process in ALL - {"FETCH"}}


def test_tasks_ask_for_what_the_plan_says(launch: Launch) -> None:
    asked = launch.asked()
    planned = {n.replace("-", "_").upper(): needs for n, needs in launch.planned().items()}
    cut = {process for process in ALL if process in planned}
    assert cut >= {"INTENSITIES", "GRADIENTS_ZY", "COMBINE", "FOLLOW", "MASKS", "EXPORT", "MEASURE"}
    assert {process: asked[process] for process in cut} == {p: planned[p] for p in cut}
    # more than the least: each pass of the network for its own tiles
    assert len({memory for p in cut for memory, _, _ in planned[p]}) > 3
    # all others for what their label says
    fixed = {process: asked[process] for process in ("CHECK", "GATHER_YX", "RELABEL")}
    small, gather = {(3 << 30, 0, 1)}, {(4 << 30, 0, 1)}
    assert fixed == {"CHECK": small, "GATHER_YX": gather, "RELABEL": gather}


def test_same_bytes_as_the_command_and_as_uncut(
    launch: Launch, uncut: Path, undisturbed: tuple[str, bytes]
) -> None:
    out = launch.out / "nuclei"
    assert results(out) == undisturbed
    # gathers are given other parameters there: their keys are those of the local run all the same
    records = (json.loads((x / "provenance.json").read_text()) for x in (out, uncut))
    one, other = ({n: s["key"] for n, s in record["stages"].items()} for record in records)
    assert one == other and all(one.values())


@pytest.mark.thorough(
    shorter="tests/workflow/test_workflow.py::test_a_new_threshold_runs_only_what_it_shapes"
)
def test_new_filter_and_new_threshold_run_only_what_they_shape(
    launch: Launch, again: Again, image: Path, undisturbed: tuple[str, bytes]
) -> None:
    out = launch.out / "nuclei"
    own = laid_out(launch)
    assert again("--min_size", 700).submitted == {"CHECK", *LAST}
    fewer, others = results(out), laid_out(launch)
    assert fewer != undisturbed
    threshold = ("--cellprob_threshold", 3)
    assert again(*threshold).submitted == {"CHECK", *FROM_FOLLOW}
    assert results(out) not in (fewer, undisturbed)

    # back to the first parameters: nothing runs, and nothing of the other results stays
    (out / "labels.zarr" / "cells" / "0" / "stale").touch()
    assert again().submitted == {"CHECK", "PUBLISH"}
    assert results(out) == undisturbed

    # in one task, which finds all done
    store = next(iter(launch.stores()))
    markers = {p: p.stat().st_mtime_ns for p in store.glob("done/*/task-*.json")}
    run = launch.done("--input", image, *CUT, "-resume", "--single_task", "true")
    assert run.submitted == {"CHECK", "WHOLE", "PUBLISH", "PICTURE"}
    assert markers == {p: p.stat().st_mtime_ns for p in store.glob("done/*/task-*.json")}
    assert results(out) == undisturbed

    # whole, but of the cells of another run
    shutil.rmtree(own)
    shutil.copytree(others, own)
    run = launch.run("--input", image, *CUT, "-resume")
    assert run.process.returncode != 0 and results(out) == undisturbed
    assert "the results are of another run" in run.last and "another relabel" in run.last
    assert again().submitted == {"CHECK", "FINISH", "PUBLISH", "PICTURE"}
    assert results(out) == undisturbed


def laid_out(launch: Launch) -> Path:
    """Where the results were laid out that are published."""
    record = (launch.out / "nuclei/provenance.json").read_bytes()
    for script in launch.work.glob("*/*/.command.sh"):
        found = script.parent / "results" / "provenance.json"
        if "stage finish" in script.read_text() and found.read_bytes() == record:
            return found.parent
    raise AssertionError("nothing like it")


def test_damage_is_noticed_and_made_again(
    launch: Launch, again: Again, image: Path, undisturbed: tuple[str, bytes]
) -> None:
    """Where all is cached, and what was laid out and the store, which are linked, are damaged."""
    out = launch.out / "nuclei"
    laid = laid_out(launch)
    chunk = next(p for p in (laid / "labels.zarr/cells/0/c").rglob("*") if p.is_file())
    chunk.write_bytes(b"damaged")
    run = launch.run("--input", image, *CUT, "-resume")
    assert run.process.returncode != 0 and results(out) == undisturbed
    assert "the results have changed since they were written" in run.last
    run = again()
    assert run.submitted == {"CHECK", "FINISH", "PUBLISH", "PICTURE"}
    assert results(out) == undisturbed


@pytest.mark.thorough(
    shorter="tests/workflow/test_workflow.py::test_damage_is_noticed_and_made_again"
)
def test_damaged_receipts_and_plans_are_made_again(
    launch: Launch, again: Again, image: Path, undisturbed: tuple[str, bytes]
) -> None:
    """Where tasks are cached that left them in their own folders."""
    left = [p for p in launch.work.glob("*/*/*.json") if not p.is_symlink()]
    for path in left:
        if path.name == "0.json" and json.loads(path.read_bytes())["stage"] == "peaks":
            path.write_bytes(path.read_bytes()[:-9])
    run = launch.run("--input", image, *CUT, "-resume")
    assert run.process.returncode != 0
    assert "0.json: is damaged" in run.last and "-resume" in run.last
    run = again()
    # the receipt that the store has
    assert {"PEAKS", "SEEDS"} <= run.submitted and not {"FOLLOW", "PLAN"} & run.submitted
    for path in left:
        if path.name == "plan.json":
            path.write_bytes(path.read_bytes()[:-9])
    assert "PLAN" not in again().submitted
    assert results(launch.out / "nuclei") == undisturbed
    # nor is a stage left out whose table of tasks has lost its rows
    for path in launch.work.glob("*/*/tasks/combine.csv"):
        whole = path.read_text()
        path.write_text(whole.splitlines(keepends=True)[0])
        run = launch.run("--input", image, *CUT, "-resume")
        assert run.process.returncode != 0
        assert "combine.csv: is damaged; run again without -resume" in run.last
        path.write_text(whole)


@pytest.mark.thorough(
    shorter="tests/workflow/test_workflow.py::test_damage_is_noticed_and_made_again"
)
def test_a_copy_that_was_cut_short_is_known_from_what_others_wrote(
    launch: Launch, again: Again, image: Path, undisturbed: tuple[str, bytes]
) -> None:
    own = launch.out / "nuclei"
    assert results(own) == undisturbed
    assert not (own / GOING).exists()
    # what was not written by a run is not replaced
    (own / RECORD).rename(own / "record")
    (own / "cells.csv").write_text("mine")
    run = launch.run("--input", image, *CUT, "-resume")
    assert run.process.returncode != 0 and "nothing says that Terapose has written it" in run.said
    assert (own / "cells.csv").read_text() == "mine"
    # but what a run has announced is, while there was a record
    (own / "record").rename(own / RECORD)
    announce(own, {"tables": ["cells.csv", "cells.parquet"]})
    (own / RECORD).rename(own / "record")
    assert again().submitted <= {"CHECK", "PUBLISH", "PICTURE"}
    assert results(own) == undisturbed
    assert (own / RECORD).exists() and not (own / GOING).exists()


def test_changed_image_runs_everything(launch: Launch, image: Path) -> None:
    aside = image.with_name("aside")
    image.rename(aside)
    try:
        write_ome_zarr(image, nuclei((14, 40, 48), seed=1)[0], voxel_size=(1.0, 1.0, 1.0))
        run = launch.start("--input", image, *CUT, "-resume")
        assert run.wait_for(process="GRADIENTS_YX"), run.said
        run.kill_all()
    finally:
        shutil.rmtree(image)
        aside.rename(image)
    # the network is the same
    assert run.cached <= {"FETCH"}


@pytest.mark.thorough(shorter="tests/results/test_damage.py::test_what_is_damaged_is_made_again")
def test_thinned_store_is_told_last_on_the_terminal(
    launch: Launch, image: Path, tmp_path: Path
) -> None:
    removed = [store / "gradients-zy" for store in launch.stores()]
    for array in removed:
        shutil.rmtree(array, ignore_errors=True)
    words = ("--input", image, *CUT, "-resume", "--cellprob_threshold", 2)
    run = launch.run(*words, terminal=True)
    assert run.process.returncode != 0
    assert run.last.startswith("terapose: "), run.said
    assert "is no longer in the store, although an earlier task wrote it" in run.last
    assert "run again (the workflow with -resume)" in run.last
    # the earlier results stand
    assert (launch.out / "nuclei" / "provenance.json").exists()
    # what was dropped of the passes before is made again, too
    assert {"GRADIENTS_YX", "GRADIENTS_ZX", "GRADIENTS_ZY"} <= launch.done(*words).submitted
    assert results(launch.out / "nuclei") == segment(image, tmp_path, "--cellprob-threshold", 2)


@pytest.mark.thorough(shorter="tests/results/test_damage.py::test_what_is_damaged_is_made_again")
def test_removed_store_is_computed_again(
    launch: Launch, again: Again, undisturbed: tuple[str, bytes]
) -> None:
    for store in list(launch.stores()):
        shutil.rmtree(store)
    run = again()
    assert run.submitted == ALL - {"FETCH"}
    assert results(launch.out / "nuclei") == undisturbed


def test_labels_in_the_image(launch: Launch, again: Again, image: Path) -> None:
    """Nothing but the copy is new, and the image is the same to Nextflow afterwards."""
    once = {"CHECK", "PUBLISH", "ATTACH"}
    assert again("--labels_in", "image").submitted == once
    yaozarrs.validate_zarr_store(str(image))
    found = [np.asarray(node.data[0]) for node in Reader(parse_url(str(image)))() if node.data]
    cells = zarr.open_array(launch.out / "nuclei/labels.zarr/cells/0", mode="r")
    assert len(found) == 2
    np.testing.assert_array_equal(found[1], cells[:])
    # never cached: it may have been removed since
    shutil.rmtree(image / "labels/cells")
    assert again("--labels_in", "image").submitted == once
    assert (image / "labels/cells").is_dir()
    assert again().submitted == {"CHECK", "PUBLISH"}


def test_a_new_threshold_runs_only_what_it_shapes(
    launch: Launch, again: Again, undisturbed: tuple[str, bytes]
) -> None:
    run = again("--cellprob_threshold", 3)
    assert run.submitted == {"CHECK", *FROM_FOLLOW}
    assert run.cached == ALL - run.submitted
    assert results(launch.out / "nuclei") != undisturbed
