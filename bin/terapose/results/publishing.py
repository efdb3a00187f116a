"""The label image on its way from the store to the results, compared with its checksums.

`complete` brings the label image in the store in order: regions whose files are not those that
**export** wrote are exported again, and the levels of the pyramid that are coarser than a region
are made. `lay_out` copies it. `noted` says in the record what `terapose.results.verify` compares
later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from terapose.core.errors import InputError, StoreError
from terapose.core.geometry import Box, Grid, zyx
from terapose.intermediates.label_store import Level, address, documents, ensure, files_of, name
from terapose.io import files
from terapose.io.checksums import AGAIN, crc32c
from terapose.io.labels import files as label_files
from terapose.io.labels.files import LabelFiles, checksum, checksums_in, of_path
from terapose.io.labels.ome_zarr import downsample, level_shape, open_level
from terapose.io.zarr_files import Noted
from terapose.pipeline.job import Job
from terapose.pipeline.running import run as run_task
from terapose.results.outputs import LABELS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checks:
    """Checksums of the files of a label image, by region, of coarse levels and metadata."""

    files: LabelFiles
    regions: list[int]
    coarse: int
    metadata: int

    def faults(self, folder: Path) -> list[str]:
        """What in a folder is not as it was written; empty where all is."""
        return self.differences(partial(of_path, folder))

    def differences(self, read: Callable[[str], int | None]) -> list[str]:
        """What is not as it was written, given what reads the checksum of the file of a key."""
        found = checksums_in(read, map(self.files.of_region, self.files.regions))
        wrong = [
            f"region {'-'.join(map(str, box.start))}"
            for box, one, other in zip(self.files.regions, self.regions, found, strict=True)
            if one != other
        ]
        others = [list(self.files.of_coarse_levels()), list(self.files.of_metadata())]
        for what, one, other in zip(
            ("the coarse levels", "the metadata"),
            (self.coarse, self.metadata),
            checksums_in(read, others),
            strict=True,
        ):
            if one != other:
                wrong.append(what)
        return wrong


def complete(job: Job, written: list[int]) -> Checks:
    """Bring the label image in the store in order.

    Parameters
    ----------
    job
        Of ``finish``.
    written
        Checksums of the files of each region, as export noted them.

    Raises
    ------
    StoreError
        If what is damaged is still so after it was written again.
    """
    ensure(job)
    wrong = _wrong(job, written)
    if wrong:
        log.warning(
            "labels.zarr in the store: %d of %d regions are damaged; writing them again",
            len(wrong),
            len(written),
        )
        _export(job, wrong)
        wrong = _wrong(job, written)
    if wrong:
        raise StoreError(
            "changed after it was written",
            where=job.store.where(name(job)),
            got=f"{len(wrong)} of {len(written)} regions with other checksums",
            remedy="check the disk; choose a work folder on another disk",
        )
    coarse = _coarse_levels(job)
    metadata: Noted = {key: crc32c(content) for key, content in documents(job).items()}
    return Checks(files_of(job), written, checksum(coarse), checksum(metadata))


def _wrong(job: Job, written: list[int]) -> list[int]:
    """Numbers of the regions whose files are not those that were written."""

    def read(key: str) -> int | None:
        return job.store.checksum(f"{name(job)}/{key}")

    wanted = files_of(job)
    found = checksums_in(read, map(wanted.of_region, wanted.regions))
    return [n for n, (one, other) in enumerate(zip(written, found, strict=True)) if one != other]


def _export(job: Job, regions: list[int]) -> None:
    """Export regions again."""
    wanted = set(regions)
    for task in range(len(job.plan.tasks["export"])):
        export = Job(job.plan, job.store, "export", task, {}, job.before)
        if wanted & set(export.items):
            job.store.drop(export.marker)
            run_task(export)


def _coarse_levels(job: Job) -> Noted:
    """Make the levels that are coarser than a region, from the last one that is there."""
    wanted, written = files_of(job), Noted()
    for image in wanted.names:
        for number in range(wanted.fine, len(wanted.factors)):
            written |= _coarse_level(job, image, number)
    return written


def _coarse_level(job: Job, image: str, number: int) -> Noted:
    factors = job.output.factors
    step = zyx(a // b for a, b in zip(factors[number], factors[number - 1], strict=True))
    target = Level.open(job, image, number)
    source = open_level(address(job), number - 1, name=image)
    shapes = [zyx(level_shape(job.output.shape, factors[n])) for n in (number, number - 1)]
    for wide in Grid(shapes[0], files_of(job).edges(number)):
        part = np.zeros(wide.shape, target.array.dtype)
        # read by chunks: what is under a file is up to eight times as much
        for inner in Grid(wide.shape, job.output.chunks):
            box = inner.moved(wide.start)
            fine = Box(
                zyx([a * s for a, s in zip(box.start, step, strict=True)]),
                zyx([b * s for b, s in zip(box.stop, step, strict=True)]),
            ).clip(shapes[1])
            read = np.asarray(source[fine.slices[-source.ndim :]]).reshape(fine.shape)
            part[inner.slices] = downsample(read, step, fine.start)
        target.put(wide.slices, part)
    return target.written()


def lay_out(job: Job, target: Path, checks: Checks, *, link: bool) -> None:
    """Copy or link the label image to a folder, and compare what is there then.

    Raises
    ------
    InputError
        If the copy is not what was written.
    """
    if job.store.is_local:
        source = Path(job.store.where(name(job)))
        label_files.copy_files(source, target, files.link if link else files.copy)
    else:
        job.store.fetch(name(job), target)
    for key, content in documents(job).items():
        # not a link, whose other end would be written to
        files.remove(target / key)
        (target / key).write_bytes(content)
    # nobody wrote it, and `terapose verify` would find it
    for key in label_files.added(label_files.keys_in(target), checks.files):
        files.remove(target / key)
    wrong = checks.faults(target)
    if wrong:
        raise InputError(
            "the label image changed after it was copied",
            where=target.parent.parent,
            got=f"other checksums of {', '.join(wrong[:5])}",
            remedy=f"check the disk; {AGAIN}",
        )


def noted(folder: Path, checks: Checks) -> dict[str, Any]:
    """What the record says of the files of the results."""
    others = sorted(path for path in folder.iterdir() if path.name != LABELS)
    return {
        "checksums": {
            LABELS: {
                "files": asdict(checks.files),
                "regions": checks.regions,
                "coarse": checks.coarse,
                "metadata": checks.metadata,
            },
            **{path.name: of_tree(path) for path in others},
        }
    }


def of_tree(path: Path) -> int | None:
    """Checksum of a file, or of all files of a folder; None where there is nothing."""
    if not path.is_dir():
        return of_path(path.parent, path.name)
    keys = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    (found,) = checksums_in(partial(of_path, path), [keys])
    return found
