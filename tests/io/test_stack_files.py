"""Which files of a stack are opened by `check`, and count for the identity of the image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.io.test_stacks import write
from tests.synthetic import voxels

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images import open_image
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
