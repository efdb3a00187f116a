"""Any blocks, any cells: the masks of Cellpose on the whole, and the bytes of a single block."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fields import (
    balls,
    cellpose_masks,
    check_table,
    same_partition,
    same_result,
    segment_field,
    to_centres,
)

edges = st.integers(12, 28)


@st.composite
def cuts(draw: st.DrawFn, length: int) -> int:
    """Edge of a block: the whole axis, or two or three blocks of which the last is thinner."""
    parts = draw(st.sampled_from([1, 2, 2, 3]))
    thickest = length - 1 if parts == 2 else (length - 1) // 2
    return length if parts == 1 else draw(st.integers(-(-length // parts), thickest))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Shapes, blocks smaller than a cell or of odd sizes, cells and rules."""
    shape = draw(st.tuples(edges, edges, edges))
    return {
        "shape": shape,
        "block": [draw(cuts(n)) for n in shape],
        "slab": draw(st.integers(3, 32)),
        "tasks": draw(st.integers(1, 5)),
        "seed": draw(st.integers(0, 2**16)),
        "count": draw(st.integers(0, 40)),
        "radius": draw(st.floats(2.5, 9)),
        "noise": draw(st.sampled_from([0.0, 0.5, 2.0])),
        "tolerance": draw(st.sampled_from([0.0, 3e-5, 0.01])),
        "rules": {
            "cellprob_threshold": draw(st.sampled_from([0.0, -2.5, 3.0])),
            "min_size": draw(st.sampled_from([-1, 15, 120])),
            "max_size_fraction": draw(st.sampled_from([0.4, 0.02])),
            "niter": draw(st.sampled_from([7, 200])),
        },
    }


@given(cases())
@settings(max_examples=10)
def test_blocks_do_not_show(tiny_model: Path, case: dict[str, Any]) -> None:
    labels = balls(case["shape"], seed=case["seed"], count=case["count"], radius=case["radius"])
    field = to_centres(labels, noise=case["noise"], seed=case["seed"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = segment_field(folder, tiny_model, field, block_shape=case["shape"], **case["rules"])
        cut = segment_field(
            folder,
            tiny_model,
            field,
            block_shape=case["block"],
            slab_planes=case["slab"],
            max_tasks=case["tasks"],
            **case["rules"],
        )
        same_result(cut, whole)
        judged = [
            segment_field(
                folder,
                tiny_model,
                field,
                block_shape=block,
                flow_threshold=0.3,
                follow_tolerance=case["tolerance"],
                **case["rules"],
            )
            for block in (case["shape"], case["block"])
        ]
        same_result(*judged)
    check_table(whole)
    check_table(judged[0])
    assert (judged[0].cells["FlowError"] <= 0.3).all()
    assert len(judged[0].cells["CellID"]) <= len(whole.cells["CellID"])
    assert same_partition(whole.labels, cellpose_masks(field, **case["rules"]))
