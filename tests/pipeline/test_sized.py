"""A plan without a diameter: the network finds it, on a bounded sample, or says that it cannot."""

from __future__ import annotations

import logging
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from tests.synthetic import write_ome_zarr, write_zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.model import Image
from terapose.networks.weights import resolve
from terapose.pipeline import sampling, sized
from terapose.pipeline.checked import open_checked
from terapose.pipeline.handover import Draft, Handed
from terapose.pipeline.plan import DiameterPlan, Plan
from terapose.pipeline.sampling import PLANES, WINDOWS, Sample
from terapose.pipeline.sized import plan_of
from terapose.stages import check as check_stage


def discs(edge: int, diameter: float) -> NDArray[np.uint16]:
    """A plane of bright discs with soft edges, and noise."""
    return balls((edge, edge), diameter)


def balls(shape: tuple[int, ...], diameter: float, *, seed: int = 1) -> NDArray[np.uint16]:
    """Bright balls with soft edges, and noise; in a plane they are discs."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 8, shape).astype(np.float32)
    step, reach = 1.7 * diameter, 0.85 * diameter
    for middle in product(*(np.arange(step / 2, n, step) for n in shape)):
        centre = [m + rng.normal(0, 1) for m in middle]
        near = tuple(slice(max(0, int(m - reach)), int(m + reach) + 2) for m in centre)
        places = np.ogrid[
            tuple(slice(one.start, min(one.stop, n)) for one, n in zip(near, shape, strict=True))
        ]
        far = np.sqrt(sum((at - m) ** 2 for at, m in zip(places, centre, strict=True)))
        image[near] += 900 / (1 + np.exp((far - diameter / 2) / (diameter / 20)))
    return image.clip(0, 65535).astype(np.uint16)


def planned(address: Path, **given: Any) -> Plan:
    """The plan of an image with the default network."""
    params = check({"diameter": "auto", **given})
    return plan_of(open_checked(str(address), params), [resolve("auto")], params)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of 40 pixels."""
    return write_zarr(tmp_path_factory.mktemp("plane") / "image.zarr", discs(400, 40)[np.newaxis])


@pytest.mark.slow
def test_the_diameter_is_found_whatever_the_cut(
    plane: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planned(plane)
    assert plan.diameter.origin == "found" and not caplog.records
    assert plan.diameter.pixels == pytest.approx(40, rel=0.2)
    assert plan.rescale == 17 / plan.diameter.pixels
    assert planned(plane, block_shape=(1, 50, 60), max_tasks=3).diameter == plan.diameter
    # the same grid as if the number had been given
    given = planned(plane, diameter=plan.diameter.pixels)
    assert given.diameter.origin == "given" and given.diameter.note == ""
    left_out = {"diameter"}
    assert given.model_dump(exclude=left_out) == plan.model_dump(exclude=left_out)


def test_it_is_not_looked_for_again_with_parameters_of_later_stages(plane: Path) -> None:
    """What the workflow's PLAN is cached by is the same: its input and the code."""

    def passed(**given: Any) -> dict[str, str]:
        params = check({"diameter": "auto", **given})
        lines = check_stage.run("s", str(plane), params, None).lines.splitlines()
        columns = dict(zip(*(line.split("\t") for line in lines), strict=True))
        return {name: columns[name] for name in ("plan", "identity")}

    first = passed()
    assert passed(cellprob_threshold=2, flow_threshold=0.7, min_size=20) == first
    assert passed(percentiles=(2, 98))["plan"] != first["plan"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "diameter"),
    [
        *(((1, 60, 60), 6), ((1, 600, 600), 150)),
        *(((24, 60, 60), 6), ((24, 72, 72), 12), ((195, 600, 600), 150)),
    ],
)
def test_the_shipped_network_finds_small_and_large_cells(
    tmp_path: Path, shape: tuple[int, int, int], diameter: float
) -> None:
    cells = balls(shape[shape[0] == 1 :], diameter).reshape(shape)
    found = planned(write_zarr(tmp_path / "image.zarr", cells)).diameter
    assert found.origin == "found"
    assert found.pixels == pytest.approx(diameter, rel=0.2)


@pytest.mark.slow
def test_in_the_workflow_it_is_the_plan_that_finds_it(plane: Path) -> None:
    params = check({"min_size": 20, "diameter": "auto"})
    lines = check_stage.run("s", str(plane), params, None).lines.splitlines()
    handed = Handed.read(dict(zip(*(line.split("\t") for line in lines), strict=True))["plan"])
    assert isinstance(handed.work, Draft)
    assert handed.plan(resolve("auto")) == planned(plane)


def test_what_cannot_be_told_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).normal(1000, 50, (1, 90, 100)).astype(np.uint16)
    path = write_zarr(tmp_path / "noise.zarr", noise)
    with caplog.at_level(logging.WARNING):
        plan = planned(path)
    assert (plan.diameter.origin, plan.diameter.pixels, plan.rescale) == ("network", 17, 1)
    [record] = caplog.records
    assert "noise.zarr: the size of cells cannot be found" in record.getMessage()
    assert "(--diameter)" in record.getMessage()


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 3), (3, 5, 5), (1, 2, 300), (1, 7, 5)])
def test_of_the_smallest_images_it_cannot_be_told(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 900, shape).astype(np.uint16)
    plan = planned(write_zarr(tmp_path / "image.zarr", values))
    assert plan.diameter.origin == "network"
    assert "cannot be found: in " in plan.diameter.note


