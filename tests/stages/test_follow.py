"""What follow reads again where points leave what was read at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fields import (
    Field,
    cellpose_masks,
    prepared,
    same_partition,
    same_result,
    segment_field,
    towards,
)

from terapose.core.geometry import ZYX, Box
from terapose.intermediates.flows import read_flows
from terapose.pipeline.job import Job
from terapose.pipeline.sizes import LEAST_HALO, MOST_HALO, first_halo
from terapose.stages import follow


@pytest.mark.parametrize(
    ("diameter", "halo"),
    [(4.0, LEAST_HALO), (24.0, LEAST_HALO), (24.5, 25), (60.0, 60), (1e6, MOST_HALO)],
)
def test_the_first_halo_is_a_diameter(diameter: float, halo: int) -> None:
    assert first_halo(diameter) == halo


def test_what_is_around_lost_points_is_read_again(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((8, 9, 400), np.int64)
    labels[2:6, 2:7, 97:146], labels[2:6, 2:7, 197:246] = 1, 2
    # farther than the first halo from the block in which some of their points start
    field = towards(labels, np.array([[4.0, 4.0, 143.0], [4.0, 4.0, 243.0]]))
    boxes: list[Box] = []

    def counted(job: Job, name: str, box: Box) -> Field:
        boxes.append(box)
        return read_flows(job, name, box)

    whole = segment_field(tmp_path, tiny_model, field, block_shape=(8, 9, 400))
    monkeypatch.setattr(follow, "read_flows", counted)
    cut = segment_field(tmp_path, tiny_model, field, block_shape=(8, 9, 100))
    same_result(cut, whole)
    assert same_partition(cut.labels, cellpose_masks(field))
    told = cut.states["follow"].history[-1].told
    first = first_halo(cut.plan.diameter.pixels)
    assert first < told["max_excursion"] < told["halo"] == 2 * first
    # the last three voxels of two blocks, and as many more as the halo is wide
    again = [box for box in boxes if box not in [cut.plan.around(b, first) for b in cut.plan.grid]]
    assert [(box.start[2], box.stop[2]) for box in again] == [(37, 160), (137, 260)]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("halo", [6, 12, 24, 200])
@pytest.mark.parametrize("block", [(10, 20, 30), (3, 64, 50), (40, 7, 11)])
def test_pieces_are_a_block(
    block: ZYX, halo: int, *, flat: bool, tmp_path: Path, tiny_model: Path
) -> None:
    mode = "stitch" if flat else "3d"
    image = np.zeros((40, 64, 100), np.uint8)
    plan, _ = prepared(tmp_path, tiny_model, image[:, :, :], block_shape=block, mode=mode)
    for core in plan.grid:
        seen = plan.around(core, 3)
        pieces = list(follow._pieces(plan, core, seen, halo))
        held = np.zeros(plan.image.shape, int)
        for piece in pieces:
            held[piece.slices] += 1
        assert (held[core.slices] == 1).all() and held.sum() == core.size
        for piece in pieces:
            read = plan.around(piece, halo).shape
            for n, most, own, edge in zip(read, seen.shape, core.shape, piece.shape, strict=True):
                assert n <= most or edge <= halo or edge == own <= halo
