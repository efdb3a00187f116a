"""`terapose tune`: what it finds, what it computes for that, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image
from tests.command import Terapose
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.api.tune.folder import NAMES
from terapose.api.tune.running import Asked, tune
from terapose.apps.tune.search import Outcome
from terapose.core.params import check
from terapose.io.labels.ome_zarr import open_level

PLANE = (1, 96, 120)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plane of nuclei."""
    plane = nuclei((9, *PLANE[1:]), radius=7, spacing=18)[0][4:5]
    return write_zarr(tmp_path_factory.mktemp("tune") / "plane.zarr", plane[0])


def _labels(image: Path, folder: Path, **params: Any) -> np.ndarray:
    """What `terapose segment` finds."""
    record = segment_file(str(image), folder, check({"measure": "none", "table": "csv", **params}))
    found = np.asarray(open_level(str(folder / "labels.zarr"), 0)[:])
    assert record["cells"] == len(np.unique(found)) - 1
    return found


def _passes(folder: Path) -> list[Path]:
    """Markers of tasks of the network."""
    return sorted(folder.glob(".terapose/*/done/gradients-*/task-*.json"))


def test_the_best_value_is_found_and_written(
    tmp_path: Path, image: Path, command: Terapose
) -> None:
    truth = _labels(image, tmp_path / "truth", cellprob_threshold=6, min_size=60)
    reference = write_zarr(tmp_path / "reference.zarr", truth)
    sweeps = ("--sweep", "cellprob_threshold=3,6", "--sweep", "min_size=60")
    size = ("--size", "96,120", "--border", "keep")
    said = command("tune", image, tmp_path / "out", "--reference", reference, *sweeps, *size)
    assert said.code == 0, said.err
    assert f"parameters: {tmp_path}/out/params.json" in said.out

    numbers = json.loads((tmp_path / "out/tune.json").read_text())
    threshold, smallest = numbers["sweeps"]
    assert [one["value"] for one in threshold["values"]] == [0, 3, 6]
    assert threshold["best"] == 6 and smallest["others"]["cellprob_threshold"] == 6
    last = smallest["values"][-1]
    assert last["average_precision"] == [1, 1] and last["cells"] == truth.max() > 5

    params = json.loads((tmp_path / "out/params.json").read_text())
    address = params.pop("input")
    assert check(params).cellprob_threshold == 6 and address == str(image)
    np.testing.assert_array_equal(_labels(image, tmp_path / "again", **params), truth)

    page = (tmp_path / "out/tune.html").read_text()
    assert page.count("<figure>") == 5 and "<script" not in page and "src=" not in page
    with Image.open(tmp_path / "out/tune.png") as picture:
        assert min(picture.size) > 200


def test_the_network_runs_once_for_each_diameter_and_region(
    tmp_path: Path, tiny_model: Path
) -> None:
    path = str(write_zarr(tmp_path / "volume.zarr", nuclei((6, 24, 48), seed=3)[0]))
    params, out = check({"diameter": 30, "model": str(tiny_model)}), tmp_path / "out"

    def run(*sweeps: str) -> list[Outcome]:
        outcomes, best, sought = tune(path, out, params, Asked(sweeps, "", 2, (6, 24, 24)))
        assert best == params and sought is None
        return outcomes

    outcomes = run("flow3d_smooth=1", "cellprob_threshold=-0.2")
    passes = _passes(out)
    # two regions, three passes
    assert len(passes) == 6
    before = {marker: marker.stat().st_mtime_ns for marker in passes}

    again = run("flow3d_smooth=1", "cellprob_threshold=-0.2")
    run("flow_threshold=0.3", "min_size=5")
    assert {marker: marker.stat().st_mtime_ns for marker in _passes(out)} == before
    assert [o.trials[0].cells for o in again] == [o.trials[0].cells for o in outcomes]

    run("diameter=25")
    assert len(_passes(out)) == 12


