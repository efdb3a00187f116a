"""Scores of label images by their addresses: opening them, bringing them to one grid, scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from terapose.apps.evaluate.align import (
    Aligned,
    Size,
    aligned,
    disagreement,
    fitting,
    grid_of,
    length_of,
)
from terapose.apps.evaluate.boundary import TOLERANCE, Reach
from terapose.apps.evaluate.cellmap import Instances, Semantic, score_instances, score_semantic
from terapose.apps.evaluate.components import planes_at_once
from terapose.apps.evaluate.counts import BLOCK, check_labels
from terapose.apps.evaluate.evaluation import Evaluation, Settings, evaluate
from terapose.apps.evaluate.masks import note
from terapose.apps.evaluate.numbers import plain
from terapose.apps.evaluate.scores import THRESHOLDS
from terapose.apps.evaluate.seams import planes_of
from terapose.apps.evaluate.sizes import Scale
from terapose.core.errors import InputError, shown
from terapose.io.images.array_like import Lazy, open_labels
from terapose.io.images.watch import Watch

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What is asked for, of each pair of images.

    Attributes
    ----------
    thresholds
        IoU values above 0 up to 1.
    align
        "voxels": both images have one shape, voxels at the same position are compared; "position":
        the prediction is resampled to the voxels of the reference.
    voxel_size
        (z, y, x) in micrometres of images that do not specify it.
    tolerance
        How far boundaries may be apart, in pixels of Y or X.
    sizes, diameters
        Edges between ranges of sizes, one of the two at most.
    block
        (Z, Y, X) of the blocks by which a prediction was divided, in its voxels.
    """

    thresholds: tuple[float, ...] = THRESHOLDS
    align: Literal["voxels", "position"] = "voxels"
    voxel_size: Size | None = None
    tolerance: float = TOLERANCE
    sizes: tuple[float, ...] | None = None
    diameters: tuple[float, ...] | None = None
    block: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked before an image is opened."""
        if self.sizes and self.diameters:
            raise InputError(
                "are two ways to give the same thing",
                where="sizes and diameters",
                remedy="give one of the two",
            )
        size = self.voxel_size
        if size is not None and not all(step > 0 for step in size):
            raise InputError("the voxel size must be above 0", where="voxel_size", got=size)

    def settings(self, voxel_size: Size | None, *, is_plane: bool) -> Settings:
        """Settings for images with voxels of a size."""
        pixel = min(voxel_size[1:]) if voxel_size else 1.0
        z, y, x = (step / pixel for step in voxel_size or (1.0, 1.0, 1.0))
        scale = Scale(
            self.diameters or self.sizes,
            diameter=self.diameters is not None,
            length=length_of(voxel_size, is_plane=is_plane),
            unit="um" if voxel_size else "voxels",
        )
        return Settings(self.thresholds, Reach(self.tolerance, (z, y, x)), scale)


def check_pairs(pairs: Iterable[tuple[str, str, str]], asked: Asked) -> None:
    """Open all images of several pairs, and refuse what cannot be compared, before any is scored.

    Parameters
    ----------
    pairs
        Addresses of reference and prediction of each, and its kind for the scores of CellMap; empty
        for the others.
    asked
        What is asked for.

    Raises
    ------
    InputError
        As `answer` and `cellmap_answer`, except for what only reading all voxels shows; or if some
        diameters are in micrometres and others in pixels.
    """
    known: dict[bool, str] = {}
    for reference, predicted, kind in pairs:
        opened = Opened(reference, predicted, asked, open_labels)
        check_labels(opened.both.reference, opened.both.predicted, (reference, predicted))
        if kind == "instance":
            opened.known_size()
        elif not kind:
            opened.settings(asked.block)
        known.setdefault(opened.voxel_size is not None, reference)
    if asked.diameters is not None and len(known) > 1:
        raise InputError(
            "are in micrometres for some images and in pixels for others",
            where="diameters",
            got=f"a voxel size of {shown(known[True])}, and none of {shown(known[False])}",
            remedy="give voxel_size for those that do not specify it, or sizes in voxels",
        )


@dataclass(frozen=True)
class Answer:
    """Scores of a pair of images.

    Attributes
    ----------
    evaluation
        The scores.
    aligned
        How the prediction was resampled, if it was.
    notes
        What speaks against the comparison.
    """

    evaluation: Evaluation
    aligned: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and dictionaries for JSON."""
        about = plain({"aligned": self.aligned, "notes": self.notes})
        return {**self.evaluation.as_dict(), **about}


