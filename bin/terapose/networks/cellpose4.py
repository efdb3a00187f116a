"""Networks of Cellpose 4, built by the ``cellpose`` package itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from terapose.core.errors import InputError
from terapose.networks.attention import fuse
from terapose.networks.base import fill


def build(backbone: str, state: Mapping[str, Tensor], dtype: torch.dtype, path: Path) -> nn.Module:
    """Make the network and fill in its weights.

    Parameters
    ----------
    backbone
        "sam_vitl", "dino_vitl" or "dino_vitb".
    state
        Weights by name, float32.
    dtype
        Precision to run in.
    path
        Where the weights came from, for messages.

    Raises
    ------
    InputError
        A package is missing, or the weights do not fit.
    """
    try:
        from cellpose import vit
    except ImportError as error:
        raise InputError(
            "a model of Cellpose 4 needs the package cellpose",
            where=path,
            remedy="pip install 'cellpose>=4.2'",
        ) from error
    if backbone == "sam_vitl":
        net: nn.Module = vit.CPSAM(dtype=dtype)
    elif hasattr(vit, "dinov3_vitl16"):
        net = vit.CPDINO(model_name=backbone.removeprefix("dino_"), dtype=dtype)
    else:
        raise InputError(
            "this model needs the package dinov3",
            where=path,
            remedy="install dinov3 as the documentation of Cellpose says, or use cpsam",
        )
    fill(net, state, path)
    if backbone == "sam_vitl":
        fuse(net)
    return net.to(dtype)
