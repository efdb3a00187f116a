"""Synthetic flow fields put where the network would have written, and the stages after it.

The stages between the network and the results know nothing of images: a field made from a label
image is as good as a predicted one, costs nothing, and can be given any shape. It goes into the
store as the network's last sum; `run_stages` then runs what a run runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cellpose import dynamics
from numpy.typing import NDArray
from scipy import ndimage
from tests.synthetic import write_zarr

from terapose.core.geometry import ZYX, Box
from terapose.core.params import check
from terapose.intermediates import label_store
from terapose.intermediates.cell_table import RESERVED, batches, markers
from terapose.io.labels.ome_zarr import open_level
from terapose.io.store.store import Store
from terapose.networks.files import identify
from terapose.pipeline import local
from terapose.pipeline.checked import open_checked
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.job import Job, Receipt
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.running import run
from terapose.pipeline.state import State
from terapose.stages import plan as plan_stage

Labels = NDArray[np.int64]
Field = NDArray[np.float32]
LAST = ("export", "measure", "outlines", "finish")
NETWORK = "gradients-zy"
"""The network's last sum over a volume: what ``combine`` reads."""


def balls(shape: ZYX, *, seed: int, count: int, radius: float) -> Labels:
    """Balls of varied size at random places, touching where they meet (nearest centre wins)."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (count, 3)) * np.array(shape)
    sizes = radius * rng.uniform(0.7, 1.3, count)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    labels, nearest = np.zeros(shape, np.int64), np.full(shape, 1.0)
    for number, (centre, size) in enumerate(zip(centres, sizes, strict=True), 1):
        distance = np.linalg.norm(grid - centre, axis=-1) / size
        inside = distance < nearest
        labels[inside], nearest[inside] = number, distance[inside]
    return labels


def checkerboard(shape: ZYX, edge: int) -> Labels:
    """Cubes that fill the image without a gap."""
    z, y, x = (n // edge for n in np.indices(shape))
    _, ny, nx = (-(-n // edge) for n in shape)
    return np.asarray((z * ny + y) * nx + x + 1, np.int64)


def towards(
    labels: Labels, points: NDArray[np.float64], *, noise: float = 0, seed: int = 0
) -> Field:
    """A field that carries the voxels of label ``n`` to ``points[n - 1]``, a voxel a step.

    Parameters
    ----------
    labels
        (Z, Y, X), dense or not; 0 is background.
    points
        (N, 3) ZYX.
    noise
        Standard deviation of what is added to flows and probability.

    Returns
    -------
    (4, Z, Y, X) float32
        dZ, dY, dX (times 5, as networks are trained) and cell probability, 3 inside and -3 outside.
        Outside of cells flows are noise, not zero.
    """
    rng = np.random.default_rng(seed)
    result = rng.normal(0, noise, (4, *labels.shape)).astype(np.float32)
    target = np.concatenate([np.zeros((1, 3)), points])[labels]
    way = np.moveaxis(target, -1, 0) - np.indices(labels.shape)
    length = np.maximum(np.sqrt((way**2).sum(axis=0)), 1)
    result[:3] += (5 * way / length * (labels > 0)).astype(np.float32)
    result[3] += np.where(labels > 0, np.float32(3), np.float32(-3))
    return result


def to_centres(labels: Labels, *, noise: float = 0, seed: int = 0) -> Field:
    """`towards` the centre of mass of each label."""
    last = int(labels.max())
    if not last:
        return towards(labels, np.zeros((0, 3)), noise=noise, seed=seed)
    index = np.arange(1, last + 1)
    there = np.isin(index, labels)
    points = np.zeros((last, 3))
    points[there] = ndimage.center_of_mass(labels > 0, labels, index[there])
    return towards(labels, points, noise=noise, seed=seed)


@dataclass
class Result:
    """What the stages made of a field."""

    plan: Plan
    store: Store
    labels: NDArray[Any]
    cells: dict[str, NDArray[Any]]
    states: dict[str, State] = field(default_factory=dict)


def prepared(folder: Path, model: Path, values: NDArray[Any], **params: Any) -> tuple[Plan, Store]:
    """A plan for an image of these values, and its store with the planned arrays."""
    image = folder / "image.zarr"
    if not image.exists():
        write_zarr(image, np.asarray(values), chunks=[min(64, n) for n in np.shape(values)])
    checked = check({"model": str(model), **params})
    plan = make_plan(open_checked(str(image), checked), identify(model), checked)
    store = Store(str(folder / "store" / plan.digest), plan.digest)
    plan_stage.run(plan, store)
    return plan, store


def scatter(
    plan: Plan, store: Store, stage: str, params: dict[str, Any], before: State
) -> list[Receipt]:
    """Run the tasks of a stage, the last one first: their order must not matter."""
    tasks = range(len(plan.tasks[stage]))
    return [run(Job(plan, store, stage, task, params, before)) for task in reversed(tasks)]


def run_stages(plan: Plan, store: Store, **params: Any) -> Result:
    """Run ``combine`` to ``measure`` on the network's last sum."""
    checked = check(params)
    runner = local.Runner(plan, store, order=lambda count: reversed(range(count)))
    graph = [s for s in GRAPH if s.name not in LAST]
    done = local.run_stages(runner, checked, {}, graph[graph.index(STAGES["combine"]) :])
    state, states = done.state, done.states
    scatter(plan, store, "export", {}, state)

    def job(stage: str) -> Job:
        return Job(plan, store, stage, 0, local.stage_params(checked, stage), state)

    labels = np.asarray(open_level(label_store.address(job("export")), 0)[:])
    params_of_measure = local.stage_params(checked, "measure")
    measured = scatter(plan, store, "measure", params_of_measure, state)
    parts = list(batches(job("finish"), [receipt["result"] for receipt in measured]))
    cells = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Result(plan, store, labels, cells, states)


