"""The files of label images, region by region, and whether they are those that were written.

A file is a chunk, or several (`terapose.io.labels.ome_zarr.file_edges`). **export** notes the
CRC-32C of each file it writes; a region's checksum is that of the lines ``key crc`` of the files,
by rising key. Where all voxels are 0 there is no file and no line, so a file that is missing, added
or changed changes the checksum, and it takes reading the compressed files alone, without decoding,
to compare them.

Coarse levels, which ``finish`` writes, are one region more, and so are the metadata.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from terapose.core.geometry import ZYX, Box, Grid
from terapose.io.checksums import crc32c, of_file
from terapose.io.files import ASIDE
from terapose.io.labels.ome_zarr import REGION_FACTOR, file_edges, level_region, level_shape
from terapose.io.zarr_files import Noted

_READERS = 8
_TOGETHER = 4096


@dataclass(frozen=True)
class LabelFiles:
    """Which files label images consist of.

    Attributes
    ----------
    names
        Of the label images in the group.
    version
        Of OME-Zarr.
    shape, chunks, region
        (Z, Y, X) of the label images, of a chunk and of a region.
    dimensions
        Of the arrays: 2 for a single plane.
    factors
        (Z, Y, X) of each level.
    shards
        (Z, Y, X): how many chunks share a file, at most.
    """

    names: tuple[str, ...]
    version: str
    shape: ZYX
    chunks: ZYX
    region: ZYX
    dimensions: int
    factors: tuple[ZYX, ...]
    shards: ZYX = (1, 1, 1)

    def check(self) -> None:
        """Refuse what no label image of this program has: a record may say anything.

        Whoever compares files with a record looks up each that it describes.

        Raises
        ------
        ValueError
            If the version, regions, levels or their factors are those of no label image.
        """
        if self.version not in ("0.4", "0.5"):
            raise ValueError(f"version {self.version!r} of OME-Zarr")
        edges = zip(self.region, self.chunks, strict=True)
        if any(not 0 < chunk <= edge <= chunk * REGION_FACTOR for edge, chunk in edges):
            raise ValueError(f"regions of {self.region} voxels in chunks of {self.chunks}")
        together = any(n not in (1, 2, REGION_FACTOR) for n in self.shards)
        if together or (self.version == "0.4" and max(self.shards) > 1):
            raise ValueError(f"files of {self.shards} chunks")
        # each level halves an axis that has several voxels
        halved = sum((n - 1).bit_length() for n in self.shape)
        if not 0 < len(self.factors) <= halved + 1 or self.dimensions not in (2, 3):
            raise ValueError(f"{len(self.factors)} levels of an image of {self.shape} voxels")
        finer = ((1, 1, 1), *self.factors)
        for one, other in zip(finer, self.factors, strict=False):
            if any(b not in (a, 2 * a) for a, b in zip(one, other, strict=True)):
                raise ValueError(f"a level of {other} voxels after one of {one}")

    @property
    def regions(self) -> Grid:
        """The regions of the finest level."""
        return Grid(self.shape, self.region)

    @property
    def fine(self) -> int:
        """Number of levels, from the finest, that are written region by region."""
        return sum(max(f) <= REGION_FACTOR for f in self.factors)

    def of_region(self, region: Box) -> Iterator[str]:
        """Keys of the files of a region."""
        for level, factor in enumerate(self.factors[: self.fine]):
            yield from self._keys(level, level_region(region.start, region.stop, factor))

    def of_coarse_levels(self) -> Iterator[str]:
        """Keys of the files of the other levels."""
        for level in range(self.fine, len(self.factors)):
            shape = level_shape(self.shape, self.factors[level])
            yield from self._keys(level, [slice(0, n) for n in shape])

    def of_metadata(self) -> Iterator[str]:
        """Keys of the documents of the groups and arrays."""
        levels = [f"{name}/{n}/" for name in self.names for n in range(len(self.factors))]
        groups = ["", *(f"{name}/" for name in self.names)]
        if self.version == "0.5":
            yield from (f"{place}zarr.json" for place in (*groups, *levels))
            return
        yield from (f"{place}{file}" for place in groups for file in (".zgroup", ".zattrs"))
        yield from (f"{place}{file}" for place in levels for file in (".zarray", ".zattrs"))

    def has(self, key: str) -> bool:
        """Whether a key is that of voxels or of a document; voxels that are all 0 have none."""
        name, _, rest = key.partition("/")
        level, _, rest = rest.partition("/")
        if not rest.startswith("c/" if self.version == "0.5" else tuple("0123456789")):
            return key in self.of_metadata()
        place = rest.removeprefix("c/").split("/")
        if name not in self.names or level not in map(str, range(len(self.factors))):
            return False
        counts = self._counts(int(level))
        return len(place) == len(counts) and all(
            number.isdecimal() and number == str(int(number)) and int(number) < count
            for number, count in zip(place, counts, strict=True)
        )

    def _counts(self, level: int) -> list[int]:
        """Files of a level along each axis of the array."""
        shape = level_shape(self.shape, self.factors[level])
        counts = [-(-n // edge) for n, edge in zip(shape, self.edges(level), strict=True)]
        return counts[-self.dimensions :]

    def edges(self, level: int) -> ZYX:
        """(Z, Y, X) of a file of a level."""
        _, files = file_edges(self.shape, self.factors[level], self.chunks, self.shards)
        return files

    def _keys(self, level: int, inside: Sequence[slice]) -> Iterator[str]:
        edges = self.edges(level)
        runs = [
            range(part.start // edge, -(-part.stop // edge))
            for part, edge in zip(inside, edges, strict=True)
        ][-self.dimensions :]
        lead = "c/" if self.version == "0.5" else ""
        for name in self.names:
            for at in itertools.product(*runs):
                yield f"{name}/{level}/{lead}{'/'.join(map(str, at))}"


def checksum(noted: Mapping[str, int | None]) -> int:
    """Checksum of files by their keys; those that are not there are None."""
    lines = (f"{key} {crc:08x}\n" for key, crc in sorted(noted.items()) if crc is not None)
    return crc32c("".join(lines).encode())


def within(noted: Noted, name: str, level: int) -> Noted:
    """What was noted of an array, by keys in the group."""
    return {f"{name}/{level}/{key}": crc for key, crc in noted.items()}


def checksums_in(
    read: Callable[[str], int | None], regions: Iterable[Iterable[str]]
) -> Iterator[int]:
    """Checksum of each region's files.

    Parameters
    ----------
    read
        Gives the checksum of the file of a key, or None where there is none.
    regions
        Keys of the files of each region.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        for together in _batches(regions):
            keys = [key for region in together for key in region]
            found = dict(zip(keys, pool.map(read, keys), strict=True))
            for region in together:
                yield checksum({key: found[key] for key in region})


