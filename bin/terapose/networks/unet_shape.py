"""Architecture of a U-Net, from names and shapes of arrays, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_FIRST = "downsample.down.{}_down_{}.conv.conv_0.2.weight"
_KINDS = ("res", "conv")


def is_unet(arrays: Mapping[str, Any]) -> bool:
    """Whether weights, by name, are those of a U-Net of Cellpose 1 to 3."""
    firsts = [arrays[name] for kind in _KINDS if (name := _FIRST.format(kind, 0)) in arrays]
    # of volumes there are five axes
    return any(len(a.shape) >= 4 for a in firsts) and "output.2.weight" in arrays


@dataclass(frozen=True)
class UNetShape:
    """Architecture of a U-Net, as :class:`terapose.networks.unet.UNet` takes it.

    Attributes
    ----------
    widths
        Channels of the input, then of each level.
    outputs
        Output channels.
    size
        Edge of the convolution kernels.
    residual
        Whether its blocks are residual.
    concatenation
        Whether features of the way down are concatenated instead of added.
    """

    widths: tuple[int, ...]
    outputs: int
    size: int
    residual: bool
    concatenation: bool


def unet_shape(arrays: Mapping[str, Any]) -> UNetShape:
    """Architecture of a U-Net, from the shapes of the weights by name."""
    kind = "res" if _FIRST.format("res", 0) in arrays else "conv"
    first = arrays[_FIRST.format(kind, 0)].shape
    widths = [first[1]]
    while (key := _FIRST.format(kind, len(widths) - 1)) in arrays:
        widths.append(arrays[key].shape[0])
    # concatenation doubles what goes into this convolution, and so the style's offsets
    joined = arrays.get(f"upsample.up.{kind}_up_0.conv.conv_1.full.bias")
    return UNetShape(
        widths=tuple(widths),
        outputs=arrays["output.2.weight"].shape[0],
        size=first[2],
        residual=kind == "res",
        concatenation=joined is not None and joined.shape[0] == 2 * widths[1],
    )


def unet_arrays(shape: UNetShape) -> dict[str, tuple[int, ...]]:
    """Shapes by name of all weights of a U-Net (`terapose.networks.unet`) but its diameters."""
    kind, count = ("res", 4) if shape.residual else ("conv", 2)
    widths, style = shape.widths, shape.widths[-1]
    arrays = _conv("output", widths[1], shape.outputs, 1)
    for level, (n_in, n_out) in enumerate(pairwise(widths)):
        down = f"downsample.down.{kind}_down_{level}"
        for n in range(count):
            arrays |= _conv(f"{down}.conv.conv_{n}", n_out if n else n_in, n_out, shape.size)
        up, below = f"upsample.up.{kind}_up_{level}", widths[min(level + 2, len(widths) - 1)]
        arrays |= _conv(f"{up}.conv.conv_0", below, n_out, shape.size)
        for n in range(1, count):
            joined = 2 * n_out if shape.concatenation and n == 1 else n_out
            styled = f"{up}.conv.conv_{n}"
            arrays |= _conv(f"{styled}.conv", joined, n_out, shape.size)
            arrays |= {f"{styled}.full.weight": (joined, style), f"{styled}.full.bias": (joined,)}
        if shape.residual:
            arrays |= _conv(f"{down}.proj", n_in, n_out, 1, at=1)
            arrays |= _conv(f"{up}.proj", below, n_out, 1, at=1)
    return arrays


def _conv(
    name: str, n_in: int, n_out: int, size: int, *, at: int = 2
) -> dict[str, tuple[int, ...]]:
    """Weights of a batch normalisation and of the convolution at a position after it."""
    norm = ("weight", "bias", "running_mean", "running_var")
    return {
        **{f"{name}.0.{part}": (n_in,) for part in norm},
        f"{name}.0.num_batches_tracked": (),
        f"{name}.{at}.weight": (n_out, n_in, size, size),
        f"{name}.{at}.bias": (n_out,),
    }
