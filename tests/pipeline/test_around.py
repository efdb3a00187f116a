"""A stage before the plan decides the same on one machine and as a process of the workflow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from tests.synthetic import voxels, write_ome_zarr

from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.networks.files import identify
from terapose.pipeline import around
from terapose.pipeline.arguments import arguments
from terapose.pipeline.checked import open_checked
from terapose.pipeline.handover import Handed
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.stage import Stage
from terapose.stages import check as check_stage

Finds = Callable[[dict[str, Any]], list[Parameters]]


def _has_no_region(mode: str, params: Parameters) -> bool:
    return not params.region


STAGE = Stage("guess", "Guess.", "small", phase="before", asked=_has_no_region)


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Finds:
    """Add a stage before the plan that finds this; what it is given is noted."""

    def add(found: dict[str, Any]) -> list[Parameters]:
        given: list[Parameters] = []

        def find(image: object, params: Parameters, model_files: object) -> dict[str, Any]:
            given.append(params)
            return found

        monkeypatch.setitem(sys.modules, "terapose.stages.guess", SimpleNamespace(find=find))
        for module in (around, check_stage):
            monkeypatch.setattr(module, "BEFORE", (STAGE,))
        return given

    return add


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A volume of two channels and two levels."""
    array = voxels(2, 6, 40, 44)
    return write_ome_zarr(tmp_path / "image.zarr", array, axes="czyx", factors=(1, 2))


def test_a_finished_plan_is_handed_on(image: Path, tiny_model: Path, finds: Finds) -> None:
    """Where the stage is not asked for, **check** has made it."""
    given = finds({"diameter": 9})
    row = row_of(
        image, check({"model": str(tiny_model), "diameter": 17, "region": "0:6,0:30,0:30"})
    )
    handed = Handed.read(row["plan"])
    assert isinstance(handed.work, Plan) and handed.found(STAGE, tiny_model).text == row["plan"]
    assert not given and STAGE.name not in row["runs"].split()


