"""Weight files: what network is in them, without running it and without torch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terapose.errors import InputError
from terapose.networks.outline import Array, outline
from terapose.networks.weights import sha256, shipped

ALLOWED = "a network of Cellpose 1 to 3 or of terapose train, or one of Cellpose 4"
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
        As its model card states it (beside it, same name, ``.md``); None without a card.
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
    family, backbone, channels, tile, diameter = _describe(_outline(path), path)
    digest = sha256(path)
    return ModelInfo(
        path=path,
        family=family,
        backbone=backbone,
        digest=digest,
        size=path.stat().st_size,
        channels=channels,
        tile=tile,
        diam_mean=diameter,
        licence=_licence(_card(path, digest)),
    )


def unet_shape(arrays: Mapping[str, Any]) -> tuple[tuple[int, ...], int, int]:
    """Architecture of a U-Net, from the shapes of its weights by name.

    Returns
    -------
    widths, outputs, size
        As :class:`terapose.networks.unet.UNet` takes them.
    """
    first = arrays[_UNET_KEY].shape
    widths = [first[1], first[0]]
    while (key := f"downsample.down.res_down_{len(widths) - 1}.proj.1.weight") in arrays:
        widths.append(arrays[key].shape[0])
    return tuple(widths), arrays["output.2.weight"].shape[0], first[2]


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
            "no model file here",
            where=path,
            remedy="give the path or URL of a model, or nuclei-small for the shipped one",
        )
    try:
        arrays = outline(path) if zipfile.is_zipfile(path) else _old_outline(path)
    except (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, ValueError, EOFError) as error:
        raise damaged(path) from error
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def _old_outline(path: Path) -> dict[str, Array]:
    """Arrays of a file written before torch 1.6, which only torch itself can read."""
    with path.open("rb") as file:
        if file.read(2) != b"\x80\x02":
            raise pickle.UnpicklingError("neither a zip archive nor a pickle")
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        raise pickle.UnpicklingError("damaged") from error
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise pickle.UnpicklingError("holds more than plain weights")
    single = {n: float(v) for n, v in state.items() if v.numel() == 1}
    return {name: Array(tuple(v.shape), single.get(name)) for name, v in state.items()}


def _describe(arrays: Mapping[str, Array], path: Path) -> tuple[str, str, int, int, float]:
    """Family, backbone, channels, tile and diameter."""
    if _UNET_KEY in arrays and "output.2.weight" in arrays:
        widths, outputs, _ = unet_shape(arrays)
        if outputs != 3:
            raise InputError(
                "the network does not predict flows and a cell probability",
                where=path,
                got=f"{outputs} outputs",
                allowed="3",
            )
        diameter = arrays["diam_mean"].value if "diam_mean" in arrays else None
        return "unet", "unet", widths[0], 224, diameter or 30.0
    if "W2" in arrays and "encoder.cls_token" in arrays:
        kinds = {1024: "dino_vitl", 768: "dino_vitb"}
        width = arrays["encoder.patch_embed.proj.weight"].shape[0]
        if width in kinds:
            return "cellpose4", kinds[width], 3, 384, 30.0
    elif "W2" in arrays and "encoder.patch_embed.proj.weight" in arrays:
        return "cellpose4", "sam_vitl", 3, 256, 30.0
    raise InputError(
        "the weights are of no network known here",
        where=path,
        got=f"{len(arrays)} arrays, first {next(iter(arrays), 'none')}",
        allowed=ALLOWED,
    )


def _card(path: Path, digest: str) -> Path:
    """The model card beside a file; a copy of the shipped network has that of the original."""
    beside = path.with_suffix(".md")
    original = shipped()
    if not beside.is_file() and original.is_file() and sha256(original) == digest:
        return original.with_suffix(".md")
    return beside


def _licence(card: Path) -> str | None:
    """The ``license:`` line in the front matter of a model card."""
    if not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8").splitlines():
        if line.startswith("license:"):
            return line.removeprefix("license:").strip()
    return None
