"""Which files of a stack are opened by `check`, and count for the identity of the image."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.checks import same
from tests.io.test_stacks import write
from tests.synthetic import voxels

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.opening import open_image
from terapose.stages.check import check_readable


@pytest.mark.parametrize(
    ("name", "axes", "time", "used"),
    [
        ("{t}", "", 2, [1]),
        ("{t}", "TYX", 3, [2]),
        ("{t}", "ZYX", None, [0, 1, 2, 3]),
        ("{t}", "CYX", None, [0, 1, 2, 3]),
        ("{z}", "", None, [0, 1, 2, 3]),
        ("{z}", "TYX", 4, [3]),
    ],
)
def test_files_that_are_checked_and_known(
    tmp_path: Path, name: str, axes: str, time: int | None, used: list[int]
) -> None:
    """All files whose voxels are read, whatever their names call the axis; and no others."""
    write(tmp_path, voxels(4, 33, 47), "p{0}")
    chosen: dict[str, Any] = {"stack": True, "axes": axes, "time": time}
    for n in range(4):
        image = open_image(tmp_path / f"p{name}.tif", **chosen)
        path, before = tmp_path / f"p{n}.tif", image.identity
        content = path.read_bytes()
        os.utime(path, ns=(0, 2**62))
        changed = open_image(tmp_path / f"p{name}.tif", **chosen)
        assert (changed.identity != before) == (n in used)
        if n in used[1:]:  # the first one says what the others are
            tifffile.imwrite(path, np.zeros((5, 6), np.uint16))
            with pytest.raises(InputError, match="has another shape or type"):
                check_readable(image, check({"channels": 1}))
        path.write_bytes(content)


@contextmanager
def _few_open_files(most: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="files cannot be counted here")
def test_more_files_than_can_be_open(tmp_path: Path) -> None:
    array = voxels(300, 8, 9)
    folder = write(tmp_path / "a", array, "p{0}")
    opened = len(os.listdir("/proc/self/fd"))
    with _few_open_files(opened + 40):
        image = open_image(folder, stack=True)
        check_readable(image, check({"stack": True}))
        assert same(image, array[None])
    assert len(os.listdir("/proc/self/fd")) <= opened + 1


def test_only_files_that_are_needed_are_opened(tmp_path: Path) -> None:
    array = voxels(40, 8, 9)
    folder = write(tmp_path / "a", array, "p{0}")
    for n in (1, *range(5, 40)):
        (folder / f"p{n}.tif").write_bytes(b"anything")
    image = open_image(folder, stack=True)
    np.testing.assert_array_equal(
        image.read((slice(2, 5), slice(1, 3), slice(0, 9))), array[2:5, 1:3]
    )
    assert len(image.identity) == 64