def keys_in(folder: Path) -> Iterator[str]:
    """Keys of all files in a folder, and of links in the place of folders."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in (*names, *links):
            yield os.path.relpath(os.path.join(place, name), folder)


def added(keys: Iterable[str], known: LabelFiles) -> list[str]:
    """Keys that are not those of the files of label images, sorted."""
    return sorted(key for key in keys if not known.has(key))


def copy_files(source: Path, target: Path, copy: Callable[[Path, Path], None]) -> None:
    """Copy the complete files of a folder, several at a time; neither links nor pipes."""
    with ThreadPoolExecutor(_READERS) as pool:
        for folder, _, names in os.walk(source):
            place = target / Path(folder).relative_to(source)
            place.mkdir(parents=True, exist_ok=True)
            complete = [
                name
                for name in names
                if not name.endswith(ASIDE) and stat.S_ISREG(os.lstat(f"{folder}/{name}").st_mode)
            ]
            list(pool.map(lambda n: copy(Path(folder) / n, place / n), complete))  # noqa: B023


def _batches(regions: Iterable[Iterable[str]]) -> Iterator[list[list[str]]]:
    """Regions in groups of some thousand files."""
    together: list[list[str]] = []
    for region in regions:
        together.append(list(region))
        if sum(map(len, together)) >= _TOGETHER:
            yield together
            together = []
    yield together


def of_path(folder: Path, key: str) -> int | None:
    """Checksum of a file in a folder; None where there is none, or something that is no file."""
    path = folder / key
    return of_file(path) if path.is_file() else None
