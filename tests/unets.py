"""Small U-Nets for tests: some with random weights, and one that finds cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terapose.networks.unet import UNet

WIDTHS = (2, 8, 12, 16)
STEEP, DARK = 6.0, 0.22
"""How steep flows are, and the brightness of a normalised image below which there is no cell."""
State = dict[str, Tensor]


def random_unet(widths: tuple[int, ...] = WIDTHS, **options: float) -> UNet:
    """A U-Net in which every weight and statistic matters."""
    torch.manual_seed(0)
    net = UNet(widths, **options)  # type: ignore[arg-type]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return net.eval()


def sam_outline(width: int, outputs: int) -> State:
    """The arrays by which a network of Cellpose 4 with SAM's encoder is known."""
    return {
        "encoder.patch_embed.proj.weight": torch.zeros(width, 3, 8, 8),
        "W2": torch.zeros(64 * outputs, outputs, 8, 8),
    }


def gradient_unet(diameter: float = 17.0) -> UNet:
    """A U-Net that finds bright cells on a dark ground, such as those of `tests.synthetic.nuclei`.

    Its weights are written down, not trained: every convolution smooths the image, flows are the
    gradient of that, and the logit of the probability is its brightness. So cells are told apart
    that are brightest in the middle. A tile takes a quarter of the time that it takes with the
    smallest network that is shipped.

    Parameters
    ----------
    diameter
        Mean diameter of cells in pixels that the weights state.
    """
    net = UNet((1, 5), diameter=diameter).eval()
    smooth, slope = torch.tensor([0.3, 0.4, 0.3]), torch.tensor([-1.0, 0.0, 1.0])
    state = net.state_dict()
    for name, weights in state.items():
        if weights.ndim > 1 or name.endswith(".bias"):
            weights.zero_()
        if weights.ndim == 4 and weights.shape[-1] == 3:
            weights[0, 0] = smooth[:, None] * smooth
    # brightness, and the slopes down and up of either axis; two residuals make four of all
    last = state["upsample.up.res_up_0.conv.conv_3.conv.2.weight"]
    last[0] = 0
    for sign, flow in ((1, 1), (-1, 2)):
        last[flow, 0] = sign * slope[:, None] * smooth
        last[flow + 2, 0] = sign * smooth[:, None] * slope
    rows = [[0, 1, -1, 0, 0], [0, 0, 0, 1, -1], [1, 0, 0, 0, 0]]
    state["output.2.weight"][:, :, 0, 0] = STEEP * torch.tensor(rows)
    state["output.2.bias"][2] = -STEEP * 4 * DARK
    return net


def tiles(count: int, channels: int, edge: int = 64) -> NDArray[np.float32]:
    """Random normalised tiles, shape (count, channels, edge, edge)."""
    rng = np.random.default_rng(3)
    return rng.random((count, channels, edge, edge), np.float32) * 2 - 0.3


def save(state: State, path: Path) -> Path:
    """Write weights; returns the path."""
    torch.save(state, path)
    return path
