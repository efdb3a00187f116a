"""Weight files: what network is in them, without running it and without torch.

Names and shapes of the arrays say nearly everything. Three things only the file's name can say, as
Cellpose 1 and 2 wrote it: ``cellpose_residual_on_style_off_concatenation_off_...`` ignores the
style, ``unet3_residual_...`` predicts three classes, and ``nucleitorch_0`` to ``_3`` work at 17
pixels where they hold no diameter, others at 30. A renamed file is taken for the usual network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError, pass_on
from terapose.io.shipped import SHIPPED
from terapose.networks.outline import DAMAGED, Array, outline
from terapose.networks.weights import beside, sha256, shipped

_LICENCES = {"cellpose4": "CC-BY-NC-4.0"}
ALLOWED = "a network of Cellpose 1 to 3 or of terapose train, or one of Cellpose 4"
_DIAMETERS = (1.0, 10_000.0)
_FIRST = "downsample.down.{}_down_{}.conv.conv_0.2.weight"
_NO_STYLE = re.compile(r"cellpose_residual_(on|off)_style_off_concatenation_(on|off)")
_CLASSES = re.compile(r"unet\d_residual_(on|off)_")
_OLD_NUCLEI = re.compile(r"nucleitorch_[0-3]$")


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
        Bytes of the weights: of the file, or in the 32 bits that they are computed with, where the
        file holds them in half precision.
    channels
        Input channels.
    tile
        Edge of the tiles in pixels.
    diam_mean
        Object diameter in pixels at which it works.
    style_on
        False for a U-Net that was trained to ignore the style.
    licence
        As its model card states it (beside it, same name, ``.md``). Without a card that of
        Cellpose-SAM's weights for a network of Cellpose 4, which is one of them or was made from
        one; None for others.
    members
        Where several networks are averaged, what each of them is; () for a single one.
    """

    path: Path
    family: str
    backbone: str
    digest: str
    size: int
    channels: int
    tile: int
    diam_mean: float
    style_on: bool
    licence: str | None
    members: tuple[ModelInfo, ...] = ()


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
    arrays = _outline(path)
    family, backbone, channels, tile, diameter = _describe(arrays, path)
    digest = sha256(path)
    return ModelInfo(
        path=path,
        family=family,
        backbone=backbone,
        digest=digest,
        size=max(path.stat().st_size, 4 * sum(math.prod(a.shape) for a in arrays.values())),
        channels=channels,
        tile=tile,
        diam_mean=diameter,
        style_on=not _NO_STYLE.search(path.name),
        licence=_licence(_card(path, digest)) or _LICENCES.get(family),
    )


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


def damaged(path: Path) -> InputError:
    """The error for a file that cannot be read as weights."""
    return InputError(
        "not a torch weight file, or a damaged one",
        where=path,
        got=f"{path.stat().st_size} bytes",
        allowed=ALLOWED,
        remedy="fetch it again, with its digest: terapose fetch URL#sha256=...",
    )


def _outline(path: Path) -> dict[str, Array]:
    """Arrays by name, without the prefix that training on several GPUs leaves."""
    if not path.is_file():
        raise InputError(
            "there is no model file here",
            where=path,
            remedy="give the path or URL of a model, or auto for the shipped one",
        )
    try:
        arrays = outline(path)
    except PermissionError:
        raise
    except DAMAGED as error:
        pass_on(error)
        raise damaged(path) from error
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def _describe(arrays: Mapping[str, Array], path: Path) -> tuple[str, str, int, int, float]:
    """Family, backbone, channels, tile and diameter."""
    if any(_FIRST.format(kind, 0) in arrays for kind in ("res", "conv")) and (
        "output.2.weight" in arrays
    ):
        return "unet", "unet", _unet_channels(arrays, path), 224, _unet_diameter(arrays, path)
    if "W2" in arrays and "encoder.cls_token" in arrays:
        kinds = {1024: "dino_vitl", 768: "dino_vitb"}
        width = arrays["encoder.patch_embed.proj.weight"].shape[0]
        if width in kinds:
            return "cellpose4", kinds[width], 3, 384, 30.0
    elif "W2" in arrays and "encoder.patch_embed.proj.weight" in arrays:
        return "cellpose4", "sam_vitl", 3, 256, 30.0
    raise InputError(
        "the weights do not belong to a known network",
        where=path,
        got=f"{len(arrays)} arrays, first {next(iter(arrays), 'none')}",
        allowed=ALLOWED,
    )


def _unet_channels(arrays: Mapping[str, Array], path: Path) -> int:
    """Input channels of a U-Net that can be run here."""
    if (axes := len(arrays["output.2.weight"].shape) - 2) != 2:
        raise InputError(
            "the network is not for planes", where=path, got=f"{axes}D convolutions", allowed="2D"
        )
    shape = unet_shape(arrays)
    if shape.outputs != 3:
        raise InputError(
            "the network does not predict flows and a cell probability",
            where=path,
            got=f"{shape.outputs} outputs",
            allowed="3",
        )
    if _CLASSES.search(path.name):
        raise InputError(
            "the network predicts classes (a model of type unet), not flows and a cell probability",
            where=path,
            allowed=ALLOWED,
        )
    return shape.widths[0]


def _unet_diameter(arrays: Mapping[str, Array], path: Path) -> float:
    """Object diameter (px) at which a U-Net works; files of Cellpose 1 do not hold it."""
    value = arrays["diam_mean"].value if "diam_mean" in arrays else None
    if value and not _DIAMETERS[0] <= value <= _DIAMETERS[1]:
        raise InputError(
            "the network's diameter is implausible",
            where=path,
            got=f"diam_mean {value:g}",
            allowed=f"{_DIAMETERS[0]:g} to {_DIAMETERS[1]:g} pixels",
            remedy="fetch the file again, or train it again",
        )
    return value or (17.0 if _OLD_NUCLEI.search(path.name) else 30.0)


def _card(path: Path, digest: str) -> Path:
    """The model card beside a file; a copy of a shipped network has that of the original."""
    found = beside(path, ".md")
    if found.is_file():
        return found
    originals = (file for name in SHIPPED if (file := shipped(name)).is_file())
    same = (file.with_suffix(".md") for file in originals if sha256(file) == digest)
    return next(same, found)


def _licence(card: Path) -> str | None:
    """The ``license:`` line in the front matter of a model card."""
    if not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8").splitlines():
        if line.startswith("license:"):
            return line.removeprefix("license:").strip()
    return None
