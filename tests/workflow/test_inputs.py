"""What the workflow is given: samplesheets, globs, formats, edited code, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.command import finished
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.conftest import Launches
from tests.workflow.launch import Launch, copy_of_workflow, results, segment

pytestmark = pytest.mark.slow


@pytest.mark.thorough(
    shorter="tests/workflow/test_inputs.py"
    "::test_columns_of_a_samplesheet_are_parameters_and_slides_do_not_wait"
)
def test_samplesheet_with_an_image_that_is_converted(
    launches: Launches, image: Path, voxels: np.ndarray, undisturbed: tuple[str, bytes]
) -> None:
    launch = launches("samplesheet")
    # a file for each plane: passes across Y and X would open all of them for each region
    (launch.path / "planes").mkdir()
    for z, plane in enumerate(voxels):
        tifffile.imwrite(launch.path / f"planes/img_{z}.tif", plane)
    sheet = launch.path / "samples.csv"
    sheet.write_text(
        f"sample,image,stack,max_tasks\nconverted,planes/img_{{z}}.tif,true,2\nlazy,{image},,\n"
    )
    cut = ("--block_shape", "10,40,31", "--slab_planes", 5, "--voxel_size", "1,1,1")
    run = launch.done("--input", sheet.name, *cut)
    assert "CONVERT (converted 0)" in run.said and "WHOLE (lazy)" in run.said
    assert results(launch.out / "lazy") == undisturbed
    assert results(launch.out / "converted") == undisturbed


GATE = """
executor { cpus = 8; memory = 64.GB }
process {
    withName: 'GRADIENTS_YX' {
        beforeScript = {
            sample != 'large' ? '' :
                "for _ in \\$(seq 1200); do [ -e 'FILE' ] && break; sleep 1; done; [ -e 'FILE' ]"
        }
    }
}
"""
"""Lets the network see the large slide only when the small one is finished."""


def test_columns_of_a_samplesheet_are_parameters_and_slides_do_not_wait(
    launches: Launches, tmp_path: Path
) -> None:
    launch = launches("slides")
    volume, _ = nuclei((9, 90, 100), spacing=12, seed=5)
    planes = np.stack([volume[2], volume[4]])
    names = ("noise", "a 'nuclear' stain")
    for name, edge in (("large", 90), ("small", 50)):
        slide = launch.path / f"{name}.zarr"
        write_ome_zarr(slide, planes[:, :edge, :edge], axes="cyx", channel_names=names)
    # files are named from the folder of the samplesheet, if they are there
    sheets = launch.path / "sheets"
    sheets.mkdir()
    mask = np.zeros((90, 90), np.uint8)
    mask[5:75, 12:81] = 255
    tifffile.imwrite(sheets / "mask.tif", mask)
    (launch.path / "markers.csv").write_text("marker_name\nx\ny\n")
    (sheets / "samples.csv").write_text(
        "sample,image,channels,diameter,channel_merge,markers,min_size,region\n"
        'large,large.zarr,"1,2",12.5,max,,,mask.tif\n'
        "small,small.zarr,y,auto,,markers.csv,20,\n"
    )
    gate = launch.path / "gate.config"
    gate.write_text(GATE.replace("FILE", str(launch.out / "small" / "provenance.json")))
    network = ("--model", "auto")
    sheet = ("--input", "sheets/samples.csv", "--diameter", 14, *network)
    run = launch.done(*sheet, "--single_task", "false", "-c", gate)
    # they have one network
    assert run.said.count("FETCH (auto-") == 1
    options = {
        "large": (
            *("--channels", "1,2", "--diameter", 12.5, "--channel-merge", "max"),
            *("--region", sheets / "mask.tif"),
        ),
        "small": (
            *("--channels", 2, "--diameter", "auto", "--min-size", 20),
            *("--markers", launch.path / "markers.csv"),
        ),
    }
    for name, words in options.items():
        whole = segment(launch.path / f"{name}.zarr", tmp_path / name, *words, *network)
        assert results(launch.out / name) == whole
    record = json.loads((launch.out / "small" / "provenance.json").read_text())
    assert record["diameter"]["origin"] == "found", record["diameter"]


STOP = "process { withName: 'WHOLE' { beforeScript = 'exit 1' } }\n"
"""Ends a run at the first task after the plan. Nextflow closes its cache before it ends, so all
tasks that were done by then are in it, as they need not be where it is killed."""


def test_edited_code_invalidates_what_it_computed_and_no_more(
    launches: Launches, image: Path
) -> None:
    launch = launches("edited")
    launch.workflow = copy_of_workflow(launch.path / "workflow")

    def edit(*path: str, code: str) -> None:
        with launch.workflow.joinpath("bin", "terapose", *path).open("a") as module:
            module.write(code)

    stop = launch.path / "stop.config"
    stop.write_text(STOP)

    def run_until_whole() -> set[str]:
        run = launch.run("--input", image, "-c", stop, "-resume")
        assert run.process.returncode == 1 and "WHOLE" in run.submitted, run.said
        return run.cached

    assert run_until_whole() == set()
    edit("results", "publishing.py", code="EDITED = True\n")
    edit("networks", "tiling.py", code="# a comment\n")
    assert run_until_whole() == {"FETCH", "PLAN"}
    edit("networks", "tiling.py", code="EDITED = True\n")
    assert run_until_whole() == {"FETCH"}


@pytest.fixture(scope="module")
def mistakes(launches: Launches) -> Launch:
    """A folder for runs that fail, with a good image in it."""
    launch = launches("mistakes")
    write_ome_zarr(launch.path / "good.zarr", nuclei((6, 24, 28))[0])
    return launch


def _last_words(launch: Launch, *words: object, terminal: bool = False) -> str:
    """Run what has to fail; returns its last line on the terminal, without its prefix."""
    run = launch.run(*words, terminal=terminal)
    assert run.process.returncode not in (0, None), run.said
    assert run.last.startswith("terapose: "), run.said
    assert "\tat " not in run.said and "Traceback" not in run.said
    return run.last.removeprefix("terapose: ").replace(f"{launch.path}/", "")


def test_faults_of_a_params_file_are_the_last_words_on_a_terminal(mistakes: Launch) -> None:
    faulty = {"input": "good.zarr", "diametre": 3, "min_size": "a"}
    (mistakes.path / "params.json").write_text(json.dumps(faulty))
    assert _last_words(mistakes, "-params-file", "params.json", terminal=True) == (
        "parameters: diametre: no such parameter (did you mean diameter?); "
        "min_size: got 'a', allowed: a whole number; "
        "docs/parameters.md lists them all"
    )


def test_fault_of_an_image_that_a_later_stage_finds(mistakes: Launch) -> None:
    volume = nuclei((6, 24, 28))[0].astype(np.float32)
    volume[1, 2, 3] = np.nan
    write_ome_zarr(mistakes.path / "nan.zarr", volume)
    said = _last_words(mistakes, "--input", "nan.zarr")
    assert said.startswith("nan.zarr, channel 1: the image has voxels that are not finite numbers")
    assert not finished(mistakes.out / "nan")


def test_folders_for_results_and_parameters_that_samples_cannot_have(mistakes: Launch) -> None:
    """Of each sample its own, and at the end that there are no results."""
    mistakes.out.mkdir(exist_ok=True)
    (mistakes.out / "file").touch()
    record = mistakes.out / "other" / "provenance.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"image": {"address": "/elsewhere/good.zarr"}}))
    (mistakes.path / "samples.csv").write_text(
        "sample,image,diametre,min_size,tme\n"
        "columns,good.zarr,7,big,2\nfile,good.zarr,,,\nother,good.zarr,,,\n"
    )
    run = mistakes.run("--input", "samples.csv", "--model", "nuclei-small")
    assert run.process.returncode == 1 and run.submitted == {"CHECK"}
    said = run.said.replace(f"{mistakes.path}/", "")
    for name, sentence in (
        (
            "columns",
            "parameters of columns: diametre: no such parameter (did you mean diameter?); "
            "min_size: got 'big', allowed: a whole number; "
            "tme: no such parameter (did you mean time?); docs/parameters.md lists them all",
        ),
        (
            "file",
            "out/file: results cannot be written; got File exists; "
            "choose a folder you may write to, on a disk with space left",
        ),
        (
            "other",
            "out/other: holds the results of another image; got /elsewhere/good.zarr; "
            "allowed: good.zarr; choose another folder, or remove this one",
        ),
    ):
        assert f"terapose: SEGMENT:PREPARE:CHECK ({name}): {sentence} (exit status 2, " in said
    assert run.last.startswith("terapose: some samples failed, 0 finished; ")
    assert "\tat " not in said and "Traceback" not in said
