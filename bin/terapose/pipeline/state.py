"""What stages leave for those that follow: the state of a run between two stages.

A gather leaves a *summary*, a small JSON file that holds a state: names of arrays and tables in the
store, and a few numbers. A gather returns what it adds (`Added`); `after` adds that to what earlier
stages said, so a stage is given one state only, and a stage that is left out leaves no gap. What
was done is kept apart, as the *history*.

This module is no part of what identifies a stage's code (`terapose.pipeline.code`), so a
run that is resumed reads summaries of an earlier release: a field may be added, and one may go with
the stage that writes it, but what a `Step` requires stays.

Reading what no stage has written yet, and a summary that says something else than is listed here,
are each one `StoreError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from terapose.core.errors import StoreError, few

Kinds = dict[str, dict[str, int]]
"""By library, how many tasks ran on each kind of machine (`terapose.pipeline.machine`)."""


class Step(BaseModel):
    """What one stage did.

    Attributes
    ----------
    stage, key
        Its name, and the digest of all that shaped its results.
    params
        Its parameters, without those that say how it ran.
    tasks
        Into how many the work was split; None: a gather.
    seconds
        That it took, of all tasks together.
    processor_seconds
        Of all threads of all tasks together; None if a task was run by an earlier release.
    peak_memory
        Largest of any task, in bytes; None if the system cannot measure it for one task.
    checksum
        Of what the tasks say of their results; None: a gather.
    told
        What the stage reports to people.
    ran_on
        On which kinds of machines, as far as its results depend on that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    key: str
    params: dict[str, Any]
    tasks: int | None = None
    seconds: float
    processor_seconds: float | None = None
    peak_memory: int | None
    checksum: str | None = None
    told: dict[str, Any] = {}
    ran_on: Kinds = {}

    def record(self) -> dict[str, Any]:
        """The step as ``provenance.json`` has it, under the stage's name."""
        done = self.model_dump(exclude={"stage", "told", "ran_on"}, exclude_none=True)
        ran_on = {"ran_on": self.ran_on} if self.ran_on else {}
        return {**done, "peak_memory": self.peak_memory, **ran_on, **self.told}


class _Unwritten(Enum):
    """What no stage has written: an enumeration, so that other processes know it."""

    YET = "not written yet"


_UNWRITTEN: Any = _Unwritten.YET