PLANNED = (
    *("mode", "block_shape", "slab_planes", "rectangle", "max_tasks"),
    *("diameter", "anisotropy", "voxel_size"),
)


def segment_field(folder: Path, model: Path, field: Field, **params: Any) -> Result:
    """Segment a field that lies on the image's own grid (or the network's, if that is planned).

    Parameters
    ----------
    folder
        For the image and the store; plans of other blocks get a store of their own in it.
    model
        A weight file to plan with; it is not run.
    field
        (4, Z, Y, X) float32 on the network's grid.
    **params
        Parameters of any stage; ``image_shape`` if the image has another shape than the field.
    """
    shape = params.pop("image_shape", field.shape[1:])
    planned = {k: params.pop(k) for k in PLANNED if k in params}
    plan, store = prepared(folder, model, np.zeros(shape, np.uint8), **planned)
    assert plan.network_shape == field.shape[1:]
    store.write(f"gradients-{plan.axes[-1]}", Box.whole(plan.network_shape), field)
    return run_stages(plan, store, **params)


def stable_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cellpose leaves seeds of equal height to an unstable sort: Terapose defines their order."""
    unstable = torch.Tensor.argsort
    monkeypatch.setattr(torch.Tensor, "argsort", lambda self: unstable(self, stable=True))


def cellpose_masks(field: Field, **options: Any) -> NDArray[Any]:
    """Cellpose's own masks of a whole field; give niter, min_size, thresholds as it names them."""
    with pytest.MonkeyPatch.context() as patch:
        stable_sort(patch)
        masks = dynamics.resize_and_compute_masks(
            field[:3].copy(), field[3].copy(), do_3D=True, **{"niter": 200, **options}
        )
    return np.asarray(masks)


def same_partition(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two label images are equal after renumbering, with the same background."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]).astype(np.int64), axis=1)
    clean = bool(((pairs[0] == 0) == (pairs[1] == 0)).all())
    return clean and all(len(np.unique(side)) == pairs.shape[1] for side in pairs)


def same_result(one: Result, other: Result) -> None:
    """Labels and tables are equal, byte for byte."""
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.labels.dtype == other.labels.dtype
    assert list(one.cells) == list(other.cells)
    for name, values in one.cells.items():
        assert values.dtype == other.cells[name].dtype, name
        np.testing.assert_array_equal(values, other.cells[name], err_msg=name)


def check_table(result: Result) -> None:
    """IDs are dense, and the table says of each cell what the label image says."""
    found = np.unique(result.labels)
    ids = result.cells["CellID"]
    np.testing.assert_array_equal(found[found > 0], ids)
    np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))
    counts = np.bincount(result.labels.ravel(), minlength=len(ids) + 1)[1:]
    own = set(result.cells) - set(markers(result.plan, ["all"]))
    assert own <= RESERVED, "a channel may be named like these columns"
    size = "Area" if result.plan.mode == "2d" else "Volume"
    np.testing.assert_array_equal(result.cells[size], counts)
    if not len(ids):
        return
    places = ndimage.find_objects(result.labels.astype(np.int64))
    centres = np.array(ndimage.center_of_mass(result.labels > 0, result.labels, ids))
    for n, axis in enumerate("zyx"[-result.labels.ndim :]):
        first = [p[n].start for p in places]
        last = [p[n].stop for p in places]
        np.testing.assert_array_equal(result.cells[f"BoundingBox_{axis}0"], first)
        np.testing.assert_array_equal(result.cells[f"BoundingBox_{axis}1"], last)
        np.testing.assert_allclose(result.cells[f"{axis.upper()}_centroid"], centres[:, n])
