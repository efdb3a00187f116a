"""A plan for cells whose size is not given: the network finds it first.

A U-Net works at one size of cells. Without a ``diameter``, the network is run on a fixed sample of
the image (`terapose.pipeline.sampling`) at several scales, until it finds cells of the size that
was assumed (`terapose.algorithms.objects.sizing`). The plan then contains the diameter, and how it
was found: the work is the same as if that diameter was given, but the store is a different one. The
diameter is found on the CPU in float32 and rounded to three digits, so that tasks, devices and
executors do not matter. If it cannot be found, the plan is made with the network's own diameter,
and a warning says what to do.

Networks of Cellpose 4 need no diameter, and none is looked for.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terapose.algorithms.objects.sizing import RUNGS, Found, found_in, search
from terapose.core.errors import shown
from terapose.core.params import Parameters
from terapose.io.images.model import Image
from terapose.networks.ensemble import identify_all
from terapose.pipeline.checked import mode_of
from terapose.pipeline.plan import DiameterPlan, Plan
from terapose.pipeline.planning import check_channels_of, make_plan
from terapose.pipeline.sampling import MOST, Sample

if TYPE_CHECKING:
    from terapose.networks.base import Network
    from terapose.networks.files import ModelInfo

log = logging.getLogger(__name__)

_RIM = 8
"""Zeros around a window in its tile, as around a plane (`terapose.networks.tiling`)."""


def is_sought(info: ModelInfo, params: Parameters) -> bool:
    """Whether a diameter has to be found before a plan can be made."""
    return not params.diameter and info.family == "unet"


def plan_of(image: Image, model_files: Sequence[Path], params: Parameters) -> Plan:
    """Make the plan, after the diameter was found if none is given.

    Parameters
    ----------
    image
        From `open_checked`.
    model_files
        The network's files.
    params
        All parameters; only those of the plan stage are looked at.

    Raises
    ------
    InputError
        If the image cannot be read or be segmented like this.
    """
    info = identify_all(model_files)
    check_channels_of(info, params)
    if not is_sought(info, params):
        return make_plan(image, info, params)
    found = diameter_of(image, model_files, info, params)
    return make_plan(image, info, params.model_copy(update={"diameter": found.pixels}), found)


def diameter_of(
    image: Image, model_files: Sequence[Path], info: ModelInfo, params: Parameters
) -> DiameterPlan:
    """The diameter that is found, or the network's own with a warning, in pixels of Y and X."""
    found = find_diameter(image, model_files, info, params)
    if found.origin == "network":
        log.warning(
            "%s: %s; cells are taken to have the network's own diameter, %g pixels. Give the "
            "diameter of a typical cell in pixels (--diameter)",
            shown(image.address),
            found.note,
            found.pixels,
        )
    return found


def find_diameter(
    image: Image, model_files: Sequence[Path], info: ModelInfo, params: Parameters
) -> DiameterPlan:
    """Find the diameter of cells in pixels of Y and X, or say that it cannot be found."""
    from terapose.networks.loading import load_all

    sample = Sample(image, params, info.tile - 2 * _RIM)
    if sample.is_too_large:
        note = (
            "the size of cells cannot be found: planes cannot be read in parts, and are larger "
            f"than {MOST // 2**20} MiB (converted to OME-Zarr they can)"
        )
        return DiameterPlan(pixels=info.diam_mean, origin="network", note=note)
    network = load_all(model_files, device="cpu", precision="float32")
    solid = image.shape[0] > 1 and mode_of(image, params) != "2d"

    def look(diameter: float) -> Found:
        return _look(network, sample, diameter, solid=solid)

    largest = max(*image.shape[1:], RUNGS[0])
    looks = search(look, [rung for rung in RUNGS if rung <= largest])
    last, windows = looks[-1], sum(found.windows for found in looks)
    if not last.settled:
        note = (
            f"the size of cells cannot be found: in {windows} windows at {len(looks)} scales too "
            "few were found, or not of the size that was assumed"
        )
        return DiameterPlan(pixels=info.diam_mean, origin="network", note=note)
    note = f"{last.cells} cells in {last.windows} windows at that scale, {windows} windows in all"
    return DiameterPlan(pixels=float(f"{last.size:.3g}"), origin="found", note=note)


def _look(network: Network, sample: Sample, diameter: float, *, solid: bool) -> Found:
    """What is found in the windows of a sample, if cells are taken to have a diameter."""
    scale = network.diam_mean / diameter
    windows = sample.windows(scale)
    tiles = np.zeros((len(windows), network.channels, network.tile, network.tile), np.float32)
    for tile, window in zip(tiles, windows, strict=True):
        tile[: len(window), *_inner(window)] = window
    answers = network(tiles)
    outputs = [tile[:, *_inner(window)] for tile, window in zip(answers, windows, strict=True)]
    return found_in(diameter, scale, outputs, solid=solid)


def _inner(window: NDArray[np.float32]) -> tuple[slice, slice]:
    """Where a window is in its tile."""
    _, height, width = window.shape
    return slice(_RIM, _RIM + height), slice(_RIM, _RIM + width)
