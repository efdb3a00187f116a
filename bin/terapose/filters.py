"""Which objects stay, and which voxels of their holes are filled: Cellpose's rules, globally.

`cellpose.dynamics.compute_masks` and `cellpose.utils.fill_holes_and_remove_small_masks`, on a
table of whole objects instead of an array:

1. objects of more than ``max_size_fraction`` of the image go (`small_enough`), then those whose
   flows are wrong by more than ``flow_threshold``;
2. objects below ``min_size`` voxels go;
3. holes are filled, object by object in the order of their first voxels; what lies in a hole is
   overwritten, other objects too;
4. objects below ``min_size`` go again.

Filling one object touches no other one, almost always; then the order does not matter and the
listed voxels are added. Where it does touch one that is still there, both belong to a *conflict
group*, and the group is filled in Cellpose's order on its part of the label image. No object of
another group can lie in their holes, also not later: an object that loses voxels loses holes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.geometry import ZYX, Box, zyx
from terapose.kernels.objects import fill, measure

Table = dict[str, NDArray[Any]]
ReadBox = Callable[[Box], tuple[NDArray[Any], NDArray[np.float32]]]
"""Reads provisional labels and cell probability of a box."""


BOX = ("z0", "y0", "x0", "z1", "y1", "x1")
"""Columns of the box of an object; the last three are one beyond it."""


def select(table: Table, keep: NDArray[Any]) -> Table:
    """Some rows of a table."""
    return {name: values[keep] for name, values in table.items()}


def box_of(objects: Table) -> Box:
    """The box that holds all objects of a table."""
    return Box(
        zyx(int(objects[f"{a}0"].min()) for a in "zyx"),
        zyx(int(objects[f"{a}1"].max()) for a in "zyx"),
    )


def together(objects: Table, near: Box) -> list[Table]:
    """Objects to be read together: those inside of a box, and each other one by itself."""
    start = np.stack([objects[f"{a}0"] for a in "zyx"], axis=1)
    stop = np.stack([objects[f"{a}1"] for a in "zyx"], axis=1)
    small = np.all((start >= near.start) & (stop <= near.stop), axis=1)
    large = [select(objects, np.array([row])) for row in np.flatnonzero(~small)]
    return ([select(objects, small)] if small.any() else []) + large


def small_enough(
    objects: Table, shape: ZYX, fraction: float, *, flat: bool = False
) -> NDArray[np.bool_]:
    """Which objects are no larger than a fraction of the image, or of their plane if ``flat``."""
    whole = np.prod(shape[1:] if flat else shape, dtype=np.float64)
    return np.asarray(objects["count"] <= whole * fraction)


def resolve(
    objects: Table,
    holes: Table,
    shape: ZYX,
    rules: Mapping[str, Any],
    read: ReadBox,
    *,
    flat: bool = False,
) -> tuple[Table, Table]:
    """Apply the rules.

    Parameters
    ----------
    objects
        ``id`` (rising) and `terapose.kernels.objects.COLUMNS` of every object, holes not filled,
        and where it was measured ``sum_error``, the error of its flows times ``measured`` voxels.
    holes
        ``id``, ``voxel`` (linear index), ``under`` (ID found there, 0 for none) and
        ``probability`` of every voxel of a hole.
    shape
        Shape of the image.
    rules
        ``flow_threshold`` (0 is off), ``min_size``, ``min_median_fraction`` and ``border``.
    read
        Reads a box of the label image, for conflict groups.
    flat
        Whether each object lies in one plane and is filled there.

    Returns
    -------
    objects : dict
        The objects that stay, holes filled, by rising ``id``.
    patches : dict
        ``voxel`` and ``id``: voxels that change hands, by rising voxel; `read` has them otherwise.
    """
    least = rules["min_size"]
    keep = (objects["count"] >= least) | (least <= 0)
    if rules["flow_threshold"]:
        keep &= ~(objects["sum_error"] / objects["measured"] > rules["flow_threshold"])
    objects = select(objects, keep)
    holes = select(holes, np.isin(holes["id"], objects["id"]))
    groups = _conflicts(objects, holes)
    tangled = np.array(sorted({i for group in groups for i in group}), np.int64)
    plain = select(holes, ~np.isin(holes["id"], tangled))
    _add_plain(objects, plain, shape)
    voxels, owners = [plain["voxel"]], [plain["id"]]
    for group in groups:
        changed, owner = _fill_group(objects, group, shape, read, flat)
        voxels.append(changed)
        owners.append(owner)
    keep = (objects["count"] >= least) | (least <= 0)
    keep &= objects["count"] > 0
    objects = _own_filters(select(objects, keep), shape, rules, flat)
    voxel, owner = np.concatenate(voxels), np.concatenate(owners)
    order = np.argsort(voxel, kind="stable")
    return objects, {"voxel": voxel[order], "id": owner[order]}


def _conflicts(objects: Table, holes: Table) -> list[list[int]]:
    """Groups of objects of which one lies in a hole of another."""
    nested = (holes["under"] != 0) & np.isin(holes["under"], objects["id"])
    pairs = np.unique(np.stack([holes["id"][nested], holes["under"][nested]], axis=1), axis=0)
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent.setdefault(i, i) != i:
            i = parent[i]
        return i

    for a, b in pairs.tolist():
        parent[root(a)] = root(b)
    groups: dict[int, list[int]] = {}
    for i in sorted(parent):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def _add_plain(objects: Table, holes: Table, shape: ZYX) -> None:
    """Add the voxels of holes to the statistics of their objects."""
    rows = np.searchsorted(objects["id"], holes["id"])
    np.add.at(objects["count"], rows, 1)
    for axis, values in zip("zyx", np.unravel_index(holes["voxel"], shape), strict=True):
        np.add.at(objects[f"sum_{axis}"], rows, values)
    np.add.at(objects["sum_probability"], rows, holes["probability"].astype(np.float64))


def _fill_group(
    objects: Table, group: list[int], shape: ZYX, read: ReadBox, flat: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fill the objects of a conflict group one after another; returns the changed voxels."""
    rows = np.searchsorted(objects["id"], group)
    start = tuple(int(objects[c][rows].min()) for c in ("z0", "y0", "x0"))
    stop = tuple(int(objects[c][rows].max()) for c in ("z1", "y1", "x1"))
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    labels, probability = read(box)
    local = np.zeros(box.shape, np.int32)
    for n, i in enumerate(group):
        local[labels == i] = n + 1
    before = local.copy()
    for n in np.argsort(objects["first"][rows], kind="stable").tolist():
        row = rows[n]
        a = Box(
            (int(objects["z0"][row]), int(objects["y0"][row]), int(objects["x0"][row])),
            (int(objects["z1"][row]), int(objects["y1"][row]), int(objects["x1"][row])),
        ).within(box)
        part = local[a]
        part[fill(part == n + 1, flat=flat)] = n + 1
    for name, values in measure(local, len(group), box.start, shape, probability).items():
        objects[name][rows] = values
    changed = np.argwhere(local != before)
    owner = np.array(group, np.int64)[local[tuple(changed.T)] - 1]
    return np.ravel_multi_index(tuple((changed + start).T), shape).astype(np.int64), owner


def _own_filters(objects: Table, shape: ZYX, rules: Mapping[str, Any], flat: bool) -> Table:
    """Filters that Cellpose lacks: objects far below the median, objects at the border."""
    objects["border"] = np.zeros(len(objects["id"]), bool)
    for axis, length in zip("zyx", shape, strict=True):
        if not flat or axis != "z":
            objects["border"] |= (objects[f"{axis}0"] == 0) | (objects[f"{axis}1"] == length)
    if rules["min_median_fraction"] and len(objects["id"]):
        least = rules["min_median_fraction"] * np.median(objects["count"])
        objects = select(objects, objects["count"] >= least)
    return select(objects, ~objects["border"]) if rules["border"] == "drop" else objects