@pytest.mark.parametrize("scaling", [{}, {"normalize": "plane"}, {"invert": True}])
def test_labels_are_those_of_a_run_on_the_region(
    tmp_path: Path, image: Path, scaling: dict[str, Any]
) -> None:
    found: list[Outcome]
    asked = Asked(["cellprob_threshold=-1"], "", 1, (1, 48, 60))
    given = {"region": "10:96,0:100", **scaling}
    found, *_ = tune(str(image), tmp_path / "out", check(given), asked)
    numbers = json.loads((tmp_path / "out/tune.json").read_text())
    (region,) = numbers["regions"]
    first, stop = (int(n) for n in region.split(",")[1].split(":"))
    assert 10 <= first < stop <= 96
    diameter = numbers["start"]["diameter"]
    for n, value in enumerate([-1, 0]):
        params = {**scaling, "region": region, "cellprob_threshold": value, "diameter": diameter}
        labels = _labels(image, tmp_path / f"run{n}", max_size_fraction=1, **params)
        window = found[0].shown[0].place.window
        shown = found[0].shown[0].labels[n]
        np.testing.assert_array_equal(labels[window.slices[1:]] != 0, shown != 0)
        assert found[0].trials[n].cells == labels.max()


def test_a_diameter_that_is_not_given_is_found_once_in_all_of_the_image(
    tmp_path: Path, command: Terapose
) -> None:
    plane = nuclei((23, 200, 220), radius=14, spacing=36)[0][11]
    image = write_zarr(tmp_path / "plane.zarr", plane)
    record = segment_file(str(image), tmp_path / "whole", check({"measure": "none"}))
    assert record["diameter"]["origin"] == "found"
    found = record["diameter"]["pixels"]
    assert found > 20  # that of the network is 17
    words = ("--regions", "2", "--size", "90,90", "--sweep", "min_size=20")
    said = command("tune", image, tmp_path / "out", *words)
    assert said.code == 0 and f"\ndiameter:   {found:g} pixels (found in " in said.out, said
    numbers = json.loads((tmp_path / "out/tune.json").read_text())
    assert numbers["start"]["diameter"] == found
    assert json.loads((tmp_path / "out/params.json").read_text())["diameter"] == found
    plans = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("plan.json")]
    assert plans and {plan["diameter"]["pixels"] for plan in plans} == {found}


def test_the_diameter_that_was_found_is_not_the_one_that_was_best(
    tmp_path: Path, image: Path, command: Terapose
) -> None:
    found = segment_file(str(image), tmp_path / "whole", check({"measure": "none"}))["diameter"]
    assert found["origin"] == "found"
    other = round(3 * found["pixels"])
    truth = _labels(image, tmp_path / "truth", diameter=other)
    assert truth.any()
    reference = write_zarr(tmp_path / "reference.zarr", truth)
    words: tuple[object, ...] = ("--reference", reference, "--size", "96,120", "--border", "keep")
    said = command("tune", image, tmp_path / "out", *words, "--sweep", f"diameter={other}")
    assert said.code == 0, said.err
    assert json.loads((tmp_path / "out/params.json").read_text())["diameter"] == other, said.out
    line = f"diameter:   {found['pixels']:g} pixels (found in the image, as none was given)"
    assert line in said.out.splitlines()
    # of one that was given, nothing is said, whatever was best
    words = (*words, "--diameter", str(found["pixels"]))
    said = command("tune", image, tmp_path / "out", *words, "--sweep", f"diameter={other}")
    assert said.code == 0 and "\ndiameter: " not in said.out


def test_a_reference_of_the_whole_image_is_cut_to_the_region(tmp_path: Path, image: Path) -> None:
    truth = np.zeros(PLANE[1:], np.uint16)
    truth[60:70, 80:95] = 5
    reference = write_zarr(tmp_path / "reference.zarr", truth)
    asked = Asked(["min_size=20"], str(reference), 1, (1, 40, 40))
    found, *_ = tune(str(image), tmp_path / "out", check({"region": "50:90,70:110"}), asked)
    shown = found[0].shown[0]
    window = shown.place.window.moved((0, 50, 70))
    assert shown.reference is not None
    np.testing.assert_array_equal(shown.reference != 0, truth[window.slices[1:]] != 0)