class Opened:
    """Two label images on one grid.

    Parameters
    ----------
    reference, predicted
        Addresses.
    asked
        How they are compared.
    opening
        Opens a label image.
    """

    def __init__(
        self, reference: str, predicted: str, asked: Asked, opening: Callable[[str], Lazy]
    ) -> None:
        self._asked = asked
        self.reference, self.predicted = opening(reference), opening(predicted)
        self.voxel_size = self.reference.image.voxel_size or asked.voxel_size
        self.is_moved = asked.align == "position"
        self.both = self._aligned(asked.voxel_size)
        same = not self.is_moved and self.reference.shape == self.predicted.shape
        found = disagreement(self.reference, self.predicted) if same else ""
        self.notes = (f"{found}; compared voxel by voxel (--align position)",) if found else ()

    def _aligned(self, voxel_size: Size | None) -> Aligned:
        if not self.is_moved:
            return Aligned(self.reference, self.predicted)
        here = grid_of(self.reference, voxel_size)
        return aligned(self.reference, self.predicted, here, grid_of(self.predicted, voxel_size))

    @property
    def block(self) -> tuple[int, int, int]:
        """What is read at once."""
        return fitting(BLOCK, self.both.scale)

    def settings(self, block: tuple[float, float, float] | None) -> Settings:
        """Settings for these images, and for the blocks by which the prediction was divided."""
        both = self.both
        found = self._asked.settings(self.voxel_size, is_plane=both.reference.shape[0] == 1)
        if block is None:
            return found
        planes = planes_of(self.predicted.shape, block, both.scale, both.first)
        return replace(found, planes=planes)

    def known_size(self) -> Size:
        """The voxel size; refused where it is not known."""
        if self.voxel_size is None:
            raise InputError(
                "the voxel size is not known, which distances need",
                where=self.reference.image.address,
                remedy="give voxel_size",
            )
        return self.voxel_size


def answer(
    reference: str,
    predicted: str,
    asked: Asked,
    *,
    recorded: Callable[[Lazy], tuple[float, float, float] | None] | None = None,
    progress: Progress | None = None,
) -> Answer:
    """Score a label image at an address.

    Parameters
    ----------
    reference, predicted
        Addresses of label images.
    asked
        What is asked for.
    recorded
        The blocks of the run that wrote the prediction, where they are known and there are several.
    progress
        Called with the number of blocks done and of all.

    Raises
    ------
    InputError
        If an image cannot be opened or changes while it is read, or both do not fit.
    """
    watch = Watch()
    opened = Opened(reference, predicted, asked, watch.labels)
    both = opened.both
    settings = opened.settings(asked.block or (recorded(opened.predicted) if recorded else None))
    found = evaluate(both.reference, both.predicted, settings, opened.block, progress=progress)
    watch.confirm()
    named = zip((reference, predicted), found.in_pieces, strict=True)
    notes = (*opened.notes, *(note(address) for address, is_mask in named if is_mask))
    return Answer(found, both.as_dict() if opened.is_moved else None, notes)


def cellmap_answer(
    reference: str, predicted: str, kind: str, asked: Asked, *, progress: Progress | None = None
) -> Instances | Semantic:
    """Score a crop as the CellMap challenge does.

    Parameters
    ----------
    reference, predicted
        Addresses of label images.
    kind
        "instance" or "semantic".
    asked
        How they are compared.
    progress
        Called with the number of steps done and of all.

    Raises
    ------
    InputError
        As `answer`; or if the voxel size is not known, which distances need.
    """
    watch = Watch()
    opened = Opened(reference, predicted, asked, watch.labels)
    one, other = opened.both.reference, opened.both.predicted
    found: Instances | Semantic
    if kind == "semantic":
        found = score_semantic(one, other, opened.block, progress=progress)
    else:
        size, slab = opened.known_size(), planes_at_once(one.shape, opened.both.scale)
        found = score_instances(one, other, size, slab, progress=progress)
    watch.confirm()
    return found