def test_planes_that_are_too_large_to_decode_as_a_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a plane is decoded, however small the region that is segmented."""
    monkeypatch.setattr(sampling, "MOST", 120_000)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, discs(300, 20), compression="zlib", rowsperstrip=300)
    with caplog.at_level(logging.WARNING):
        plan = planned(path, region="0:1,0:90,0:100")
    assert plan.diameter.origin == "network"
    assert "planes cannot be read in parts, and are larger than" in caplog.text


@pytest.mark.slow
def test_it_is_found_unless_it_is_given(plane: Path) -> None:
    opened = open_checked(str(plane), check({}))
    plans = [plan_of(opened, [resolve("auto")], check(given)) for given in ({}, {"diameter": 0})]
    assert plans[0].diameter.origin == "found" and plans[0] == plans[1] == planned(plane)
    own = plan_of(opened, [resolve("auto")], check({"diameter": 17}))
    assert own.diameter.origin == "given" and own.rescale == 1


@pytest.mark.parametrize(("level", "finer"), [(0, False), (1, True)])
def test_an_error_that_a_found_diameter_leads_to_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int, finer: bool
) -> None:
    """Nobody has given it, and the default parameters are not to blame."""
    found = DiameterPlan(pixels=4.5, origin="found", note="9 cells in 2 windows")
    monkeypatch.setattr(sized, "find_diameter", lambda *_: found)
    path = write_ome_zarr(tmp_path / "image.zarr", np.zeros((8, 60, 60), np.uint16), factors=(1, 2))
    with pytest.raises(InputError, match="grow more than 64 times") as caught:
        planned(path, anisotropy=5, level=level, mode="3d")
    said = str(caught.value)
    assert "with the diameter 4.5 pixels, found in the image: 9 cells in 2 windows; " in said
    assert "give the diameter of a typical cell in pixels (--diameter)" in said
    assert "mode stitch" in said and ("a finer level (--level)" in said) == finer
    with pytest.raises(InputError, match="grow more than 64 times") as caught:
        planned(path, anisotropy=5, level=level, mode="3d", diameter=4.5)
    assert "found in the image" not in str(caught.value)


@pytest.mark.parametrize("given", [{"normalize": "none"}, {}, {"invert": True}])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_a_window_with_a_value_that_is_no_number_is_scaled_without_a_warning(
    tmp_path: Path, odd: float, given: dict[str, Any]
) -> None:
    """What is no number spreads to its neighbours where it is scaled; the run refuses it."""
    values = discs(290, 20)[np.newaxis] / 1000
    low = np.percentile(values, 1)
    windows = []
    for name, value in (("odd", odd), ("clean", low)):
        values[0, 150:152, 150] = value
        image = open_checked(str(write_zarr(tmp_path / f"{name}.zarr", values)), check({}))
        sample = Sample(image, check(given), 208)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            windows.append(np.stack(sample.windows(0.7)))
    assert np.isfinite(windows[0]).all()
    # but for the two voxels and what they are scaled with
    near = np.abs(windows[0] - windows[1]) < 0.02
    assert windows[0].shape == windows[1].shape and near.mean() > 0.999


class Counting:
    """A source that counts what is read of it."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.read: list[int] = []

    def __getitem__(self, index: Any) -> Any:
        values = self._source[index]
        self.read.append(np.asarray(values).size)
        return values


def sample_of(image: Image) -> Sample:
    return Sample(image, check({"normalize": "lowhigh", "lowhigh": "0,1"}), 208)


def test_of_a_huge_volume_little_is_read(tmp_path: Path) -> None:
    """A volume of 10**14 voxels, of which no chunk was ever written."""
    shape, chunks = (40_000, 50_000, 50_000), (64, 64, 64)
    path, names = tmp_path / "huge.zarr", ["z", "y", "x"]
    zarr.create_array(path, shape=shape, chunks=chunks, dtype="uint8", dimension_names=names)
    image = open_checked(str(path), check({}))
    source = Counting(image.open_source())
    object.__setattr__(image, "open_source", lambda: source)
    sample = sample_of(image)
    for scale in (17 / 6, 1.0):
        windows = sample.windows(scale)
        assert 0 < len(windows) <= WINDOWS
        assert {window.shape for window in windows} <= {(1, 207, 207), (1, 208, 208)}
    assert len(source.read) <= 16 * PLANES + 2 * WINDOWS
    assert sum(source.read) < 2_000_000


def test_coarse_windows_are_read_from_coarse_levels(tmp_path: Path) -> None:
    values = discs(600, 60)[np.newaxis]
    path = write_ome_zarr(tmp_path / "image.zarr", values, factors=(1, 2, 4))
    image = open_checked(str(path), check({}))
    sample = sample_of(image)
    [fine] = sample_of(open_checked(str(path / "0"), check({}))).windows(17 / 60)
    [coarse] = sample.windows(17 / 60)
    assert [level.shape[1:] for level in sample._levels] == [(600, 600), (300, 300), (150, 150)]
    assert coarse.shape == fine.shape == (1, 170, 170)
    # the levels show the same: discs are where they are
    assert np.corrcoef(coarse.ravel(), fine.ravel())[0, 1] > 0.95


def test_windows_of_a_region_are_those_of_the_region(tmp_path: Path) -> None:
    values = np.arange(4 * 300 * 300, dtype=np.float32).reshape(4, 300, 300)
    path = write_zarr(tmp_path / "image.zarr", values)
    write_zarr(tmp_path / "part.zarr", values[1:3, 40:240, 60:280])
    whole = open_checked(str(path), check({"region": "1:3,40:240,60:280"}))
    part = open_checked(str(tmp_path / "part.zarr"), check({}))
    ones, others = ([*sample_of(opened).windows(1.0)] for opened in (whole, part))
    assert ones
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)
