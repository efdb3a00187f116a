"""Which files a label image consists of."""

from __future__ import annotations

import pytest

from terapose.io.labels.files import LabelFiles


def files(version: str, dimensions: int) -> LabelFiles:
    shape = (1, 40, 30) if dimensions == 2 else (9, 40, 30)
    factors = ((1, 1, 1), (1, 2, 2), (2, 8, 8))
    return LabelFiles(
        ("cells", "nuclei"), version, shape, (4, 8, 8), (16, 32, 32), dimensions, factors
    )


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_key_is_known_if_it_is_one_of_all(version: str, dimensions: int) -> None:
    known = files(version, dimensions)
    keys = {key for region in known.regions for key in known.of_region(region)}
    keys |= {*known.of_coarse_levels(), *known.of_metadata()}
    assert len(keys) > 50 and all(map(known.has, keys))
    numbers = ("0", "1", "3", "4", "5", "00", "01", "-1", "", "x", "\u0661")
    lead, last = ("c/", dimensions - 1) if version == "0.5" else ("", dimensions - 1)
    others = {
        f"{name}/{level}/{start}{'0/' * more}{number}"
        for name in ("cells", "nuclei", "other", "")
        for level in ("0", "2", "3", "-1", "00", "x")
        for start in ("", "c/")
        for more in (0, last, last + 1)
        for number in numbers
    }
    places = ("", "cells/", "cells/0/", f"cells/0/{lead}", f"cells/0/{lead}0/", "a/", "cells/0/x/")
    documents = ("zarr.json", ".zattrs", ".zgroup", ".zarray", ".DS_Store", "c")
    others |= {f"{place}{name}" for place in places for name in documents}
    assert {key for key in others if known.has(key)} == others & keys
    assert len(others & keys) > 10