def test_of_a_mask_only_the_tissue_counts(tmp_path: Path, image: Path, command: Terapose) -> None:
    tissue = np.zeros(PLANE[1:], np.uint8)
    tissue[8:90, 10:60], tissue[50:90, 60:110] = 1, 1
    mask = write_zarr(tmp_path / "mask.zarr", tissue)
    given = {"region": str(mask), "diameter": 15, "border": "keep"}
    box = (slice(8, 90), slice(10, 110))
    truth = np.zeros(PLANE[1:], np.uint32)
    truth[box] = _labels(image, tmp_path / "truth", **given)
    cells = truth.max()
    assert cells > 5 and not truth[tissue == 0].any()
    # what is annotated elsewhere is not missed
    everything = _labels(image, tmp_path / "everything", diameter=15, border="keep")
    reference = np.where(tissue == 0, everything + cells, truth)
    there = write_zarr(tmp_path / "reference.zarr", reference.astype(np.uint32))
    words = [f"--{name}={value}" for name, value in given.items()]
    sweep = ("--reference", there, "--sweep", "min_size=2000", "--size")
    said = command("tune", image, tmp_path / "whole", *words, *sweep, "82,100")
    assert said.code == 0, said
    numbers = json.loads((tmp_path / "whole/tune.json").read_text())
    assert numbers["regions"] == ["0:1,8:90,10:110"]
    first = numbers["sweeps"][0]["values"][0]
    assert first["cells"] == cells and first["average_precision"] == [1, 1]
    assert json.loads((tmp_path / "whole/params.json").read_text())["region"] == str(mask)
    # of four quarters, the one without tissue is no region
    said = command("tune", image, tmp_path / "parts", *words, *sweep, "41,50", "--regions", "4")
    assert said.code == 0, said
    numbers = json.loads((tmp_path / "parts/tune.json").read_text())
    quarters = ["0:1,8:49,10:60", "0:1,49:90,10:60", "0:1,49:90,60:110"]
    assert numbers["regions"] == quarters


def test_files_of_others_are_kept(tmp_path: Path, image: Path, command: Terapose) -> None:
    (tmp_path / "params.json").write_text("{}")
    assert "would be overwritten" in command.refuses("tune", image, tmp_path)
    assert (tmp_path / "params.json").read_text() == "{}"
    assert not (tmp_path / ".terapose").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--sweep", "niter=3"), "not a parameter that can be tried"),
        (("--sweep", "flow3d_smooth=1"), "mode 3d only"),
        (("--size", "9,9000"), "cannot have this size"),
        (("--time", "all"), "one time point"),
        (("--diameter", "-1"), "diameter"),
    ],
)
def test_what_cannot_be_tried(
    tmp_path: Path, image: Path, command: Terapose, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in command.refuses("tune", image, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_reference_of_another_shape(tmp_path: Path, image: Path, command: Terapose) -> None:
    reference = write_zarr(tmp_path / "reference.zarr", np.ones((9, 9), np.uint8))
    said = command.refuses("tune", image, tmp_path / "out", "--reference", reference)
    assert "does not have the shape of the image" in said


def test_nothing_of_an_earlier_call_is_left_when_one_fails(tmp_path: Path, image: Path) -> None:
    asked = Asked(["min_size=20"], "", 1, (1, 48, 48))
    changing = write_zarr(tmp_path / "changing.zarr", np.asarray(zarr.open_array(image, mode="r")))
    out = tmp_path / "out"
    tune(str(changing), out, check({}), asked)
    assert {path.name for path in out.iterdir()} == {*NAMES, ".terapose"}

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        tune(str(changing), out, check({}), asked, stop)
    assert {path.name for path in out.iterdir()} == {".terapose"}
