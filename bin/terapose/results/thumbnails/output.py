"""Where thumbnails are written: checked first, made aside, and put in place when complete."""

from __future__ import annotations

import math
import os
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX
from terapose.io import files
from terapose.io.documents import parse_json
from terapose.io.homes import expanded
from terapose.io.images.address import is_url, refuse_inputs
from terapose.io.images.model import Image
from terapose.results.thumbnails.files import Layout, create_array


class Destination:
    """An array of thumbnails on a local disk and, where requested, that of their masks.

    Parameters
    ----------
    address
        Folder of the array, or its zip file, on a local disk.
    layout
        How it is laid out there.
    with_masks
        Whether there is a second array, at `mask_path`.

    Raises
    ------
    InputError
        If it is no local path.
    """

    def __init__(
        self, address: str | os.PathLike[str], layout: Layout, *, with_masks: bool
    ) -> None:
        if is_url(os.fspath(address)):
            raise InputError(
                "thumbnails are written to a local disk",
                where=address,
                remedy="give a local path, and copy the result",
            )
        path = expanded(address)
        if path.name in ("", ".."):  # the working folder, as . for example
            path = Path(os.path.realpath(path))
        self.path = path
        self.mask_path = path.parent / f"{path.stem}_mask{path.suffix}" if with_masks else None
        self._layout = layout
        self._partial = files.aside(path)
        self._overwrite = False

    @property
    def scratch(self) -> Path:
        """Folder for what waits on disk."""
        return self._partial / "scratch"

    def check(self, inputs: Iterable[str], *, overwrite: bool) -> None:
        """Refuse a destination that cannot be used, before anything is computed.

        Parameters
        ----------
        inputs
            Addresses of what is read.
        overwrite
            Whether thumbnails that are there may be replaced.

        Raises
        ------
        InputError
            If it exists and is not to be replaced, is something other than an array, holds an
            input or is inside one, or cannot be written.
        """
        self._overwrite = overwrite
        self._refuse_present()
        refuse_inputs(self._paths, inputs)
        for path in self._paths:
            if os.path.lexists(path) and not _is_array(path):
                raise InputError(
                    "is not replaced",
                    where=path,
                    got="something other than an array",
                    remedy="choose another name",
                )
        try:
            self.clean()
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise self.unwritable(error) from error

    @property
    def _paths(self) -> list[Path]:
        return [path for path in (self.mask_path, self.path) if path is not None]

    def _refuse_present(self) -> None:
        """Raise InputError if something has the name that is not to be replaced."""
        there = [path for path in self._paths if os.path.lexists(path)]
        if there and not self._overwrite:
            raise InputError(
                "already exists", where=there[-1], remedy="choose another name, or give --force"
            )

    def create(
        self, image: Image, channels: Sequence[str], cells: int, window: ZYX
    ) -> tuple[zarr.Array[Any], zarr.Array[Any] | None]:
        """Create the arrays, aside.

        Parameters
        ----------
        image
            What is cut.
        channels
            Names of the channels that are cut; they become an attribute.
        cells
            How many.
        window
            (D, H, W); planes have no D on disk.

        Returns
        -------
        images, masks
            [C, N, D, H, W] or [C, N, H, W], and the same without C.
        """
        shape = (cells, *(window if image.shape[0] > 1 else window[1:]))
        size = len(channels) * math.prod(window) * image.dtype.itemsize
        chunk, shard = self._layout.chunk(size), self._layout.shard(size)

        def make(name: str, shape: tuple[int, ...], dtype: DTypeLike, axis: int) -> Any:
            return create_array(
                self._partial / name,
                shape,
                dtype,
                axis=axis,
                chunk=chunk,
                shard=shard,
                zarr_format=self._layout.zarr_format,
                attributes={"channels": list(channels)} if axis else {},
            )

        images = make("images", (len(channels), *shape), image.dtype, 1)
        return images, None if self.mask_path is None else make("masks", shape, np.bool_, 0)

    def unwritable(self, error: OSError) -> InputError:
        """What to say about a fault in writing."""
        return InputError(
            "the thumbnails cannot be written",
            where=self.path,
            got=error.strerror or error,
            remedy="choose a folder you may write to, on a disk with space left",
        )

    def publish(self) -> None:
        """Put the complete arrays in place; that of the thumbnails last.

        Raises
        ------
        InputError
            If something has appeared there meanwhile, and is not to be replaced.
        """
        self._refuse_present()
        for name, path in (("masks", self.mask_path), ("images", self.path)):
            if path is None:
                continue
            made = self._partial / name
            if self._layout.zipped:
                made = self._partial / f"{name}.zip"
                _zip(self._partial / name, made)
            files.point("thumbnails: before they are renamed")
            files.put_in_place(made, path)
            files.point("thumbnails: after they are renamed")

    def clean(self) -> None:
        """Remove what was made aside."""
        files.remove(self._partial)


def cell_bytes(images: zarr.Array[Any]) -> int:
    """Uncompressed size of a cell's thumbnails in all channels."""
    shape = images.shape
    return math.prod((shape[0], *shape[2:])) * images.dtype.itemsize


def _is_array(path: Path) -> bool:
    """Whether it is a Zarr array, as a folder or a zip file, and no group of them."""
    if path.is_file() and not zipfile.is_zipfile(path):
        return False
    place = zipfile.Path(path) if path.is_file() else path
    if (place / ".zarray").is_file():
        return True
    try:
        about = parse_json((place / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, KeyError, ValueError):
        return False
    return isinstance(about, dict) and about.get("node_type") == "array"


def _zip(folder: Path, path: Path) -> None:
    """Put the files of a folder into one zip file, as they are, and always in the same order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
