"""Weight files: what is in them, without running them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from terapose.errors import InputError
from terapose.networks.unet import shape_of
from terapose.networks.weights import sha256

_ALLOWED = "a network of Cellpose 1 to 3 or of terapose train, or one of Cellpose 4"
_UNET_KEY = "downsample.down.res_down_0.conv.conv_0.2.weight"


@dataclass(frozen=True)
class ModelInfo:
    """A weight file at a glance.

    Attributes
    ----------
    path
        Where it is.
    family
        "unet" or "cellpose4".
    backbone
        "unet", "sam_vitl", "dino_vitl" or "dino_vitb".
    digest
        SHA-256 of the file, hexadecimal.
    size
        Bytes.
    channels
        Input channels.
    tile
        Edge in pixels of its tiles.
    diam_mean
        Object diameter in pixels at which it works.
    licence
        As the model card beside it (same name, ``.md``) states it; None without a card.
    """

    path: Path
    family: str
    backbone: str
    digest: str
    size: int
    channels: int
    tile: int
    diam_mean: float
    licence: str | None


def read_state(path: Path) -> dict[str, Tensor]:
    """Weights of a torch file by name, mapped into memory where its format allows.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds no network.
    """
    if not path.is_file():
        raise InputError(
            "no model file here",
            where=path,
            remedy="give the path or URL of a model, or nuclei-small for the shipped one",
        )
    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files older than torch 1.6 are no archives and cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            "not a torch weight file, or a damaged one",
            where=path,
            got=f"{path.stat().st_size} bytes",
            allowed=_ALLOWED,
            remedy="fetch it again, with its digest: terapose fetch URL#sha256=...",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError("a torch file without plain weights", where=path, allowed=_ALLOWED)
    # Networks trained on several GPUs carry a prefix in all their names.
    return {name.removeprefix("module."): value for name, value in state.items()}


def identify(path: str | Path) -> ModelInfo:
    """Find out what a weight file is, without running it.

    Parameters
    ----------
    path
        Local file.

    Raises
    ------
    InputError
        The file is missing, damaged, or of a network Terapose cannot run.
    """
    path = Path(path)
    state = read_state(path)
    family, backbone, channels, tile, diameter = _describe(state, path)
    return ModelInfo(
        path=path,
        family=family,
        backbone=backbone,
        digest=sha256(path),
        size=path.stat().st_size,
        channels=channels,
        tile=tile,
        diam_mean=diameter,
        licence=_licence(path.with_suffix(".md")),
    )


def _describe(state: Mapping[str, Tensor], path: Path) -> tuple[str, str, int, int, float]:
    """Family, backbone, channels, tile and diameter."""
    if _UNET_KEY in state and "output.2.weight" in state:
        widths, outputs, _ = shape_of(state)
        if outputs != 3:
            raise InputError(
                "the network does not predict flows and a cell probability",
                where=path,
                got=f"{outputs} outputs",
                allowed="3",
            )
        diameter = float(state["diam_mean"]) if "diam_mean" in state else 30.0
        return "unet", "unet", widths[0], 224, diameter
    if "W2" in state and "encoder.cls_token" in state:
        kinds = {1024: "dino_vitl", 768: "dino_vitb"}
        width = state["encoder.patch_embed.proj.weight"].shape[0]
        if width in kinds:
            return "cellpose4", kinds[width], 3, 384, 30.0
    elif "W2" in state and "encoder.patch_embed.proj.weight" in state:
        return "cellpose4", "sam_vitl", 3, 256, 30.0
    raise InputError(
        "the weights are of no network known here",
        where=path,
        got=f"{len(state)} arrays, first {next(iter(state), 'none')}",
        allowed=_ALLOWED,
    )


def _licence(card: Path) -> str | None:
    """The ``license:`` line in the front matter of a model card."""
    if not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8").splitlines():
        if line.startswith("license:"):
            return line.removeprefix("license:").strip()
    return None
