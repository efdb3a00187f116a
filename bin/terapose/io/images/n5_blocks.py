"""A dataset of N5: blocks in files of their own, read one by one.

1. `attributes.json` has ``dimensions`` and ``blockSize`` with the fastest axis first; here and in
   the rest of Terapose the slowest comes first.
2. The block at grid position (i, j, k) is the file `i/j/k`; without a file it is zeros.
3. A block begins with its mode, number of axes and lengths, in 16 and 32 bits, the most
   significant first. Blocks at the end of an axis are cut off there or reach beyond, as the
   writer likes.
4. The rest is compressed; numbers have the most significant byte first.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from terapose.core.errors import InputError
from terapose.io.images import unpack
from terapose.io.images.joined import Index

_TYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_TYPES |= {"float32", "float64"}


_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "raw": unpack.stored,
    "gzip": unpack.from_gzip,
    "bzip2": unpack.from_bzip2,
    "xz": unpack.from_xz,
    "zstd": unpack.from_zstd,
    "blosc": unpack.from_blosc,
    "lz4": unpack.from_lz4,
}


@dataclass(frozen=True)
class Dataset:
    """A dataset, the slowest axis first.

    Attributes
    ----------
    path
        Its folder.
    shape, blocks
        Lengths of the axes, and of a block.
    dtype
        Type of the numbers, in native byte order.
    compression
        Name of the compression.
    touched
        Files of blocks that were looked for are noted here.
    """

    path: str
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: np.dtype[Any]
    compression: str
    touched: set[str] = field(default_factory=set, repr=False, compare=False)

    def __getitem__(self, index: Index) -> np.ndarray[Any, Any]:
        """Read a region by slices of step 1; a number in place of a slice drops its axis."""
        region = [slice(i, i + 1) if isinstance(i, int) else i for i in index]
        out = np.zeros([part.stop - part.start for part in region], self.dtype)
        spans = (
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(region, self.blocks, strict=True)
        )
        for position in product(*spans):
            self._copy(position, region, out)
        kept: tuple[Any, ...] = tuple(0 if isinstance(i, int) else slice(None) for i in index)
        block: np.ndarray[Any, Any] = out[kept]
        return block

    def _copy(
        self, position: tuple[int, ...], region: list[slice], out: np.ndarray[Any, Any]
    ) -> None:
        """Copy what a block has of a region."""
        block = self.read_block(position)
        if block is None:
            return
        inside, outside = [], []
        for number, size, length, part in zip(
            position, self.blocks, block.shape, region, strict=True
        ):
            first = max(part.start, number * size)
            stop = min(part.stop, (number + 1) * size)
            if stop > number * size + length:
                raise ValueError(f"block {self._name(position)} is too small: {block.shape}")
            inside.append(slice(first - number * size, stop - number * size))
            outside.append(slice(first - part.start, stop - part.start))
        out[tuple(outside)] = block[tuple(inside)]

    def _name(self, position: tuple[int, ...]) -> str:
        return "/".join(map(str, reversed(position)))

    def read_block(self, position: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
        """Read a block, as large as it is stored; None where there is no file."""
        file_name = f"{self.path}/{self._name(position)}"
        self.touched.add(file_name)
        most = unpack.most_of(math.prod(self.blocks), self.dtype.itemsize)
        try:
            with open(file_name, "rb") as file:
                if os.fstat(file.fileno()).st_size > most:
                    raise ValueError(f"block {self._name(position)} is larger than it may be")
                content = file.read()
        except FileNotFoundError:
            return None
        mode, axes = struct.unpack_from(">HH", content)
        if mode not in (0, 1) or axes != len(self.shape):
            raise ValueError(f"block {self._name(position)} has mode {mode} and {axes} axes")
        shape = struct.unpack_from(f">{axes}I", content, 4)[::-1]
        if any(a > b for a, b in zip(shape, self.blocks, strict=True)):
            raise ValueError(f"block {self._name(position)} is too large: {shape}")
        start = 4 + 4 * axes + 4 * mode
        data = _UNPACK[self.compression](content[start:], most)
        values = np.frombuffer(data, self.dtype.newbyteorder(">"), math.prod(shape))
        return values.reshape(shape)


def dataset_of(path: str, attributes: dict[str, Any]) -> Dataset:
    """Make a dataset from its attributes.

    Parameters
    ----------
    path
        Its folder.
    attributes
        Content of the `attributes.json`.

    Raises
    ------
    InputError
        If they are damaged, or it has a type or a compression that cannot be read.
    """
    if "dimensions" not in attributes:
        raise InputError(
            "there is no N5 dataset",
            where=path,
            remedy="the container is incomplete, copy it again",
        )
    given = attributes.get("compression", attributes.get("compressionType", "raw"))
    compression = str(given.get("type")) if isinstance(given, dict) else str(given)
    dtype = attributes.get("dataType")
    try:
        shape = tuple(int(n) for n in reversed(attributes["dimensions"]))
        blocks = tuple(int(n) for n in reversed(attributes["blockSize"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable(path, "damaged", f"{type(error).__name__}: {error}") from error
    if len(shape) != len(blocks) or min((*shape, *blocks), default=1) < 1:
        raise _unreadable(path, "damaged", f"dimensions {shape} in blocks of {blocks}")
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise _unreadable(path, "of a type that cannot be read", dtype, sorted(_TYPES))
    if compression not in _UNPACK:
        what = "compressed in a way that cannot be read"
        raise _unreadable(path, what, compression, list(_UNPACK))
    return Dataset(path, shape, blocks, np.dtype(dtype), compression)


def _unreadable(path: str, what: str, got: object, allowed: list[str] | None = None) -> InputError:
    return InputError(
        f"the N5 dataset is {what}",
        where=path,
        got=got,
        allowed=", ".join(allowed) if allowed else None,
        remedy="write it again, for example as OME-Zarr with Fiji",
    )
