"""Cellpose itself on the whole image: what Terapose's labels are held against.

1. The network is the torch module that Terapose loads; Cellpose's `CellposeModel.eval` runs it on
   tiles of the same size. Everything else (percentiles, resizing, tiles, flows, masks, stitching)
   is Cellpose's own code on the whole array.
2. What `eval` does not offer is done with its own functions before it: percentiles of a whole stack
   whose planes are then segmented by themselves, and percentiles of each plane of a volume.
3. Cellpose sorts seeds of equal height with an unstable sort, which leaves their order open. Here
   the sort is stable, so the seed that comes first in (Z, Y, X) comes first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from cellpose import transforms
from cellpose.models import CellposeModel
from numpy.typing import NDArray

from terapose.api.runner import segment_file
from terapose.core.params import Parameters
from terapose.io.labels.ome_zarr import open_level
from terapose.networks.base import Network

UNKNOWN = ("skip_empty", "foreground_min", "min_median_fraction", "border")
"""Parameters that Cellpose lacks: it has no result for another value than the default."""


def is_defined(params: Parameters, mode: str) -> bool:
    """Whether Cellpose has a result for these parameters."""
    fields = Parameters.model_fields
    own = any(getattr(params, name) != fields[name].default for name in UNKNOWN)
    scaled = params.flow_scaling != "cellpose" and (params.anisotropy or 1) > 1
    return not own and not (mode == "3d" and (params.flow_threshold or scaled))


@contextmanager
def stable_sort() -> Iterator[None]:
    """Sort equal numbers in their order, which torch leaves open."""
    unstable = torch.Tensor.argsort
    setattr(torch.Tensor, "argsort", lambda self: unstable(self, stable=True))  # noqa: B010
    try:
        yield
    finally:
        setattr(torch.Tensor, "argsort", unstable)  # noqa: B010


def model_of(network: Network) -> CellposeModel:
    """Cellpose's model around a network of ours; its constructor knows only Cellpose's own."""
    model = CellposeModel.__new__(CellposeModel)
    model.net, model.device, model.gpu = network.module, network.module.device, False
    model.backbone, model.pretrained_model = network.family, ""
    return model


def normalization(params: Parameters, channels: int) -> dict[str, Any]:
    """The options of `cellpose.transforms.normalize_img`, every one that could matter."""
    tiled = params.normalize == "tile"
    ends = params.lowhigh
    return {
        "normalize": params.normalize != "none",
        "norm3D": params.normalize != "plane",
        "invert": params.invert,
        "lowhigh": None if ends is None else np.resize(ends, (channels, 2)),
        "percentile": params.percentiles,
        "tile_norm_blocksize": params.normalize_tile if tiled else 0,
    }


def cellpose_labels(
    image: NDArray[Any], network: Network, params: Parameters, mode: str
) -> NDArray[np.int64]:
    """Segment a whole image with Cellpose.

    Parameters
    ----------
    image
        (C, Z, Y, X), the channels that the network gets.
    network
        As `terapose.networks.loading.load` returns it; made for objects of 30 pixels, the only
        diameter that Cellpose scales to.
    params
        Terapose's parameters.
    mode
        "3d", "2d" or "stitch".

    Returns
    -------
    (Z, Y, X) int64
        Labels; in mode 2d each plane has numbers of its own, above those of the planes before it.

    Raises
    ------
    ValueError
        If Cellpose has no result for this: see `is_defined`.
    """
    if not is_defined(params, mode) or network.diam_mean != 30:
        raise ValueError("Cellpose does not define this result")
    pixels = np.moveaxis(image, 0, -1).astype(np.float32)
    ends = normalization(params, len(image))
    whole_stack = mode == "2d" and len(pixels) > 1 and params.normalize == "global"
    if whole_stack or (mode == "3d" and params.normalize == "plane"):
        pixels = transforms.normalize_img(pixels, **ends)
        ends = {"normalize": False, "invert": False}
    options = {"normalize": ends, "bsize": network.tile, "channel_axis": -1, **_options(params)}
    model = model_of(network)
    with stable_sort():
        if mode == "2d":
            planes = [model.eval(plane.copy(), **options)[0] for plane in pixels]
            return numbered(planes, pixels.shape[1:3])
        options["z_axis"] = 0
        if mode == "stitch":
            options["stitch_threshold"] = params.stitch_threshold
        else:
            smooth = [*params.flow3d_smooth] if any(params.flow3d_smooth) else 0
            options |= {"do_3D": True, "anisotropy": params.anisotropy, "flow3D_smooth": smooth}
        labels: NDArray[Any] = model.eval(pixels, **options)[0]
        return labels.reshape(pixels.shape[:3]).astype(np.int64)


def _options(params: Parameters) -> dict[str, Any]:
    """The options of Cellpose that have names of their own among the parameters."""
    return {
        "diameter": params.diameter,
        "flow_threshold": 0.4 if params.flow_threshold is None else params.flow_threshold,
        "cellprob_threshold": params.cellprob_threshold,
        "min_size": params.min_size,
        "max_size_fraction": params.max_size_fraction,
        "niter": params.niter,
        "tile_overlap": params.tile_overlap,
        "augment": params.augment,
    }


def numbered(planes: list[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Labels of planes as one stack, in which no number is used in two planes."""
    stack = np.stack([plane.reshape(shape) for plane in planes]).astype(np.int64)
    last = 0
    for plane in stack:
        plane[plane > 0] += last
        last = max(last, int(plane.max()))
    return stack


def terapose_results(image: NDArray[Any], params: Parameters) -> tuple[NDArray[Any], bytes]:
    """Segment a (C, Z, Y, X) image with Terapose: its labels, (Z, Y, X), and its table of cells."""
    with tempfile.TemporaryDirectory(prefix="exactness-") as name:
        folder = Path(name)
        address = str(folder / "image.zarr")
        zarr.create_array(address, data=image, dimension_names=list("czyx"))
        segment_file(address, folder / "out", params)
        labels = np.asarray(open_level(str(folder / "out/labels.zarr"), 0)[:])
        return labels.reshape(image.shape[1:]), (folder / "out/cells.csv").read_bytes()


def differing(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Voxels whose objects differ, whatever the objects' numbers are.

    Two labels mean the same object if each covers most of the other's voxels; a voxel whose labels
    do not mean the same object counts, and so does one that is background in one image only. It is
    0 if and only if renumbering makes the images equal.
    """
    if one.shape != other.shape:
        raise ValueError(f"shapes {one.shape} and {other.shape}")
    flat = np.stack([one.ravel(), other.ravel()]).astype(np.int64)
    pairs, counts = np.unique(flat, axis=1, return_counts=True)
    equal = np.ones(len(counts), bool)
    for side in pairs:
        most = np.zeros(side.max() + 1, np.int64)
        # the last of equal counts: any order will do, as long as there is one
        order = np.argsort(counts, kind="stable")
        most[side[order]] = order
        equal &= most[side] == np.arange(len(counts))
    equal &= (pairs[0] > 0) == (pairs[1] > 0)
    return int(counts[~equal].sum())
