"""What geometry refuses; what it computes is in tests/property/test_any_geometry.py."""

from __future__ import annotations

import numpy as np
import pytest

from terapose.core.geometry import Box, Grid, reach


def test_a_box_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        Box((0, 3, 0), (1, 2, 1))


@pytest.mark.parametrize(("shape", "block"), [((0, 1, 1), (1, 1, 1)), ((4, 4, 4), (2, 0, 2))])
def test_a_grid_of_nothing_is_refused(
    shape: tuple[int, int, int], block: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match="at least 1 voxel"):
        Grid(shape, block)


@pytest.mark.parametrize("number", [-1, 12])
def test_there_is_no_such_block(number: int) -> None:
    grid = Grid((5, 5, 5), (2, 3, 4))
    assert len(grid) == 12
    with pytest.raises(IndexError, match="of 12"):
        grid[number]


def test_only_blocks_that_come_near_widen_the_margin() -> None:
    grid = Grid((1, 1, 40), (1, 1, 10))
    # the last block is 21 voxels away: 18 + 2 do not arrive, 25 do
    for last, margin in ((0, 5), (25, 27), (18, 5)):
        assert reach(grid, np.array([3, 0, 0, last]), grid[0], 2) == margin
