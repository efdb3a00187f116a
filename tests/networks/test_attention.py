"""Fused attention against that of SAM's encoder as it is written out."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention
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