class State(BaseModel):
    """What is known after a stage. Shapes are (Z, Y, X), names are names in the store.

    Attributes
    ----------
    plan
        Digest of the plan.
    key
        Digest of all that shaped the results so far; it is part of the key of the next stage.
    history
        What was done, in the order in which it was.
    low, high
        What becomes 0 and 1 in each channel in use (percentiles; normalize global, lowhigh, none).
    scale
        Table of ``low`` and ``high``: (Z, C) float32 of planes, (P, C, rows, columns) float32 of
        tiles (percentiles; normalize plane, tile).
    flows
        Array of flows and cell probability, (C, Z, Y, X) of the plan's precision (combine).
    ends
        Array of displacements, (3, Z, Y, X) int16 (follow).
    displacements
        Table of the largest displacement of each block, (blocks,) int32 (follow).
    seeds
        Table of seeds by block: ``position`` (N,) uint64, ``count`` (N,) int32 and ``id`` (N,)
        uint64 (seeds).
    found
        Number of seeds, and so of provisional IDs (seeds).
    counts
        Array of end points in each voxel, (Z, Y, X) int32 (seeds, for its tasks).
    dtype
        Type that holds provisional IDs: uint32 or uint64 (seeds).
    labels
        Array of provisional labels, (Z, Y, X) ``dtype`` (objects, for its tasks).
    object_table, hole_table
        Windows of the tables of objects and of the voxels of their holes (objects; then
        flow_errors, filter_planes and stitch write objects of their own, and cell_holes holes).
    last
        Largest number in ``object_table`` (objects, filter_planes, stitch), or in ``cell_table``
        (process_cells).
    pieces
        Table of IDs that were too large, (N,) int64, and of the rounds of diffusion of each plane,
        (Z,) int64 (objects).
    relabel_map, patches
        Lookup from provisional ID to number, and how many voxels changed hands
        (filter_planes, stitch, relabel).
    relabel
        Folder of the label images that are written (relabel, process_cells, match).
    cell_table
        Windows of the table of cells, up to the number ``last`` (relabel, process_cells).
    by_block
        Table by block: number and box of each cell, (N,) int64 (relabel, process_cells, match).
    cells
        Number of cells (relabel, process_cells).
    label_type
        Type of the label images: uint32 or uint64 (relabel).
    expand
        Pixels by which nuclei grow to cells (relabel).
    upscale
        Whether results are brought to level 0 (relabel).
    numbers
        Array of numbers of processed cells, (Z, Y, X) uint32, by block; ``relabel`` has a lookup of
        each (process_cells).
    matched
        Lookups between nuclei and cells, ``cell_of`` and ``owner``, int64 (match).
    second_labels
        Array of the labels of the second network, (Z, Y, X) uint32 or uint64 (match, for its
        tasks).
    second
        What the record says of the run with the second network (match).
    given
        Where the labels are from, if they were given in place of those of a network
        (`terapose.results.given`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: str = ""
    key: str = ""
    history: tuple[Step, ...] = ()
    low: tuple[float, ...] = _UNWRITTEN
    high: tuple[float, ...] = _UNWRITTEN
    scale: str = _UNWRITTEN
    flows: str = _UNWRITTEN
    ends: str = _UNWRITTEN
    displacements: str = _UNWRITTEN
    seeds: str = _UNWRITTEN
    found: int = _UNWRITTEN
    counts: str = _UNWRITTEN
    dtype: str = _UNWRITTEN
    labels: str = _UNWRITTEN
    object_table: str = _UNWRITTEN
    hole_table: str = _UNWRITTEN
    last: int = _UNWRITTEN
    pieces: str = _UNWRITTEN
    relabel_map: str = _UNWRITTEN
    patches: int = _UNWRITTEN
    relabel: str = _UNWRITTEN
    cell_table: str = _UNWRITTEN
    by_block: str = _UNWRITTEN
    cells: int = _UNWRITTEN
    label_type: str = _UNWRITTEN
    expand: float = 0
    upscale: bool = False
    numbers: str = _UNWRITTEN
    matched: str = _UNWRITTEN
    second_labels: str = _UNWRITTEN
    second: dict[str, Any] | None = None
    given: dict[str, Any] | None = None

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattribute__(self, name: str) -> Any:
            """Refuse what no stage has written."""
            value = super().__getattribute__(name)
            if value is _UNWRITTEN:
                raise StoreError(
                    f"lacks {name}, which this stage needs",
                    where=self._whose(),
                    remedy="run again (the workflow without -resume)",
                )
            return value

    def _whose(self) -> str:
        """What to call the summary."""
        return f"summary of {self.history[-1].stage}" if self.history else "no summary"

    @property
    def is_named(self) -> bool:
        """Whether provisional labels have other numbers by now."""
        return "relabel_map" in self.model_fields_set

    @property
    def is_processed(self) -> bool:
        """Whether cells were processed by a function of the user's."""
        return "numbers" in self.model_fields_set

    @property
    def is_matched(self) -> bool:
        """Whether cells of a second network were matched."""
        return "matched" in self.model_fields_set

    def document(self) -> dict[str, Any]:
        """What a summary holds: all that was written."""
        return self.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True)
class Added:
    """What a gather returns.

    Attributes
    ----------
    state
        What later stages need, and nothing else.
    told
        What it reports to people.
    """

    state: State = field(default_factory=State)
    told: Mapping[str, Any] = field(default_factory=dict)


def after(before: State, step: Step, added: Added | None = None) -> State:
    """The state after a stage.

    Parameters
    ----------
    before
        The state before it.
    step
        What it did.
    added
        What it adds, if it adds anything.
    """
    added = added or Added()
    own = {name: getattr(added.state, name) for name in added.state.model_fields_set}
    done = step.model_copy(update={"told": {**step.told, **added.told}})
    return before.model_copy(
        update={**own, "key": step.key, "history": (*before.history, done)},
    )


def read_state(document: Mapping[str, Any], where: object) -> State:
    """The state that a summary holds.

    Raises
    ------
    StoreError
        If it says something that no stage writes, or lacks what every step has.
    """
    try:
        return State.model_validate(document)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))} ({e['msg']})" for e in error.errors()]
        raise StoreError(
            "is not the summary of a stage",
            where=where,
            got=few(faults, 3),
            remedy="run again (the workflow with -resume) to recreate it",
        ) from error
