"""The label image while it is in the store: written by **export**, completed by **finish**.

Its metadata follow from the plan and the state, so whoever writes to it first makes them, again
where they are missing or damaged (`ensure`); chunks that are there stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from terapose.intermediates.compartments import compartments
from terapose.io.labels import ome_zarr as labels
from terapose.io.labels.files import LabelFiles, within
from terapose.io.zarr_files import Noted
from terapose.pipeline.job import Job


def name(job: Job) -> str:
    """Name of the label image in the store."""
    return f"{job.before.relabel}/labels.zarr"


def address(job: Job) -> str:
    """Where the label image is."""
    return job.store.where(name(job))


def files_of(job: Job) -> LabelFiles:
    """Which files the label image consists of."""
    output = job.output
    return LabelFiles(
        compartments(job.before),
        output.version,
        output.shape,
        output.chunks,
        output.region,
        output.dimensions,
        output.factors,
        output.shards,
    )


def documents(job: Job) -> dict[str, bytes]:
    """The metadata of the label image, by their keys in it."""
    made: dict[str, Buffer] = {}
    output = job.output
    labels.create(
        MemoryStore(made),
        shape=output.shape[-output.dimensions :],
        dtype=job.before.label_type,
        voxel_size=output.voxel_size,
        voxels=output.voxels,
        translation=output.translation,
        factors=output.factors,
        chunks=output.chunks,
        shards=output.shards,
        names=compartments(job.before),
        about={"level": output.level, "segmented_level": job.plan.image.level},
        version="0.5" if output.version == "0.5" else "0.4",
    )
    return {key: value.to_bytes() for key, value in made.items()}


def ensure(job: Job) -> None:
    """Make the groups and arrays, as far as they are not there."""
    for key, content in documents(job).items():
        job.store.put_plain(f"{name(job)}/{key}", content)


@dataclass
class Level:
    """A level of a label image that is written by whole files, and their checksums."""

    image: str
    number: int
    array: zarr.Array[Any]
    noted: Noted = field(default_factory=dict)

    @classmethod
    def open(cls, job: Job, image: str, number: int) -> Level:
        """Open a level."""
        noted: Noted = {}
        array = labels.open_level(address(job), number, name=image, noted=noted, replaces=True)
        return cls(image, number, array, noted)

    def put(self, place: tuple[slice, ...], values: NDArray[Any]) -> None:
        """Write ZYX values, also to an array of two dimensions, which is a single plane."""
        self.array[place[-self.array.ndim :]] = values if self.array.ndim == 3 else values[0]

    def written(self) -> Noted:
        """Checksums of the files that were written since this was asked for last."""
        noted = within(self.noted, self.image, self.number)
        self.noted.clear()
        return noted
