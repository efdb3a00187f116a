"""One task of a stage, as the stage sees it: what it is given, and what it leaves where.

Stages that drop what they were the last to need do so item by item, each after its own marker
(`Job.each`). How tasks are run, and receipts gathered, is in `terapose.pipeline.running`: every
stage depends on this module, and none of them on that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from terapose.core.devices import turn_of
from terapose.core.errors import StoreError
from terapose.core.geometry import Box
from terapose.core.levels import Cover
from terapose.io.images.model import Image
from terapose.io.store.store import Store
from terapose.pipeline.graph import STAGES
from terapose.pipeline.image_plan import same_content, unchanged
from terapose.pipeline.plan import OutputPlan, Plan, key_of
from terapose.pipeline.state import State

Receipt = dict[str, Any]
Result = dict[str, Any]
"""What ``run`` of a stage returns: part of a receipt."""


TRIES = 3
"""How often an item is done whose marker is lost or damaged each time."""


class AlreadyDoneError(Exception):
    """A twin of this task has left its marker."""


@dataclass(frozen=True)
class Job:
    """One task of a scattered stage, or a gather.

    Attributes
    ----------
    plan, store
        The plan and where its arrays are.
    stage
        Name of the stage; the passes of the network are ``gradients-yx`` and so on.
    task
        Number of the task.
    params
        The stage's own parameters by name, and what else it is given.
    before
        What the stages before this one have left; of a gather also what its tasks did.
    """

    plan: Plan
    store: Store
    stage: str
    task: int
    params: Mapping[str, Any]
    before: State

    @cached_property
    def key(self) -> str:
        """Digest of all parameters after the plan that shape this stage's results."""
        return stage_key(self.stage, self.params, self.before.key)

    @property
    def turn(self) -> int:
        """By which GPUs are shared out."""
        return turn_of(self.plan.digest, self.task)

    @property
    def items(self) -> range:
        """Blocks, slabs or regions to work on."""
        return self.plan.batch(self.stage, self.task, self.upscales)

    @property
    def upscales(self) -> bool:
        """Whether results are brought to level 0; known after ``relabel``."""
        return self.before.upscale

    @property
    def output(self) -> OutputPlan:
        """The label image that is written."""
        return self.plan.result(self.upscales)

    @property
    def cover(self) -> Cover | None:
        """How what was segmented covers the label image; None where they are one grid."""
        return self.plan.cover if self.upscales else None

    @property
    def marker(self) -> str:
        """Name of the task's marker in the store."""
        return f"done/{self.stage}-{self.key}/task-{self.task}.json"

    def item_marker(self, item: int) -> str:
        """Name of the marker of one item, in stages that finish item by item."""
        return f"done/{self.stage}-{self.key}/{item}.json"

    def left(self, item: int) -> dict[str, Any] | None:
        """What the marker of an item says; None of one that is missing or damaged.

        There is no other way to ask whether an item is done: who repeats it and who would be in its
        way have to agree.
        """
        return self.store.find_json(self.item_marker(item))

    def receipt(self) -> Receipt | None:
        """What the marker of this task says; None of one that is missing or damaged."""
        return self.store.find_json(self.marker)

    def each(self, item: int, work: Callable[[], Any]) -> Any:
        """Do one item unless its marker says it is done; returns what ``work`` returned.

        Parameters
        ----------
        item
            Number of the item.
        work
            Does it; calls `confirm` between reading and writing.

        Raises
        ------
        StoreError
            If ``work`` lacks what it reads and no twin has done the item, or if the item is found
            done and then not done, again and again.
        """
        name = self.item_marker(item)
        tries = 0
        while (done := self.left(item)) is None:
            if tries == TRIES:
                raise StoreError(
                    f"is still missing after {TRIES} attempts",
                    where=self.store.where(name),
                    remedy="run again; if the error persists, the disk is losing data",
                )
            tries += 1
            try:
                result = work()
                self.confirm_image()
                self.store.put_json(name, {"done": result})
            except AlreadyDoneError:
                continue  # its marker may have been damaged since
            except StoreError:
                if self.left(item) is None:
                    raise
        return done["done"]

    def name(self, array: str) -> str:
        """Name in the store of something this stage writes."""
        return f"{self.stage}-{self.key}/{array}"

    def confirm(self, item: int) -> None:
        """Call between reading and writing where a twin could drop what was read.

        Raises
        ------
        AlreadyDoneError
            If a twin has left the item's marker.
        """
        if self.left(item) is not None:
            raise AlreadyDoneError

    @cached_property
    def image(self) -> Image:
        """The whole image as the user gave it, and as it was planned."""
        image = self.plan.image.open().whole
        unchanged(image, self.store)
        return image

    @cached_property
    def full_image(self) -> Image:
        """Level 0 of the image, or what the region covers of it, as it was planned."""
        assert self.plan.full is not None
        image = self.plan.image.open(self.plan.full.selection)
        unchanged(image, self.store)
        return image

    @property
    def seen_image(self) -> Image:
        """The image on the grid of the label image, as it was planned."""
        if self.cover is not None:
            return self.full_image
        return replace(self.image, selection=self.plan.image.selection)

    def confirm_image(self) -> None:
        """Refuse an image that changed while it was read; call after reading, before a marker."""
        for name in ("image", "full_image"):
            if name in self.__dict__:
                unchanged(self.__dict__[name], self.store)

    def confirm_content(self) -> None:
        """Refuse an image that was changed behind its files' times, where content counts."""
        planned = self.plan.image
        if planned.identified_by == "content":
            same_content(self.image, planned.identity)
            if self.upscales and planned.full_identity:
                same_content(self.full_image, planned.full_identity)

    def read_output(self, box: Box, channel: int) -> NDArray[Any]:
        """Read a box of a channel of the image on the grid of the label image."""
        if self.cover is None:
            return self.read_image(box, channel)
        return self.full_image.read(box.slices, channel)

    def read_image(self, box: Box, channel: int) -> NDArray[Any]:
        """Read a box of a channel, in voxels of the region that is segmented."""
        return self.read_whole(box.moved(self.plan.image.offset), channel)

    def read_whole(self, box: Box, channel: int) -> NDArray[Any]:
        """Read a box of a channel of the whole image, or of the converted copy in the store."""
        if self.plan.image.convert:
            return self.store.read(source(channel), box)
        return self.image.read(box.slices, channel)


def source(channel: int) -> str:
    """Name of the converted copy of a channel."""
    return f"source/{channel}"


# parameters that say how a stage runs or what it keeps, not what comes out
_SILENT = {
    *("batch_size", "use_gpu", "keep_intermediates", "strict"),
    *("model_files", "cells", "output", "link", "jobs"),
}


def stage_key(stage: str, params: Mapping[str, Any], before: str) -> str:
    """Digest of the code and of all parameters after the plan that shape a stage's results.

    Parameters
    ----------
    stage, params
        Its name and its own parameters.
    before
        Key of the stage before.
    """
    return key_of(stage, STAGES[stage].code, shaping(params), before)


def shaping(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that decide what comes out."""
    return {k: v for k, v in params.items() if k not in _SILENT}
