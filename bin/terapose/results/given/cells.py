"""Cells of labels that are given: checked, numbered, and put where stages look for cells.

1. The labels are read once, block by block, and divided into pieces
   (`terapose.algorithms.objects.pieces`), which are kept in the store with their sums and boxes;
2. pieces that touch across blocks are joined, and the pieces of each label added up to a cell;
3. what is wrong is refused, with the numbers of up to ten cells: cells of several planes where
   planes are independent, cells in several pieces, numbers that are not 1 to N;
4. the pieces get the numbers of their cells: those that they have, or, to be renumbered, by the
   position of their first voxels.

Nothing of this depends on the blocks. Left is what **relabel** would leave: the state after it,
from which labels are exported, measured and traced as those of a run. The tables of pieces and of
cells are in memory as a whole, a few hundred bytes for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.measure import measure
from terapose.algorithms.objects.pieces import across, joined, pieces_of
from terapose.core.errors import InputError, few
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.tables import Table, merged, select
from terapose.intermediates.cell_parts import WHOLE, at_border, no_parts, put_cell_tables, summed
from terapose.intermediates.relabel_map import RelabelMap, put_relabel_map
from terapose.io.store.arrays import INTEGER
from terapose.io.store.store import Store
from terapose.pipeline.plan import Plan, key_of
from terapose.pipeline.state import Added, State, Step, after
from terapose.results.given.source import Polygons, Source

STAGE = "labels"
"""What the record calls this."""
_PIECES = "labels/pieces"
_LABELS = "labels/labels"
Show = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Rules:
    """What is done with labels.

    Attributes
    ----------
    renumber
        Whether cells are numbered by position.
    pieces
        Whether a cell may be in several pieces.
    expand
        As the parameter.
    """

    renumber: bool
    pieces: bool
    expand: float


def put_cells(
    plan: Plan, store: Store, source: Source, rules: Rules, before: State, show: Show
) -> State:
    """Read labels into a store.

    Parameters
    ----------
    plan, store
        Of the image.
    source
        The labels.
    rules
        What is done with them.
    before
        The state that this comes after.
    show
        Called with the progress.

    Returns
    -------
    State
        As after **relabel**.

    Raises
    ------
    InputError
        If the labels are not as they should be, or have changed meanwhile.
    """
    begin, used = time.perf_counter(), time.process_time()
    flat = plan.mode == "2d"
    pieces = _put_pieces(plan, store, source, flat, show)
    cells, row = _cells_of(plan, store, pieces, flat)
    source.confirm()
    where = source.about["address"]
    if isinstance(source, Polygons):
        _refuse("has cells without a pixel", source.lost(cells["id"]), where, "remove them")
    _check(cells, where, rules, flat)
    order = np.argsort(cells["first"] if rules.renumber else cells["id"], kind="stable")
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    _put_labels(plan, store, np.concatenate([[0], number[row]]), show)
    cells = select({**cells, "id": number}, order)
    cells["border"] = at_border(cells, plan.image.shape, flat=flat)
    state = _put_tables(plan, store, cells, rules.expand)
    params = {"renumber": rules.renumber, "allow_pieces": rules.pieces, "expand": rules.expand}
    step = Step(
        stage=STAGE,
        key=key_of(STAGE, source.about, params, before.key),
        params=params,
        seconds=round(time.perf_counter() - begin, 3),
        processor_seconds=round(time.process_time() - used, 3),
        peak_memory=None,
    )
    given = {**source.about, "renumbered": rules.renumber}
    added = state.model_copy(update={"given": given})
    return after(before, step, Added(added, {"cells": len(order)}))


def _put_pieces(plan: Plan, store: Store, source: Source, flat: bool, show: Show) -> Table:
    """Divide all blocks into pieces; returns a row for each, with its label as ``id``."""
    store.create(_PIECES, plan.image.shape, plan.chunk, "int64", INTEGER)
    rows: list[Table] = [{"id": np.zeros(0, np.int64), **no_parts()}]
    count = 0
    for done, box in enumerate(plan.grid, 1):
        local, ids = pieces_of(source.read(box), flat=flat)
        nothing = np.zeros(box.shape, np.float32)
        found = measure(local, len(ids), box.start, plan.image.shape, nothing)
        rows.append({"id": ids, **{name: found[name] for name in no_parts()}})
        store.write(_PIECES, box, np.where(local, local.astype(np.int64) + count, 0))
        count += len(ids)
        show("labels", done, len(plan.grid))
    return merged(rows)


def _cells_of(
    plan: Plan, store: Store, pieces: Table, flat: bool
) -> tuple[Table, NDArray[np.int64]]:
    """A row for each cell, which counts ``pieces``, and the row of each piece."""
    ids = np.concatenate([[0], pieces["id"]])
    pairs = [np.zeros((0, 2), np.int64)]
    for box in plan.grid:
        for axis in range(1 if flat else 0, 3):
            if box.start[axis]:
                slab = store.read(_PIECES, _around_face(box, axis, plan.image.shape, flat))
                pairs.append(across(np.moveaxis(slab, axis, 0), ids, flat=flat))
    one = joined(len(pieces["id"]), np.concatenate(pairs))[1:]
    labels, row = np.unique(pieces["id"], return_inverse=True)
    row = row.ravel()
    whole = np.unique(np.stack([row, one]), axis=1)[0] if len(row) else row
    cells: Table = {"id": labels, "pieces": np.bincount(whole, minlength=len(labels))}
    return cells | summed(pieces, row, len(labels)), row


def _around_face(box: Box, axis: int, shape: ZYX, flat: bool) -> Box:
    """A layer of voxels on either side of the first face of a block across an axis."""
    margin = [0 if flat and n == 0 else 1 for n in range(3)]
    margin[axis] = 0
    wide = box.grow(zyx(margin)).clip(shape)
    start, stop = list(wide.start), list(wide.stop)
    start[axis], stop[axis] = box.start[axis] - 1, box.start[axis] + 1
    return Box(zyx(start), zyx(stop))


def _check(cells: Table, where: str, rules: Rules, flat: bool) -> None:
    """Refuse cells that are not as they should be."""
    ids = cells["id"]
    if flat:
        tall = ids[cells["z1"] - cells["z0"] > 1]
        remedy = "give mode 3d, or another number to the part in each plane"
        _refuse("has cells in several planes, which mode 2d has not", tall, where, remedy)
    if not rules.pieces:
        several = ids[cells["pieces"] > 1]
        remedy = "join or remove the pieces, or give --allow-pieces"
        _refuse("has cells in several pieces", several, where, remedy)
    if not rules.renumber and len(ids) and ids[-1] != len(ids):
        # between two numbers, and before the first
        gaps = np.diff(ids, prepend=0)
        starts = [(ids[at] - gaps[at] + 1, ids[at]) for at in np.flatnonzero(gaps > 1)[:10]]
        missing = [n for first, stop in starts for n in range(first, min(first + 10, stop))]
        left = int(ids[-1]) - len(ids)
        names = [str(n) for n in missing[:10]]
        more = f" and {left - len(names)} more" if left > len(names) else ""
        raise InputError(
            "the numbers of cells are not 1 to N",
            where=where,
            got=f"{len(ids)} cells up to number {ids[-1]}, without {', '.join(names)}{more}",
            remedy="give --renumber, which numbers the cells by position",
        )


def _refuse(what: str, cells: Any, where: str, remedy: str) -> None:
    """Refuse some cells, if there are any."""
    if len(cells):
        names = [*map(str, cells[:10]), *cells[10:]]
        raise InputError(what, where=where, got=few(names, 10), remedy=remedy)


def _put_labels(plan: Plan, store: Store, numbers: NDArray[np.int64], show: Show) -> None:
    """Write the labels with the numbers of their pieces, which are needed no longer."""
    store.create(_LABELS, plan.image.shape, plan.chunk, "uint32", INTEGER)
    for done, box in enumerate(plan.grid, 1):
        found = store.read(_PIECES, box)
        store.write(_LABELS, box, np.ascontiguousarray(numbers[found].astype(np.uint32)))
        show("numbers", done, len(plan.grid))
    store.drop(_PIECES)


def _put_tables(plan: Plan, store: Store, cells: Table, expand: float) -> State:
    """Write what stages after **relabel** read; returns where it is."""
    count = len(cells["id"])
    put_cell_tables(store, plan, "labels", {name: cells[name] for name in ("id", *WHOLE, "border")})
    same = np.arange(count + 1, dtype=np.uint32)
    nothing = np.zeros(0, np.int64)
    relabel_map = RelabelMap(same, nothing, nothing)
    put_relabel_map(store, "labels/relabel_map", plan.grid, relabel_map)
    return State(
        labels=_LABELS,
        found=count,
        dtype="uint32",
        relabel_map="labels/relabel_map",
        patches=0,
        relabel="labels",
        cell_table="labels/cells",
        by_block="labels/by_block",
        label_type="uint32",
        cells=count,
        last=count,
        expand=expand,
        upscale=False,
    )