def test_check_says_which_stages_around_run(
    image: Path, tiny_model: Path, finds: Finds, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds({})
    later = [Stage(name, "Look.", "small", phase="after") for name in ("one", "two")]
    later[1] = replace(later[1], asked=lambda mode, params: params.min_size > 50)
    for module in (around, check_stage):
        monkeypatch.setattr(module, "AFTER", tuple(later))
    looked: list[str] = []
    for name in ("one", "two"):
        looks = SimpleNamespace(look=lambda *_, name=name: looked.append(name))
        monkeypatch.setitem(sys.modules, f"terapose.stages.{name}", looks)
    for size, wanted in ((40, ["one"]), (60, ["one", "two"])):
        params = check({"model": str(tiny_model), "min_size": size})
        runs = row_of(image, params)["runs"].split()
        around.look_all("3d", params, image)
        assert looked == wanted == [name for name in runs if name in ("one", "two")]
        assert STAGE.name in runs
        looked.clear()


def locally(image: Path, model: Path, params: Parameters) -> Plan:
    """The plan of `terapose segment`."""
    found = around.find_all(open_checked(str(image), params), params, [model])
    return make_plan(found.image, identify(model), found.params)


def row_of(image: Path, params: Parameters) -> dict[str, str]:
    """The line from which the workflow starts the sample."""
    names, values = check_stage.run("s", str(image), params, None).lines.splitlines()
    return dict(zip(names.split("\t"), values.split("\t"), strict=True))


def in_the_workflow(image: Path, model: Path, params: Parameters) -> Plan:
    """The plan of the processes CHECK, that of the stage, and PLAN."""
    handed = Handed.read(row_of(image, params)["plan"]).found(STAGE, model)
    return Handed.read(handed.text).plan(model)


@pytest.mark.parametrize(
    "found",
    [
        {"diameter": 9},
        {"region": "1:4,0:30,4:40"},
        {"level": 1},
        {"level": 1, "region": "0:6,0:18,0:20", "normalize": "none"},
    ],
    ids=str,
)
def test_the_plan_is_the_same(
    image: Path, tiny_model: Path, finds: Finds, found: dict[str, Any]
) -> None:
    given = finds(found)
    params = check({"model": str(tiny_model), "min_size": 40, "diameter": 17})
    plan = locally(image, tiny_model, params)
    assert plan == in_the_workflow(image, tiny_model, params)
    assert plan != make_plan(open_checked(str(image), params), identify(tiny_model), params)
    # and it is given the same: nothing that the workflow does not tell it
    assert len(given) == 2 and given[0] == given[1] and given[0].min_size != 40


@pytest.mark.parametrize("where", [locally, in_the_workflow])
@pytest.mark.parametrize(
    ("found", "error", "said"),
    [
        (
            {"cellprob_threshold": 1.5, "diameter": 9},
            ValueError,
            "^stage guess: finds cellprob_threshold, which shapes more than the plan; allowed",
        ),
        ({"use_gpu": True, "model": "x"}, ValueError, "^stage guess: finds model, use_gpu, which"),
        ({"region": "1:2,0:9,0:9"}, ValueError, "^stage guess: changes the mode from 3d to 2d"),
        ({"channels": "3"}, InputError, "image.zarr: there is no such channel; got 3"),
        ({"diameter": -1}, InputError, "^what stage guess found: diameter: got -1, "),
    ],
    ids=str,
)
def test_what_cannot_be_the_same_is_refused(
    image: Path,
    tiny_model: Path,
    finds: Finds,
    where: Callable[..., Plan],
    found: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    finds(found)
    with pytest.raises(error, match=said) as caught:
        where(image, tiny_model, check({"model": str(tiny_model)}))
    assert type(caught.value) is error


def test_another_image_than_checked_is_refused(image: Path, tiny_model: Path, finds: Finds) -> None:
    finds({"level": 1})
    handed = Handed.read(row_of(image, check({"model": str(tiny_model)}))["plan"])
    other = np.ones((2, 6, 40, 44), np.uint16)
    write_ome_zarr(image.with_name("other.zarr"), other, axes="czyx", factors=(1, 2))
    image.rename(image.with_name("first.zarr"))
    image.with_name("other.zarr").rename(image)
    with pytest.raises(InputError, match=r"image\.zarr: the image has changed since"):
        handed.found(STAGE, tiny_model)


@pytest.mark.parametrize("placing", [{}, {"upscale": True}, {"table": "csv,geojson"}], ids=str)
def test_a_level_that_is_found_has_to_lead_where_results_lie(
    tmp_path: Path,
    tiny_model: Path,
    finds: Finds,
    monkeypatch: pytest.MonkeyPatch,
    placing: dict[str, Any],
) -> None:
    """Level 1 lies elsewhere: it is refused on one machine and in the workflow, if it matters."""
    finds({"level": 1})
    image = tmp_path / "image.zarr"
    root = zarr.create_group(str(image), zarr_format=3)
    for name, size in (("0", 40), ("1", 20)):
        root.create_array(name, data=voxels(1, 1, size, size)[0])
    moved = [{"type": "translation", "translation": [0, 90, 0]}]
    datasets: list[Any] = [{"path": "0"}, {"path": "1", "coordinateTransformations": moved}]
    axes: list[Any] = [{"name": axis, "type": "space"} for axis in "zyx"]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    known = replace(STAGE, calls="check")  # with code of its own
    monkeypatch.setattr(check_stage, "commands", lambda: {STAGE.name: known})
    params = check({"model": str(tiny_model), "diameter": 9, **placing})
    row = row_of(image, params)
    wanted = arguments(params, ("upscale", "table"))
    assert row[STAGE.name] == f"{wanted} --code {known.code}"

    def workflow() -> Plan:
        handed = Handed.read(row["plan"]).found(STAGE, tiny_model, placing)
        return Handed.read(handed.text).plan(tiny_model)

    for where in (partial(locally, image, tiny_model, params), workflow):
        if placing:
            with pytest.raises(InputError, match="does not cover the same area as level 0"):
                where()
        else:
            assert where().image.level == 1
