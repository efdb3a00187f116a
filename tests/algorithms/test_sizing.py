"""The size of cells from outputs of a network that are made for discs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from terapose.algorithms.objects.sizing import (
    RUNGS,
    SECTION,
    Found,
    areas_of,
    found_in,
    search,
)


def output_of(diameter: float, *, edge: int = 120, step: int = 40) -> NDArray[np.float32]:
    """What a perfect network gives for discs on a grid: 5 x flows, and a logit of 5 or -5."""
    y, x = np.mgrid[:edge, :edge].astype(np.float32)
    ways = np.stack([step / 2 - y % step, step / 2 - x % step])
    far = np.hypot(*ways)
    inside = far <= diameter / 2
    flows = np.where(inside, 5 * ways / np.maximum(far, 1), 0)
    return np.concatenate([flows, np.where(inside, 5, -5)[None]]).astype(np.float32)


@pytest.mark.parametrize("diameter", [8, 17, 30])
def test_discs_have_their_size(diameter: float) -> None:
    areas = areas_of(output_of(diameter))
    assert len(areas) == 9
    np.testing.assert_allclose(np.sqrt(areas * 4 / np.pi), diameter, rtol=0.06)
    found = found_in(50, 0.5, [output_of(diameter)] * 2)
    assert found.size == pytest.approx(2 * diameter, rel=0.06)
    assert (found.cells, found.windows) == (18, 2)
    assert found.covered == pytest.approx(9 * np.pi * diameter**2 / 4 / 120**2, rel=0.12)


def test_sections_are_smaller_than_their_cells() -> None:
    plane, solid = (found_in(17, 1.0, [output_of(17)], solid=solid) for solid in (False, True))
    assert solid.size == pytest.approx(plane.size / SECTION)


def test_what_touches_the_border_does_not_count() -> None:
    assert len(areas_of(output_of(17)[:, 20:])) == 6


def test_flows_that_lead_nowhere_are_no_cells() -> None:
    output = output_of(17)
    output[0], output[1] = 0, 5
    assert len(areas_of(output)) == 0
    rng = np.random.default_rng(1)
    angles = rng.uniform(0, 2 * np.pi, output.shape[1:])
    output[:2] = 5 * np.stack([np.sin(angles), np.cos(angles)])
    assert not found_in(17, 1.0, [output]).stands
    output[0] = np.nan
    assert len(areas_of(output)) == 0
    assert found_in(17, 1.0, []).size == 0


def test_a_disc_that_is_pushed_away_from_its_middle_is_no_cell() -> None:
    output = output_of(17)
    output[:2] *= -1
    assert len(areas_of(output)) == 0


def looking(size: float, *, reach: float = 3.0, cells: int = 20) -> list[Found]:
    """Looks at cells of one size by a network that finds those within a factor of its own."""

    def look(assumed: float) -> Found:
        ratio = size / assumed
        sees = 1 / reach <= ratio <= reach
        # what is small beside what is known is found too large, and the other way round
        found = assumed * ratio**0.9 if sees else 0.0
        return Found(assumed, found, cells if sees else 0, 0.1 if sees else 0.0, 4)

    return search(look, RUNGS)


@pytest.mark.parametrize("size", [6, 8.5, 17, 33, 70, 150])
def test_sizes_are_found_by_scales(size: float) -> None:
    """The search alone; tests/pipeline/test_sized.py runs it with the shipped network."""
    looks = looking(size)
    assert looks[-1].settled
    assert looks[-1].size == pytest.approx(size, rel=0.1)
    assert len(looks) <= len(RUNGS) + 3


def test_what_cannot_be_told() -> None:
    assert not looking(17, cells=2)[-1].settled
    assert not looking(2000)[-1].settled
    # a size that depends on what is assumed, as in noise: never the size that was assumed
    looks = search(lambda assumed: Found(assumed, assumed / 1.6, 30, 0.2, 4), RUNGS)
    assert not looks[-1].settled


def test_of_two_sizes_that_with_more_of_the_image_counts() -> None:
    def look(assumed: float) -> Found:
        if assumed < 12:
            return Found(assumed, 6.0, 40, 0.02, 4)
        return Found(assumed, 40.0, 12, 0.3, 4) if 20 < assumed < 60 else Found(assumed, 0, 0, 0, 4)

    assert search(look, RUNGS)[-1].size == 40
