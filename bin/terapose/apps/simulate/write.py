"""Writing scenes of any size to disk: threads compute blocks, one thread writes them in order."""

from __future__ import annotations

import errno
import itertools
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from terapose.apps.simulate.scene import Scene, Shape3
from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.labels import ome_zarr as label_images
from terapose.results.named_files import refuse_results

_BLOCKS: dict[bool, Shape3] = {False: (64, 256, 256), True: (1, 1024, 1024)}  # by `Scene.planar`
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
_TIFF_ENDS = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
_ZARR_ENDS = (".ome.zarr", ".zarr")

Region = tuple[slice, slice, slice]
Progress = Callable[[int, int], None]


def labels_path(path: str | os.PathLike[str]) -> Path:
    """Where `write` puts the reference labels of an image written to a path.

    `a.zarr` and `a.ome.zarr` have `a.labels.zarr`; `a.ome.tif` has `a-labels.ome.tif`.

    Raises
    ------
    InputError
        If the name has none of the known ends.
    """
    path = Path(path)
    for end in (*_TIFF_ENDS, *_ZARR_ENDS):
        if path.name.endswith(end) and path.name != end:
            stem = path.name.removesuffix(end)
            new = f"{stem}.labels.zarr" if end in _ZARR_ENDS else f"{stem}-labels{end}"
            return path.with_name(new)
    raise InputError(
        "the file name does not indicate the format",
        where=path,
        allowed=", ".join(_ZARR_ENDS + _TIFF_ENDS),
    )


def write(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Path, Path]:
    """Write a scene's image and reference labels, block by block, in bounded memory.

    An OME-Zarr 0.5 image with a pyramid and a label image as `terapose.io.labels.ome_zarr` has it,
    or two uncompressed OME-TIFF files. Both appear under their names when they are complete.

    Parameters
    ----------
    scene
        What to write: ZYX, CZYX with several channels, CYX where planar.
    path
        Of the image; its end says the format (see `labels_path`).
    workers
        Threads that compute, each with about 300 MB.
    overwrite
        Replace what is there.
    progress
        Called with the number of blocks done and of all blocks.

    Returns
    -------
    image, labels : pathlib.Path

    Raises
    ------
    InputError
        If the path has an unknown end, exists, is a result of a run, or cannot be written.
    """
    final = (Path(path), labels_path(path))
    refuse_results(final)
    for place in final:
        files.refuse_present(place, overwrite=overwrite)
    try:
        final[0].parent.mkdir(parents=True, exist_ok=True)
        with files.made(final[1], "labels") as labels, files.made(final[0], "image") as image:
            if final[0].name.endswith(_ZARR_ENDS):
                _write_zarr(scene, image, labels, final[0].name, workers, progress)
            else:
                _write_tiff(scene, image, labels, workers, progress)
    except OSError as error:
        raise InputError(
            "the image cannot be written",
            where=path,
            got=f"{type(error).__name__}: {error}",
            remedy="choose a folder you may write to, on a disk with space left",
        ) from error
    return final


def _blocks(
    scene: Scene, workers: int, progress: Progress | None
) -> Iterator[tuple[Region, Any, Any]]:
    """Compute all blocks: region, image (CZYX) and labels (ZYX), in order, few at a time."""
    regions = list(_regions(scene.shape, _BLOCKS[scene.planar]))
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        todo = iter(regions)
        waiting: deque[tuple[Region, Future[Any]]] = deque()
        for region in itertools.chain(todo, [None] * (workers + 1)):
            if region is not None:
                waiting.append((region, pool.submit(scene.read, region)))
            if waiting and (region is None or len(waiting) > workers):
                first, future = waiting.popleft()
                yield first, *future.result()
                done += 1
                if progress is not None:
                    progress(done, len(regions))


def _regions(shape: Shape3, block: Shape3) -> Iterator[Region]:
    ranges = [range(0, n, b) for n, b in zip(shape, block, strict=True)]
    for corner in itertools.product(*ranges):
        z, y, x = (slice(c, min(c + b, n)) for c, b, n in zip(corner, block, shape, strict=True))
        yield z, y, x


def _store(scene: Scene, image: Any, labels: Any, workers: int, progress: Progress | None) -> None:
    """Write all blocks into arrays of the axes that the scene has on disk."""
    for region, pixels, ids in _blocks(scene, workers, progress):
        if scene.planar:
            image[(slice(None), *region[1:])] = pixels[:, 0]
            labels[region[1:]] = ids[0]
        elif scene.channels > 1:
            image[(slice(None), *region)] = pixels
            labels[region] = ids
        else:
            image[region] = pixels[0]
            labels[region] = ids


def _axes(scene: Scene) -> tuple[str, tuple[int, ...], str, tuple[int, ...]]:
    """Axes and shape of the image and of the labels on disk."""
    space, shape = ("yx", scene.shape[1:]) if scene.planar else ("zyx", scene.shape)
    if scene.planar or scene.channels > 1:
        return "c" + space, (scene.channels, *shape), space, shape
    return space, shape, space, shape


def _channel_names(scene: Scene) -> list[str]:
    markers = [f"marker {number}" for number in range(1, scene.channels - 1)]
    return ["nuclei", "cell bodies", *markers][: scene.channels]


