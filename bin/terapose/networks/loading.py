"""From a weight file to a network that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from terapose.core.errors import InputError, pass_on
from terapose.networks import cellpose4
from terapose.networks.base import (
    BATCHES,
    Average,
    Network,
    Tilewise,
    fill,
    lacks_gpu_memory,
    too_little,
)
from terapose.networks.ensemble import identify_all
from terapose.networks.files import ModelInfo, damaged, identify
from terapose.networks.outline import DAMAGED
from terapose.networks.unet import UNet
from terapose.networks.unet_shape import unet_shape

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(path: str | Path, *, device: str = "cpu", precision: str = "auto") -> Network:
    """Load a network.

    Parameters
    ----------
    path
        Local weight file: Cellpose 1 to 3, ``terapose train``, or Cellpose 4.
    device
        "cpu", "cuda", "cuda:1".
    precision
        "float32", "bfloat16", or "auto": float32, but for Cellpose 4 on a GPU bfloat16, which is
        that library's own choice. On a CPU it rounds, and is fast only where the processor
        has instructions for it.

    Raises
    ------
    InputError
        The file, the device or the precision will not do.
    """
    return _load(identify(path), device, precision)


def load_all(paths: Sequence[Path], *, device: str = "cpu", precision: str = "auto") -> Network:
    """Load one network, or several as one whose output is the mean of theirs.

    Parameters
    ----------
    paths
        Local weight files, in the order in which outputs are added.
    device, precision
        See :func:`load`.

    Raises
    ------
    InputError
        As :func:`load`, or the networks do not do the same work.
    """
    info = identify_all(paths)
    if not info.members:
        return _load(info, device, precision)
    networks = [_load(member, device, precision) for member in info.members]
    average = Average([network.module.net for network in networks])
    return replace(
        networks[0], digest=info.digest, module=Tilewise(average, networks[0].module.batch)
    )


def _load(info: ModelInfo, device: str, precision: str) -> Network:
    """Load the network of one file."""
    state = _read(info.path)
    place = _device(device)
    if precision == "auto":
        low = info.family == "cellpose4" and place.type != "cpu"
        precision = "bfloat16" if low else "float32"
    if precision not in PRECISIONS:
        raise InputError(
            "unknown precision", got=precision, allowed=", ".join(("auto", *PRECISIONS))
        )
    net: nn.Module
    if info.family == "unet":
        net = UNet(**asdict(unet_shape(state)), style_on=info.style_on, diameter=info.diam_mean)
        fill(net, state, info.path)
        # Kernels for this memory layout are up to twice as fast on a CPU.
        net = net.to(PRECISIONS[precision]).to(memory_format=torch.channels_last)
    else:
        net = cellpose4.build(info.backbone, state, PRECISIONS[precision], info.path)
    return Network(
        family=info.family,
        digest=info.digest,
        tile=info.tile,
        channels=info.channels,
        diam_mean=info.diam_mean,
        precision=precision,
        module=Tilewise(_onto(net, place), BATCHES[info.family]),
    )


def _onto(net: nn.Module, device: torch.device) -> nn.Module:
    """Weights on a device."""
    try:
        return net.to(device)
    except RuntimeError as error:
        if not lacks_gpu_memory(error):
            raise
        raise too_little(device, error) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Weights by name, without the prefix that training on several GPUs leaves."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        pass_on(error)
        raise damaged(path) from error
    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise damaged(path)
    return {name.removeprefix("module."): value for name, value in state.items()}


def confirm_device(name: str) -> None:
    """Confirm that networks can run on a device.

    Parameters
    ----------
    name
        See :func:`load`.

    Raises
    ------
    InputError
        There is none, or torch has no kernels for it.
    """
    _device(name)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        # an old GPU can allocate memory, but has no kernels
        torch.zeros(1, device=device).add_(1)
    except (RuntimeError, AssertionError) as error:
        if lacks_gpu_memory(error):
            raise too_little(torch.device(name), error) from error
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise InputError(
            "this device is not available",
            where="device",
            got=f"{name} ({reason[0].rstrip('.')})",
            remedy="run without use_gpu, stop other programs that use the GPU, or install a torch "
            "built for it",
        ) from error
    return device
