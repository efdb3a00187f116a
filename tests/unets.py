"""Small U-Nets with random weights, for the tests of networks and weight files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terapose.networks.unet import UNet

WIDTHS = (2, 8, 12, 16)
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


def tiles(count: int, channels: int, edge: int = 64) -> NDArray[np.float32]:
    """Random normalised tiles, shape (count, channels, edge, edge)."""
    rng = np.random.default_rng(3)
    return rng.random((count, channels, edge, edge), np.float32) * 2 - 0.3


def save(state: State, path: Path) -> Path:
    """Write weights; returns the path."""
    torch.save(state, path)
    return path
