"""Whether something can be learnt from data that were read: cells, contrast, copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from terapose.apps.train.data import Item
from terapose.core.errors import InputError, few

log = logging.getLogger(__name__)

_NAMED = 3


def check_cells(items: Sequence[Item], files: int, folders: Sequence[Path]) -> None:
    """Refuse to train on labels without any cell: nothing would be found by the network.

    Parameters
    ----------
    items
        To train on.
    files
        Number of label images that they were made from.
    folders
        With the data.

    Raises
    ------
    InputError
        No item has a cell.
    """
    if any(item.labels.any() for item in items):
        return
    raise InputError(
        f"no cell in any of {files} label images" if files > 1 else "no cell in the label image",
        where=few([str(folder) for folder in folders], _NAMED),
        got="background (0) alone",
        allowed="a different number above 0 for each cell",
        remedy="check that these are the labels, and that the cells were saved in them",
    )


def warn_of_data(training: Sequence[Item], held_out: Sequence[Item]) -> None:
    """Warn of data that make a network, or its scores, worth little.

    Parameters
    ----------
    training, held_out
        Items to learn from and to validate on.
    """
    if not any(item.image.any() for item in training):
        log.warning("all images to train on are constant: nothing in them shows where cells are")
    if held_out and not any(item.labels.any() for item in held_out):
        log.warning(
            "no label image that is held out has a cell: all scores will be 0; hold out others"
        )
    copies = _copies(training, held_out)
    if copies:
        log.warning(
            "the same image and labels are trained on and held out, so scores will be too high: "
            "%s; exclude one of each",
            few(copies, _NAMED),
        )


def _copies(training: Sequence[Item], held_out: Sequence[Item]) -> list[str]:
    """Names, with the number of the folder, of files that are in both parts."""
    known = {item.digest: _named(item) for item in training if item.digest}
    both = (item for item in held_out if item.digest in known)
    return list(dict.fromkeys(f"{known[item.digest]} and {_named(item)}" for item in both))


def _named(item: Item) -> str:
    """File of an item: of a plane its volume's."""
    return f"{item.file or item.name} (folder {item.source + 1})"
