"""Which objects stay, and which voxels of their holes are filled: Cellpose's rules, globally.

`cellpose.dynamics.compute_masks` and `cellpose.utils.fill_holes_and_remove_small_masks`, on a
table of whole objects instead of an array:

1. objects of more than ``max_size_fraction`` of the image go (`small_enough`), then those whose
   flows are wrong by more than ``flow_threshold``;
2. objects below ``min_size`` voxels go;
3. holes are filled, object by object in the order of their first voxels; what is in a hole is
   overwritten, other objects too;
4. objects below ``min_size`` go again.

Filling one object touches no other one, almost always; then the order does not matter and the
listed voxels are added. Where it does touch one that is still there, both belong to a *conflict
group*, and the group is filled in Cellpose's order on its part of the label image. No object of
another group can be in their holes, also not later: an object that loses voxels loses holes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.holes import fill
from terapose.algorithms.objects.measure import COLUMNS, measure
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.tables import ROWS, Table, by_number, empty, merged, select, window, windows

ReadBox = Callable[[Box], tuple[NDArray[Any], NDArray[np.float32]]]
"""Reads provisional labels and cell probability of a box."""


BOX = ("z0", "y0", "x0", "z1", "y1", "x1")
"""Columns of the box of an object; the last three are one beyond it."""


OBJECTS = {"id": np.int64, **COLUMNS}
"""Columns of a table of objects."""
HOLES = {"id": np.int64, "voxel": np.int64, "under": np.int64, "probability": np.float32}
"""Columns of a table of holes."""
PATCHES = {"voxel": np.int64, "id": np.int64}
"""Columns of a table of voxels that change hands."""
_TOGETHER = 256
"""Edge of cubes whose conflict groups are filled one after another: `ReadBox` may keep chunks."""


@dataclass(frozen=True)
class Windows:
    """Objects and their holes, by windows of numbers.

    Attributes
    ----------
    count
        Number of windows.
    objects
        For a window its objects: ``id`` (rising) and `terapose.algorithms.objects.measure.COLUMNS`,
        holes not filled, and where it was measured ``sum_error``, the error of an object's flows
        times ``measured`` voxels.
    holes
        For a window the holes of the objects: ``id``, ``voxel`` (linear index), ``under`` (number
        found there, 0 for none) and ``probability`` of every voxel of a hole.
    rows
        Numbers of a window.
    """

    count: int
    objects: Callable[[int], Table]
    holes: Callable[[int], Table]
    rows: int = ROWS

    @classmethod
    def of(cls, objects: Table, holes: Table, rows: int = ROWS) -> Windows:
        """Tables that are in memory, cut into windows."""
        spans = windows(int(objects["id"].max(initial=0)), rows)
        objects, holes = by_number(objects), by_number(holes)
        return cls(
            len(spans),
            lambda n: window(objects, *spans[n]),
            lambda n: window(holes, *spans[n]),
            rows,
        )


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
    found: Windows, shape: ZYX, rules: Mapping[str, Any], read: ReadBox, *, flat: bool = False
) -> Iterator[tuple[Table, Table]]:
    """Apply the rules, a window after the other.

    Parameters
    ----------
    found
        All objects and holes.
    shape
        Shape of the image.
    rules
        ``flow_threshold`` (0 is off), ``min_size``, ``min_median_fraction`` and ``border``.
    read
        Reads a box of the label image, for conflict groups.
    flat
        Whether each object is in one plane and is filled there.

    Yields
    ------
    objects : dict
        The objects of a window that stay, holes filled, by rising ``id``.
    patches : dict
        ``voxel`` and ``id``: voxels that change hands, to objects of this window (that stay or
        not); `read` has them otherwise.
    """
    groups = _groups(found, rules)
    tangled, patches = _fill_groups(groups, shape, read, flat)

    def filled(number: int) -> tuple[Table, Table]:
        return _window(found, number, tangled, shape, rules)

    least = 0.0
    if rules["min_median_fraction"]:
        counts = (filled(n)[0]["count"] for n in range(found.count))
        least = rules["min_median_fraction"] * _median(counts)
    for number in range(found.count):
        objects, plain = filled(number)
        mine = patches["id"] // found.rows == number
        own = merged([plain, select(patches, mine)])
        yield _own_filters(objects, shape, least, rules["border"], flat), own


def resolved(
    found: Windows, shape: ZYX, rules: Mapping[str, Any], read: ReadBox, *, flat: bool = False
) -> tuple[Table, Table]:
    """What `resolve` yields as a whole: objects by rising ``id``, patches by rising ``voxel``."""
    objects, patches = zip(*resolve(found, shape, rules, read, flat=flat), strict=True)
    moved = merged(patches)
    return merged(objects), select(moved, np.argsort(moved["voxel"], kind="stable"))


def _alive(objects: Table, rules: Mapping[str, Any]) -> Table:
    """Objects that are large enough, and whose flows are right."""
    least = rules["min_size"]
    keep = (objects["count"] >= least) | (least <= 0)
    if rules["flow_threshold"]:
        keep &= ~(objects["sum_error"] / objects["measured"] > rules["flow_threshold"])
    return select(objects, keep)


def _window(
    found: Windows, number: int, tangled: Table, shape: ZYX, rules: Mapping[str, Any]
) -> tuple[Table, Table]:
    """The objects of a window that are large enough with their holes filled, and plain patches."""
    objects, holes = _alive(found.objects(number), rules), found.holes(number)
    mine = np.isin(objects["id"], tangled["id"])
    rows = np.searchsorted(tangled["id"], objects["id"][mine])
    for name in COLUMNS:
        objects[name][mine] = tangled[name][rows]
    plain = select(holes, np.isin(holes["id"], objects["id"][~mine]))
    _add_plain(objects, plain, shape)
    least = rules["min_size"]
    keep = (objects["count"] >= least) | (least <= 0)
    keep &= objects["count"] > 0
    return select(objects, keep), {"voxel": plain["voxel"], "id": plain["id"]}


def _groups(found: Windows, rules: Mapping[str, Any]) -> list[Table]:
    """Groups of objects of which one is in a hole of another."""
    pairs = np.zeros((2, 0), np.int64)
    for number in range(found.count):
        objects, holes = _alive(found.objects(number), rules), found.holes(number)
        nested = (holes["under"] != 0) & np.isin(holes["id"], objects["id"])
        mine = np.stack([holes["id"][nested], holes["under"][nested]])
        pairs = np.concatenate([pairs, np.unique(mine, axis=1)], axis=1)
    near = np.unique(pairs)
    parts = [
        _alive(select(rows, np.isin(rows["id"], near)), rules)
        for rows in (found.objects(n) for n in np.unique(near // found.rows).tolist())
    ]
    if not parts:
        return []
    objects = merged(parts)
    pairs = pairs[:, np.isin(pairs, objects["id"]).all(axis=0)]
    return [select(objects, np.searchsorted(objects["id"], group)) for group in _connected(pairs.T)]


def _connected(pairs: NDArray[np.int64]) -> list[list[int]]:
    """Numbers that pairs connect, by rising number."""
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


def _median(counts: Iterable[NDArray[np.int64]]) -> float:
    """Median of many whole numbers, by how often each occurs; 0 if there are none."""
    size, times = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for values in counts:
        more, often = np.unique(values, return_counts=True)
        size, where = np.unique(np.concatenate([size, more]), return_inverse=True)
        times = np.bincount(where, np.concatenate([times, often])).astype(np.int64)
    if not len(size):
        return 0.0
    below, total = np.cumsum(times), int(times.sum())
    middle = size[np.searchsorted(below, [(total - 1) // 2 + 1, total // 2 + 1])]
    return float(middle.mean())


def _add_plain(objects: Table, holes: Table, shape: ZYX) -> None:
    """Add the voxels of holes to the statistics of their objects."""
    rows = np.searchsorted(objects["id"], holes["id"])
    np.add.at(objects["count"], rows, 1)
    for axis, values in zip("zyx", np.unravel_index(holes["voxel"], shape), strict=True):
        np.add.at(objects[f"sum_{axis}"], rows, values)
    np.add.at(objects["sum_probability"], rows, holes["probability"].astype(np.float64))


def _fill_groups(groups: list[Table], shape: ZYX, read: ReadBox, flat: bool) -> tuple[Table, Table]:
    """The objects of all conflict groups with their holes filled, and the changed voxels."""
    patches = [empty(PATCHES)]
    for group in sorted(groups, key=_place):
        patches.append(_fill_group(group, shape, read, flat))
    tangled = merged([empty(OBJECTS), *({c: g[c] for c in OBJECTS} for g in groups)])
    return select(tangled, np.argsort(tangled["id"])), merged(patches)


def _place(group: Table) -> tuple[int, ...]:
    """Where a group is, so that those near each other follow each other."""
    return tuple(at // _TOGETHER for at in box_of(group).start)


def _fill_group(group: Table, shape: ZYX, read: ReadBox, flat: bool) -> Table:
    """Fill the objects of a group one after another; returns the changed voxels."""
    box = box_of(group)
    labels, probability = read(box)
    local = np.zeros(box.shape, np.int32)
    for n, i in enumerate(group["id"].tolist()):
        local[labels == i] = n + 1
    before = local.copy()
    for n in np.argsort(group["first"], kind="stable").tolist():
        part = local[box_of(select(group, np.array([n]))).within(box)]
        part[fill(part == n + 1, flat=flat)] = n + 1
    group |= measure(local, len(group["id"]), box.start, shape, probability)
    changed = np.argwhere(local != before)
    owner = group["id"][local[tuple(changed.T)] - 1]
    voxel = np.ravel_multi_index(tuple((changed + box.start).T), shape).astype(np.int64)
    return {"voxel": voxel, "id": owner}


def _own_filters(objects: Table, shape: ZYX, least: float, border: str, flat: bool) -> Table:
    """Filters that Cellpose lacks: objects far below the median, objects at the border."""
    objects["border"] = np.zeros(len(objects["id"]), bool)
    for axis, length in zip("zyx", shape, strict=True):
        if not flat or axis != "z":
            objects["border"] |= (objects[f"{axis}0"] == 0) | (objects[f"{axis}1"] == length)
    objects = select(objects, objects["count"] >= least)
    return select(objects, ~objects["border"]) if border == "drop" else objects
