"""Fused attention against that of SAM's encoder as it is written out."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import nn

from terapose.networks import attention
from terapose.networks.attention import fuse


@pytest.mark.parametrize(("relative", "folded"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10)])
def test_fused_attention_is_the_same(
    relative: bool, folded: bool, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "FOLDED_ON", ("cpu",) if folded else ("cuda",))
    torch.manual_seed(0)
    plain = Attention(64, 4, True, relative, True, (height, width)).eval()
    if relative:
        # they are zero when made: a term that is missing would not show
        nn.init.normal_(plain.rel_pos_h)
        nn.init.normal_(plain.rel_pos_w)
    fused = nn.Sequential(copy.deepcopy(plain))
    fuse(fused)
    x = torch.randn(3, height, width, 64)
    with torch.no_grad():
        expected, found = plain(x), fused(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(expected, expected.flip(1))


@pytest.mark.parametrize("stored", [15, 27, 63])
def test_relative_positions_are_those_of_sam(stored: int) -> None:
    weights = torch.randn(stored, 16)
    assert torch.equal(attention._table(weights, 14), get_rel_pos(14, 14, weights))


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("scored_before", [False, True])
def test_trained_as_it_is_written_out(
    folded: bool, scored_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "FOLDED_ON", ("cpu",) if folded else ("cuda",))
    torch.manual_seed(0)
    attend = Attention(32, 4, True, True, True, (6, 6))
    nn.init.normal_(attend.rel_pos_h)
    plain = nn.Sequential(attend)
    fused = copy.deepcopy(plain)
    fuse(fused)
    x = torch.randn(2, 6, 6, 32)
    if scored_before:
        with torch.inference_mode():
            fused(x)
    for net in (plain, fused):
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            net(x).square().mean().backward()
            optimiser.step()
    assert attend.rel_pos_w.any()
    for expected, found in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), plain(x), rtol=1e-4, atol=1e-5)
