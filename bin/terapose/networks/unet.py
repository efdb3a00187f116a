"""The U-Nets of Cellpose 1 to 3, with the same names for the same weights.

Architecture: Stringer et al., "Cellpose: a generalist algorithm for cellular segmentation",
Nature Methods 18 (2021), and Pachitariu & Stringer, Nature Methods 19 (2022).

1. Down: one residual block of four convolutions per level, 2 x 2 max-pooling between levels.
2. Style: global average of the deepest level, divided by its Euclidean norm.
3. Up: one residual block per level, fed with the level below (upsampled by two), the features of
   the way down (added) and the style (a learnt offset per channel, added before a convolution).
4. Output: a 1 x 1 convolution to Y flow, X flow and cell probability.

Cellpose 1 and 2 could train three variants, in any combination: blocks of two convolutions without
a residual, features of the way down concatenated instead of added, and no style (the offsets'
biases remain). Cellpose 3 has the standard network only.

Attribute names follow Cellpose because they are the keys in its weight files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

STYLE_WIDTH = 256  # what cellpose.core.run_net makes room for


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.05)


def _conv(n_in: int, n_out: int, size: int) -> nn.Sequential:
    """Batch normalisation, ReLU, convolution; their positions are part of the weights' keys."""
    conv = nn.Conv2d(n_in, n_out, size, padding=size // 2)
    return nn.Sequential(_norm(n_in), nn.ReLU(inplace=True), conv)


def _project(n_in: int, n_out: int) -> nn.Sequential:
    """Batch normalisation and a 1 x 1 convolution, to add a block's input to its output."""
    return nn.Sequential(_norm(n_in), nn.Conv2d(n_in, n_out, 1))


def _convs(n_in: int, n_out: int, size: int, count: int) -> nn.Sequential:
    convs = nn.Sequential()
    for index in range(count):
        convs.add_module(f"conv_{index}", _conv(n_out if index else n_in, n_out, size))
    return convs


class _StyledConv(nn.Module):
    def __init__(self, n_in: int, n_out: int, style: int, size: int) -> None:
        super().__init__()
        self.conv = _conv(n_in, n_out, size)
        self.full = nn.Linear(style, n_in)

    def forward(self, style: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x + self.full(style)[:, :, None, None])
        return out


class _Down(nn.Module):
    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.conv = _convs(n_in, n_out, size, 4)
        self.proj = _project(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x) + self.conv[1](self.conv[0](x))
        out: Tensor = x + self.conv[3](self.conv[2](x))
        return out


class _PlainDown(nn.Module):
    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.conv = _convs(n_in, n_out, size, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class _PlainUp(nn.Module):
    """Two convolutions; ``twice`` concatenates the features of the way down."""

    def __init__(self, n_in: int, n_out: int, style: int, size: int, *, twice: bool) -> None:
        super().__init__()
        self.twice = twice
        self.conv = _convs(n_in, n_out, size, 1)
        joined = 2 * n_out if twice else n_out
        self.conv.add_module("conv_1", _StyledConv(joined, n_out, style, size))

    def _first(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        x = self.conv[0](x)
        x = torch.cat((skip, x), dim=1) if self.twice else x + skip
        out: Tensor = self.conv[1](style, x)
        return out

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        return self._first(x, skip, style)


class _Up(_PlainUp):
    """Two more convolutions, and what is added to each pair of them."""

    def __init__(self, n_in: int, n_out: int, style: int, size: int, *, twice: bool) -> None:
        super().__init__(n_in, n_out, style, size, twice=twice)
        for index in (2, 3):
            self.conv.add_module(f"conv_{index}", _StyledConv(n_out, n_out, style, size))
        self.proj = _project(n_in, n_out)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        x = self.proj(x) + self._first(x, skip, style)
        out: Tensor = x + self.conv[3](style, self.conv[2](style, x))
        return out


class _Encoder(nn.Module):
    def __init__(self, widths: Sequence[int], size: int, *, residual: bool) -> None:
        super().__init__()
        self.down = nn.Sequential()
        name, block = ("res_down", _Down) if residual else ("conv_down", _PlainDown)
        for level in range(len(widths) - 1):
            self.down.add_module(f"{name}_{level}", block(widths[level], widths[level + 1], size))

    def forward(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            features.append(x)
        return features


class _Decoder(nn.Module):
    def __init__(self, widths: Sequence[int], size: int, *, residual: bool, twice: bool) -> None:
        super().__init__()
        self.up = nn.Sequential()
        name, block = ("res_up", _Up) if residual else ("conv_up", _PlainUp)
        for level in range(len(widths) - 1):
            n_in, n_out = widths[level + 1], widths[level]
            self.up.add_module(f"{name}_{level}", block(n_in, n_out, widths[-1], size, twice=twice))

    def forward(self, style: Tensor, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for level in reversed(range(len(self.up))):
            x = self.up[level](x, features[level], style)
            if level:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class UNet(nn.Module):
    """U-Net with a style vector.

    Parameters
    ----------
    widths
        Channels of the input, then of each level: Cellpose's ``nbase``. The standard Cellpose
        network is ``(2, 32, 64, 128, 256)``.
    outputs
        Output channels; 3 for Y flow, X flow, cell probability.
    size
        Edge of the convolution kernels.
    residual
        False for blocks of two convolutions without a residual.
    concatenation
        True concatenates the features of the way down instead of adding them.
    style_on
        False ignores the style, as some networks of Cellpose 1 and 2 were trained.
    diameter
        Mean diameter in pixels of the objects the network is made for.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        outputs: int = 3,
        size: int = 3,
        residual: bool = True,
        concatenation: bool = False,
        style_on: bool = True,
        diameter: float = 30.0,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.style_on = style_on
        up = (*self.widths[1:], self.widths[-1])
        self.downsample = _Encoder(self.widths, size, residual=residual)
        self.upsample = _Decoder(up, size, residual=residual, twice=concatenation)
        self.output = _conv(self.widths[1], outputs, 1)
        self.diam_mean = nn.Parameter(torch.full((1,), diameter), requires_grad=False)
        self.diam_labels = nn.Parameter(torch.full((1,), diameter), requires_grad=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.diam_mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.output[-1].weight.dtype  # type: ignore[return-value]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        x
            Tiles, shape (N, C, Y, X); Y and X multiples of 2 ** (levels - 1).

        Returns
        -------
        output
            Shape (N, 3, Y, X): 5 x Y flow, 5 x X flow, logit of the cell probability.
        style
            Shape (N, 256): the style, padded with zeros to Cellpose's width.
        """
        features = self.downsample(x)
        style = features[-1].mean(dim=(2, 3))
        style = style / torch.sum(style**2, dim=1, keepdim=True) ** 0.5
        used = style if self.style_on else torch.zeros_like(style)
        output: Tensor = self.output(self.upsample(used, features))
        missing = max(0, STYLE_WIDTH - style.shape[1])
        return output, functional.pad(style, (0, missing))
