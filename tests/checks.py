"""Checks that tests of several modules share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terapose.core.errors import InputError
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image

REGION = (slice(1, 4), slice(3, 30), slice(10, 41))
"""Where `same` reads; images need 5 planes of 33 x 47 at least, or one plane."""


def _clipped(region: Any, shape: tuple[int, ...]) -> Any:
    return tuple(slice(*part.indices(n)[:2]) for part, n in zip(region, shape, strict=True))


def same(image: Image, expected: np.ndarray) -> bool:
    """Whether regions, single voxels, nothing and all of a CZYX array are read."""
    assert image.channels == len(expected)
    regions = [REGION, (slice(2, 3), slice(5, 6), slice(7, 8)), (slice(2, 2), *REGION[1:])]
    for channel, volume in enumerate(expected, 1):
        assert image.shape == volume.shape
        for region in [*regions, (slice(None),) * 3]:
            region = _clipped(region, volume.shape)
            block = image.read(region, channel)
            assert block.dtype == volume.dtype
            assert block.flags.c_contiguous
            np.testing.assert_array_equal(block, volume[region])
    return True


def assert_refused(message: str, address: str | Path, **options: Any) -> None:
    """Opening fails with one sentence that names the place and the fault."""
    with pytest.raises(InputError, match=message) as caught:
        open_image(address, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of the results, but of the record."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name != "provenance.json"
    }
