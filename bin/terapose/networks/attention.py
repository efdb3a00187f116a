"""Attention of Cellpose-SAM's encoder in one fused operation.

SAM's encoder (the package ``segment_anything``) writes out the whole attention map, adds what the
relative positions of tokens contribute, takes the softmax and multiplies. PyTorch's
``scaled_dot_product_attention`` does the same in one pass, with that contribution as a bias: 1.3 to
1.6 times faster on a CPU in float32. Results differ by the rounding of float32 (3e-8 of values
around 1, measured).

On a GPU the map of that contribution, 16 values a pair of tokens, would be written and read in each
block, and kernels that take one are slow. It is a sum of two terms, one for the key's row
and one for the column. So it is folded into the product of queries and keys: a query gets
these terms as further components, and a key ones where its row and its column are, zeros elsewhere.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

FOLDED_ON = ("cuda",)
"""Types of devices on which relative positions are folded into queries and keys."""


def fuse(net: nn.Module) -> None:
    """Let all attention blocks of SAM's encoder in a network use the fused operation."""
    from segment_anything.modeling.image_encoder import Attention

    for module in net.modules():
        if isinstance(module, Attention):
            module.forward = MethodType(_attend, module)


def _attend(self: Any, x: Tensor) -> Tensor:
    """As ``Attention.forward`` of SAM's encoder: (B, H, W, C) to the same."""
    batch, height, width, _ = x.shape
    heads, tokens = self.num_heads, height * width
    qkv = self.qkv(x).reshape(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    if self.use_rel_pos and x.device.type in FOLDED_ON:
        found = _folded(self, query, key, value, (height, width))
        return _projected(self, found, x.shape)
    bias = None
    if self.use_rel_pos:
        down, along = _places(self, query, (height, width))
        bias = (down[..., :, None] + along[..., None, :]).reshape(batch, heads, tokens, tokens)
    found = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, scale=self.scale
    )
    return _projected(self, found, x.shape)


def _projected(self: Any, found: Tensor, shape: torch.Size) -> Tensor:
    """The end of ``Attention.forward``: (B, heads, tokens, C) to the shape (B, H, W, C) of x."""
    result: Tensor = self.proj(found.transpose(1, 2).reshape(*shape[:3], -1))
    return result


def _places(self: Any, query: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """What each query, (B, heads, H x W, C), says of rows, (B x heads, H, W, H), and of columns."""
    height, width = size
    place = query.reshape(-1, height, width, query.shape[-1])
    down = torch.einsum("bhwc,hkc->bhwk", place, _table(self.rel_pos_h, height))
    along = torch.einsum("bhwc,wkc->bhwk", place, _table(self.rel_pos_w, width))
    return down, along


def _table(weights: Tensor, length: int) -> Tensor:
    """What relative positions along an axis weigh, (length, length, C), from weights (N, C).

    As ``get_rel_pos`` of SAM's encoder, which copies indices to the GPU: a CUDA graph may not
    contain that. It is made in each run, for training changes the weights.
    """
    resized = functional.interpolate(weights.T[None], size=2 * length - 1, mode="linear")[0].T
    place = torch.arange(length, device=weights.device)
    return resized[place[:, None] - place + length - 1]


def _folded(self: Any, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    """Attention with the relative positions in queries and keys, (B, heads, H x W, C)."""
    batch, heads, tokens, width = value.shape
    down, along = (part.reshape(batch, heads, tokens, -1) for part in _places(self, query, size))
    token = torch.arange(tokens, device=key.device)[:, None]
    row, column = (torch.arange(n, device=key.device) for n in size)
    place = torch.cat([token // size[1] == row, token % size[1] == column], 1)
    place = place.to(key.dtype).expand(batch, heads, -1, -1)
    queries = torch.cat([query * self.scale, down, along], -1)
    keys = torch.cat([key, place], -1)
    # fused kernels want values as wide as keys
    values = functional.pad(value, (0, keys.shape[-1] - width))
    found = functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)
    return found[..., :width]
