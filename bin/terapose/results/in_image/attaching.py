"""The label images of results are copied into the image that they are of (``labels_in: image``).

They become `<image>/labels/NAME`, and their names are put on the list of that group; the results
stay as they are. Before that, results are compared with their checksums, and afterwards the copies
are: nothing that is damaged gets into an image. Label images of others are neither replaced nor
taken off the list, and nothing of the image itself is written to, so its identity stays the same.

Whoever reads the image meanwhile, or after a run was killed at any point, sees those label images
in the list that are complete (`terapose.results.in_image.on_disk`, ``on_store``).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from terapose.core.errors import InputError, shown
from terapose.core.params import Parameters
from terapose.io.drivers import Driver
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image
from terapose.io.images.units import VoxelSize
from terapose.io.labels.of_image import home_of
from terapose.io.remote import Remote
from terapose.results.earlier import RECORD, sealed_record_of
from terapose.results.in_image.group import Group, is_ours, listed, refuse_foreign
from terapose.results.in_image.on_disk import OnDisk
from terapose.results.in_image.on_store import OnStore
from terapose.results.in_image.recorded import Segmented, image_of
from terapose.results.in_image.wanted import Wanted
from terapose.results.outputs import IMAGES, LABELS
from terapose.results.verify import check, checks_of

log = logging.getLogger(__name__)


def check_image(image: Image, params: Parameters) -> None:
    """Refuse an image into which label images cannot be written, if that is asked for.

    Parameters
    ----------
    image
        From `terapose.pipeline.checked.open_checked`.
    params
        All parameters.

    Raises
    ------
    InputError
        If it is no OME-Zarr, or of another version; if label images would not match it; if nothing
        can be written there, or something of another origin would be replaced.
    """
    if params.labels_in != "image":
        return
    names = IMAGES if params.expand or params.has_second else IMAGES[:1]
    _group_of(image, params.ome_zarr_version, image.voxel_size, names)


def _group_of(
    image: Image, version: str, voxel_size: VoxelSize | None, names: Collection[str]
) -> Group:
    """The labels group of an image, if label images of these names can be written to it."""
    home = home_of(image, version, voxel_size)
    place = home.folder
    group: Group = OnStore(home, place) if isinstance(place, Remote) else OnDisk(home, place)
    group.check()
    refuse_foreign(group, names)
    return group


def attach(results: Path | Remote, image: str = "") -> Path | Remote:
    """Copy the label images of results into an image.

    Parameters
    ----------
    results
        Folder with complete results.
    image
        Path or URL of the image; empty: as the results name it, and as it was then.

    Returns
    -------
    Path or Remote
        The labels group.

    Raises
    ------
    StoreError
        If the results have changed since they were written.
    InputError
        As `check_image`; also if the image is not the one that was segmented, as far as that can
        be seen, or another run writes to its labels.
    """
    check(results)
    record, where = sealed_record_of(results) or {}, results / RECORD
    checks, segmented = checks_of(record, where), image_of(record, where)
    opened = _opened(where, segmented, image)
    group = _group_of(opened, checks.files.version, segmented.voxel_size, checks.files.names)
    with _local(results) as labels, _scratch() as own, group.held():
        wanted = Wanted.of(labels, checks, group.home, own)
        # others may have come before it was held
        refuse_foreign(group, wanted.names)
        gone = [n for n in IMAGES if n not in wanted.names and group.has(n) and is_ours(group, n)]
        is_done = {*wanted.names} <= {*listed(group)} and not any(map(group.is_begun, wanted.names))
        if gone or not is_done or group.faults(wanted):
            group.bring(wanted, gone)
            _warn_of_consolidated(opened, group)
    if gone:
        log.warning(
            "%s: removed label images of an earlier run that this one does not write: %s",
            shown(group.home.folder),
            ", ".join(gone),
        )
    return group.home.folder


def _warn_of_consolidated(image: Image, group: Group) -> None:
    """Say that readers may not see what was written: nothing of the image itself is changed."""
    if group.home.is_consolidated:
        log.warning(
            "%s: its consolidated metadata do not describe these label images: readers that use "
            "them see none, or those of an earlier run; consolidate the metadata again",
            shown(image.address),
        )


def _opened(where: object, about: Segmented, image: str) -> Image:
    """The image of results.

    Raises
    ------
    InputError
        If it cannot be opened, has another shape, or has changed.
    """
    chosen = replace(about.selection, region="")
    opened = open_image(image or about.address, **chosen.options)
    if opened.shape != about.whole:
        raise InputError(
            "is not the image that was segmented",
            where=opened.address,
            got=f"shape {opened.shape} (Z, Y, X)",
            allowed=f"{about.whole}, as in {where}",
            remedy="name the image of these results",
        )
    # where its content identifies it, all of it was compared when the results were complete
    if not image and about.identified_by == "stat" and opened.identity != about.identity:
        raise InputError(
            "the image has changed since it was segmented",
            where=opened.address,
            remedy="segment it again; or, if it was only copied or written again with the same "
            "voxels, give its address (terapose attach RESULTS IMAGE)",
        )
    return opened


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="terapose-") as folder:
        yield Path(folder)


@contextmanager
def _local(results: Path | Remote) -> Iterator[Path]:
    """The label images of results on a local disk."""
    if not isinstance(results, Remote):
        yield results / LABELS
        return
    with _scratch() as folder:
        target = folder / LABELS
        driver = Driver((results / LABELS).address)
        driver.get(driver.root, str(target))
        yield target
