"""Weight files: what network is in them, without running it and without torch.

Names and shapes of the arrays say nearly everything. Four things only the file's name can say, as
Cellpose 1 and 2 and Omnipose wrote it: ``cellpose_residual_on_style_off_concatenation_off_...``
ignores the style, ``unet3_residual_...`` predicts three classes, a name with ``omni`` predicts
distances in place of probabilities, and ``nucleitorch_0`` to ``_3`` work at 17 pixels where they
hold no diameter, others at 30. A renamed file is taken for the usual network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from terapose.core.errors import InputError, pass_on
from terapose.io.shipped import SHIPPED
from terapose.networks.outline import DAMAGED, Array, OtherContentError, outline
from terapose.networks.unet_shape import is_unet, unet_arrays, unet_shape
from terapose.networks.weights import beside, sha256, shipped

_LICENCES = {"cellpose4": "CC-BY-NC-4.0"}
UNSTATED = "unstated"
"""Licence of a network in a model card, where none was given."""
ALLOWED = "a network of Cellpose 1 to 3 or of terapose train, or one of Cellpose 4"
_ENDS_OF_CELLPOSE4 = ("encoder.patch_embed.proj.weight", "W2")
"""Its first convolution, (width, 3, Y, X), and its last, (N, outputs, Y, X)."""
_BACKBONES = {(1024, False): "sam_vitl", (1024, True): "dino_vitl", (768, True): "dino_vitb"}
"""Encoders of Cellpose 4, by their width and whether it is one of DINO."""
_DIAMETERS = (1.0, 10_000.0)
_STYLE_OFF = re.compile(r"cellpose_residual_(on|off)_style_off_concatenation_(on|off)")
_OTHERS = {
    "classes (a model of type unet)": re.compile(r"unet\d_residual_(on|off)_"),
    # as Omnipose itself knows them
    "distances (a model of Omnipose)": re.compile("omni", re.IGNORECASE),
}
"""What networks of the same arrays predict instead of flows and a cell probability, by name."""
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
        style_on=style_off(path) is None,
        licence=_licence(_card(path, digest)) or _LICENCES.get(family),
    )


def style_off(path: Path) -> str | None:
    """What of a file's name says that the network ignores the style, if it does."""
    found = _STYLE_OFF.search(path.name)
    return found and found.group()


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
    except OtherContentError as error:
        raise InputError(
            "the file holds more than the weights of a network",
            where=path,
            got=str(error),
            allowed=ALLOWED,
            remedy="save the network's state_dict() alone; of terapose train, give the .pth file",
        ) from error
    except DAMAGED as error:
        pass_on(error)
        raise damaged(path) from error
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def _describe(arrays: Mapping[str, Array], path: Path) -> tuple[str, str, int, int, float]:
    """Family, backbone, channels, tile and diameter."""
    if is_unet(arrays):
        return "unet", "unet", _unet_channels(arrays, path), 224, _unet_diameter(arrays, path)
    ends = [arrays[name].shape for name in _ENDS_OF_CELLPOSE4 if name in arrays]
    if [len(shape) for shape in ends] == [4, 4]:
        dino = "encoder.cls_token" in arrays
        if (backbone := _BACKBONES.get((ends[0][0], dino))) is not None:
            _check_outputs(ends[1][1], path)
            return "cellpose4", backbone, 3, 384 if dino else 256, 30.0
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
    _check_outputs(shape.outputs, path)
    for predicted, name in _OTHERS.items():
        if name.search(path.name):
            raise InputError(
                f"by its name, the network predicts {predicted}, not flows and a cell probability",
                where=path,
                allowed=ALLOWED,
                remedy="if the name is wrong, rename the file",
            )
    expected = unet_arrays(shape)
    if lost := [name for name in expected if name not in arrays]:
        raise lacking(path, lost)
    if any(arrays[name].shape != size for name, size in expected.items()):
        raise InputError("the weights do not fit their network", where=path)
    return shape.widths[0]


def lacking(path: Path, lost: Sequence[str]) -> InputError:
    """The error for a file without these weights."""
    return InputError(
        "the file lacks weights",
        where=path,
        got=f"{len(lost)} missing, first {lost[0]}",
        remedy="fetch the file again, or save the whole network",
    )


def _check_outputs(outputs: int, path: Path) -> None:
    """Two flows and a cell probability."""
    if outputs != 3:
        raise InputError(
            "the network does not predict flows and a cell probability",
            where=path,
            got=f"{outputs} outputs",
            allowed="3",
        )


def _unet_diameter(arrays: Mapping[str, Array], path: Path) -> float:
    """Object diameter (px) at which a U-Net works; files of Cellpose 1 do not hold it."""
    if "diam_mean" not in arrays:
        return 17.0 if _OLD_NUCLEI.search(path.name) else 30.0
    value = arrays["diam_mean"].value
    if value is None or not _DIAMETERS[0] <= value <= _DIAMETERS[1]:
        raise InputError(
            "the network's diameter is implausible",
            where=path,
            got="diam_mean " + ("of several numbers" if value is None else f"{value:g}"),
            allowed=f"{_DIAMETERS[0]:g} to {_DIAMETERS[1]:g} pixels",
            remedy="fetch the file again, or train it again",
        )
    return value


def _card(path: Path, digest: str) -> Path:
    """The model card beside a file; a copy of a shipped network has that of the original."""
    found = beside(path, ".md")
    if found.is_file():
        return found
    originals = (file for name in SHIPPED if (file := shipped(name)).is_file())
    same = (file.with_suffix(".md") for file in originals if sha256(file) == digest)
    return next(same, found)


def _licence(card: Path) -> str | None:
    """The ``license:`` line in the front matter of a model card; None if it names none."""
    if not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8").splitlines():
        if line.startswith("license:"):
            found = line.removeprefix("license:").strip()
            return None if found == UNSTATED else found
    return None
