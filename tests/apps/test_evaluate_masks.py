"""Masks with one number for all cells are noticed, whatever the blocks, in a single reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.command import Terapose
from tests.label_pairs import blobs

from terapose.apps.evaluate.evaluation import evaluate


def test_a_mask_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Terapose(monkeypatch, capsys)
    reference, predicted = blobs(1)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    one, other = tmp_path / "a" / "one.tif", tmp_path / "b" / "one.tif"
    tifffile.imwrite(one, reference.astype("uint16"))
    said = " one number for all cells, which count as one cell, although there are pieces"
    tifffile.imwrite(other, predicted.astype("uint16"))
    assert said not in command("evaluate", one, other).err
    for mask in (predicted > 0, np.where(predicted, np.uint64(2**64 - 1), np.uint64(0))):
        tifffile.imwrite(other, mask)
        found = command("evaluate", one, other, "--json", tmp_path / "a.json")
        assert found.code == 0 and f"note: {other}:{said}" in found.err
        assert found.err.count(said) == 1
        (note,) = json.loads((tmp_path / "a.json").read_text())["notes"]
        assert said in note
    assert f"note: {one}:{said}" not in command("evaluate", one.parent, other.parent).err
    assert f"note: {other}:{said}" in command("evaluate", one.parent, other.parent).err
    assert f"note: {other}:{said}" in command("evaluate", other, one).err


@pytest.mark.parametrize("block", [(64, 512, 512), (4, 9, 11), (3, 7, 5)])
def test_pieces_that_are_joined_in_another_block_are_one(block: tuple[int, int, int]) -> None:
    """Two arms of one cell are apart in every block but the last."""

    def noticed(labels: Any) -> tuple[bool, bool]:
        return evaluate(labels, np.zeros_like(labels), block=block).in_pieces

    cell = np.zeros((3, 30, 30), np.uint16)
    cell[1, 2:28, 3:5] = cell[1, 2:28, 20:22] = cell[1, 26:28, 3:22] = 7
    assert noticed(cell) == (False, False)
    speck = cell.copy()
    speck[1, 0, 29] = 7
    assert not noticed(speck)[0]
    apart = cell.copy()
    apart[:, 12:15, 12:14] = 7  # across two blocks of the smallest shape
    assert noticed(apart)[0] is (block != (3, 7, 5))
    several = apart.copy()
    several[:, 0, 0] = 9
    assert not noticed(several)[0]
    assert noticed(np.zeros_like(cell)) == (False, False)
    assert not noticed(np.ones_like(cell))[0]