def _write_tiff(
    scene: Scene, image: Path, labels: Path, workers: int, progress: Progress | None
) -> None:
    import tifffile

    axes, shape, label_axes, label_shape = _axes(scene)
    size: dict[str, Any] = {}
    for axis, step in zip("ZYX", scene.voxel_size, strict=True):
        if axis.lower() in axes:
            size |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "µm"}
    names = {"Channel": {"Name": _channel_names(scene)}} if "c" in axes else {}
    # A memory map on a full disk ends the process without a word.
    needed = math.prod(shape) * 2 + math.prod(label_shape) * 4
    free = shutil.disk_usage(image.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed} bytes needed, {free} free")
    arrays = []
    for path, dtype, letters, lengths, extra in (
        (image, np.uint16, axes, shape, names),
        (labels, np.uint32, label_axes, label_shape, {}),
    ):
        arrays.append(
            tifffile.memmap(
                path,
                shape=lengths,
                dtype=dtype,
                ome=True,
                bigtiff=math.prod(lengths) >= 2**30,
                photometric="minisblack",
                metadata={"axes": letters.upper(), **size, **extra},
            )
        )
    _store(scene, arrays[0], arrays[1], workers, progress)
    for array in arrays:
        array.flush()


def _write_zarr(
    scene: Scene, image: Path, labels: Path, name: str, workers: int, progress: Progress | None
) -> None:
    import zarr

    axes, shape, _, label_shape = _axes(scene)
    factors = label_images.pyramid_factors(scene.shape, scene.voxel_size, smallest=1024)
    label_images.create(
        str(labels),
        shape=label_shape,
        dtype="uint32",
        voxel_size=scene.voxel_size,
        factors=factors,
        names=("nuclei",),
    )
    group = zarr.create_group(image)
    chunks = (1,) * (len(shape) - len(label_shape)) + _BLOCKS[scene.planar][-len(label_shape) :]
    lead = shape[: len(shape) - len(label_shape)]
    levels = []
    for level, factor in enumerate(factors):
        lengths = (*lead, *label_images.level_shape(label_shape, factor))
        levels.append(
            group.create_array(
                str(level),
                shape=lengths,
                dtype=np.uint16,
                chunks=tuple(min(c, n) for c, n in zip(chunks, lengths, strict=True)),
                dimension_names=list(axes),
            )
        )
    label_levels = [
        label_images.open_level(str(labels), level, name="nuclei") for level in range(len(factors))
    ]
    _store(scene, levels[0], label_levels[0], workers, progress)
    for level in range(1, len(factors)):
        ratio = [b // a for a, b in zip(*factors[level - 1 : level + 1], strict=True)]
        ratio = ratio[-len(label_shape) :]
        _reduce(levels[level - 1], levels[level], [1] * len(lead) + ratio, mean=True)
        _reduce(label_levels[level - 1], label_levels[level], ratio, mean=False)
    _describe(group, scene, name, axes, factors)


def _reduce(source: Any, target: Any, ratio: list[int], *, mean: bool) -> None:
    """Fill a level from the finer one: means of an image, every second voxel of labels."""
    for corner in itertools.product(
        *(range(0, n, c) for n, c in zip(target.shape, target.chunks, strict=True))
    ):
        stop = [min(a + c, n) for a, c, n in zip(corner, target.chunks, target.shape, strict=True)]
        wide = tuple(slice(a * r, b * r) for a, b, r in zip(corner, stop, ratio, strict=True))
        block = np.asarray(source[wide])
        for axis, step in enumerate(ratio):
            index = np.arange(0, block.shape[axis], step)
            if mean and step == 2:
                last = np.minimum(index + 1, block.shape[axis] - 1)
                pair = block.take(index, axis).astype(np.uint32) + block.take(last, axis)
                block = (pair // 2).astype(block.dtype)
            else:
                block = block.take(index, axis)
        target[tuple(slice(a, b) for a, b in zip(corner, stop, strict=True))] = block


def _describe(
    group: Any, scene: Scene, name: str, axes: str, factors: list[tuple[int, int, int]]
) -> None:
    """Write the OME metadata of the image."""
    from ome_zarr.writer import write_multiscales_metadata

    space = len(axes) - ("c" in axes)
    datasets = []
    for level, factor in enumerate(factors):
        scale = [f * v for f, v in zip(factor, scene.voxel_size, strict=True)][-space:]
        # The centre of the first voxel of a level lies inside level 0, not on its first voxel.
        shift = [0.5 * (f - 1) * v for f, v in zip(factor, scene.voxel_size, strict=True)][-space:]
        lead = len(axes) - space
        transforms = [
            {"type": "scale", "scale": [1.0] * lead + scale},
            {"type": "translation", "translation": [0.0] * lead + shift},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    top = scene.offset + 3 * scene.brightness
    window = {"min": 0, "max": 65535, "start": scene.offset, "end": top}
    channels = [
        {"label": label, "color": colour, "window": window, "active": True}
        for label, colour in zip(_channel_names(scene), itertools.cycle(_COLOURS), strict=False)
    ]
    write_multiscales_metadata(
        group,
        datasets,
        axes=list(axes),
        axes_units={axis: "micrometer" for axis in axes if axis != "c"},
        name=name,
        metadata={"omero": {"channels": channels}},
    )
