"""Try values of parameters on regions of an image (`terapose.apps.tune` says which, and how).

1. The image is opened and checked as for a run, and regions are chosen.
2. Each value is a run of `segment_file` on each region, with one store in the folder of the
   results: what no stage has to compute again is reused, and a repeated call finds all of it.
3. A region is segmented as a part of the image; where a mask shows the tissue, with that mask, and
   nothing outside of the tissue counts, neither in the image nor in the reference. The
   diameter is found once in all of it, if none is given. Percentiles of the whole image
   (`normalize` ``global``) are found once, and given to all runs (`lowhigh`): the same numbers, but
   the image is read only once. `max_size_fraction` is that of the whole image, too.
4. What is written comes last: the numbers, the sheet and its picture, then the parameters.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.api.runner import segment_file
from terapose.api.tune.folder import open_folder
from terapose.api.tune.scale import scale_of
from terapose.api.tune.writing import Facts, write
from terapose.apps.tune.changes import compact
from terapose.apps.tune.regions import contrast, labelled, sample, usual_size
from terapose.apps.tune.search import Outcome, Search
from terapose.apps.tune.sweeps import changed, starting, sweeps_of
from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box
from terapose.core.params import SECOND, Parameters
from terapose.io.images.array_like import Lazy
from terapose.io.images.channels import channel_numbers
from terapose.io.images.model import Image
from terapose.io.images.watch import Watch
from terapose.io.labels.ome_zarr import open_level
from terapose.pipeline.checked import anisotropy_of, mode_of, open_checked
from terapose.pipeline.plan import DiameterPlan
from terapose.pipeline.tissue import Tissue

Report = Callable[[int, int], None]
REGIONS = 3
"""Regions, unless another number is asked for."""
_PLAIN: dict[str, Any] = {
    **dict.fromkeys(SECOND, None),
    **dict.fromkeys(("expand", "thumbnails", "block_shape", "slab_planes", "rectangle"), None),
    **{"cell_model": "", "upscale": False, "labels_in": "results", "report": False},
    **{"measure": ("none",), "table": ("csv",), "mask_tiff": "", "keep_intermediates": "all"},
}
"""Parameters of the runs on regions: nothing but labels is looked at."""


@dataclass(frozen=True)
class Asked:
    """What to try, and where.

    Attributes
    ----------
    sweeps
        As ``cellprob_threshold=-1,0,1``; empty: what suits the mode.
    reference
        Address of a label image of the whole image or the region; empty: none.
    regions
        How many regions, at most.
    size
        (Z, Y, X) of a region in voxels; None: as wide as some dozens of cells need.
    """

    sweeps: Sequence[str] = ()
    reference: str = ""
    regions: int = REGIONS
    size: ZYX | None = None


def tune(
    image: str,
    output: Path,
    params: Parameters,
    asked: Asked,
    report: Report = lambda done, total: None,
) -> tuple[list[Outcome], Parameters, DiameterPlan | None]:
    """Try values of parameters, and write what came out.

    Parameters
    ----------
    image
        Path or URL.
    output
        Folder for what is written, on a local disk.
    params
        All parameters; what is not tried has these values.
    asked
        What to try.
    report
        Called with the number of label images made, and of all.

    Returns
    -------
    outcomes
        What each sweep has shown.
    params
        With the values that were chosen: the best by the reference; without one those given. If
        no diameter was given, they have the one that was found, or the best one tried.
    found
        The diameter that was looked for in the image, with its origin; None if one was given, or
        if the network needs none.

    Raises
    ------
    InputError
        For everything a user can put right.
    """
    # the parameters are for any folder
    image = image if "://" in image else os.path.abspath(os.path.expanduser(image))
    watch = Watch()
    opened = open_checked(image, params)
    watch.add(opened)
    params, own, found = _sized(opened, params)
    mode = mode_of(opened, params)
    start = starting(params, mode, own)
    anisotropy = anisotropy_of(opened, params)
    sweeps = sweeps_of(asked.sweeps, start, mode, anisotropy)
    channel = Lazy(opened, channel_numbers(opened, params.channels, params.markers)[0][0])
    tissue = Tissue(opened, watch.labels(params.tissue) if params.tissue else None)
    reference = None
    if asked.reference:
        reference = _Part(watch.labels(asked.reference), opened, tissue)
    size = _size(asked.size, opened, start["diameter"], anisotropy, mode)
    content = contrast(channel, tissue) if reference is None else labelled(reference)
    with open_folder(output):
        boxes = sample(opened.shape, size, asked.regions, content)
        facts = Facts(image, mode, opened, start, boxes, asked.reference)
        known = None if reference is None else [compact(reference[box.slices]) for box in boxes]
        runs = _Runs(output, params, facts)
        search = Search(runs.segment, len(boxes), start, known, report)
        outcomes = list(search.run(sweeps))
        best = changed(params, {o.sweep.name: o.chosen for o in outcomes}, start)
        greys = [_greys(channel, boxes, outcome) for outcome in outcomes]
        watch.confirm()
        write(output, facts, outcomes, greys, best)
    return outcomes, best, found


def _greys(channel: Lazy, boxes: Sequence[Box], outcome: Outcome) -> list[NDArray[Any]]:
    """The section of the image for each place that an outcome shows."""
    places = [one.place.window.moved(boxes[one.region].start) for one in outcome.shown]
    return [channel[place.slices][0] for place in places]


def _sized(opened: Image, params: Parameters) -> tuple[Parameters, float, DiameterPlan | None]:
    """Parameters with a diameter, the network's own, and the one that was found if none is given.

    It is found once, in all of the image, because each region would have another one.
    """
    from terapose.networks.ensemble import identify_all, resolve_all
    from terapose.pipeline.planning import check_channels_of
    from terapose.pipeline.sized import diameter_of, is_sought

    files = resolve_all(params.model, digest=params.model_digest)
    info = identify_all(files)
    check_channels_of(info, params)
    own = float(info.diam_mean)
    if not is_sought(info, params):
        return params, own, None
    found = diameter_of(opened, files, info, params)
    return params.model_copy(update={"diameter": found.pixels}), own, found


def _size(given: ZYX | None, opened: Image, diameter: float, anisotropy: float, mode: str) -> ZYX:
    """Size of the regions."""
    if given is None:
        return usual_size(opened.shape, diameter, anisotropy, mode)
    least = (2 if mode == "stitch" or mode == "3d" else 1, 2, 2)
    limits = zip(given, least, opened.shape, strict=True)
    if not all(low <= n <= high for n, low, high in limits):
        raise InputError(
            "a region cannot have this size",
            where="size",
            got=given,
            allowed=f"Z, Y and X from {least} to {opened.shape}, the shape of the image",
        )
    return given


class _Part:
    """A reference of the whole image or the region, read by voxels of the region.

    It is 0 outside of the tissue, as the labels of a run are.
    """

    def __init__(self, labels: Lazy, opened: Image, tissue: Tissue) -> None:
        shapes = dict.fromkeys([opened.shape, opened.whole.shape])
        if labels.shape not in shapes:
            raise InputError(
                "does not have the shape of the image",
                where=labels.image.address,
                got=labels.shape,
                allowed=" or ".join(map(str, shapes)),
                remedy="give labels of the whole image or the region, at the same level",
            )
        self._labels, self._tissue = labels, tissue
        self._by = (0, 0, 0) if labels.shape == opened.shape else opened.region.start
        self.shape, self.dtype = tuple(opened.shape), labels.dtype

    def __getitem__(self, region: Any) -> NDArray[Any]:
        """Read a region."""
        z, y, x = (
            slice(part.start + by, part.stop + by)
            for part, by in zip(region, self._by, strict=True)
        )
        found: NDArray[Any] = np.where(self._tissue[region], self._labels[z, y, x], 0)
        return found


@dataclass
class _Runs:
    """Runs on regions of an image."""

    output: Path
    params: Parameters
    facts: Facts
    _scale: dict[str, Any] | None = field(default=None, init=False)

    def segment(self, values: Mapping[str, float], region: int) -> NDArray[Any]:
        """Segment a region; returns (Z, Y, X) labels."""
        facts, box = self.facts, self.facts.boxes[region]
        update = {
            **_PLAIN,
            "mode": facts.mode,
            "max_size_fraction": self._fraction(box),
        }
        asked = changed(self.params, values, facts.start).model_copy(update=update)
        if self._scale is None:
            self._scale = scale_of(facts.address, asked, box, self.output)
        asked = asked.model_copy(update=self._scale)
        with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
            results = Path(folder) / "out"
            segment_file(facts.address, results, asked, store=self.output, part=box)
            return np.asarray(open_level(str(results / "labels.zarr"), 0)[:]).reshape(box.shape)

    def _fraction(self, box: Box) -> float:
        """The largest size of a cell as a part of a region."""
        axes = slice(0, 3) if self.facts.mode == "3d" else slice(1, 3)
        times = np.prod(self.facts.opened.shape[axes]) / np.prod(box.shape[axes])
        return min(1.0, float(self.params.max_size_fraction * times))
