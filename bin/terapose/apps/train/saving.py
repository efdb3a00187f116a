"""What a training writes besides its picture and card: the weights, and a checkpoint until it ends.

Files are replaced in one piece: a killed run leaves the old file or the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from terapose.core.errors import InputError, pass_on
from terapose.io import files
from terapose.networks.weights import beside
from terapose.results.named_files import refuse_results

_BESIDE = (".checkpoint", ".md", ".png")
_UNREADABLE = (OSError, EOFError, KeyError, TypeError, RuntimeError, ValueError, UnpicklingError)


def write(state: Mapping[str, Any], path: Path) -> None:
    """torch.save in one piece."""
    with files.written(path, "weights") as partial:
        torch.save(state, partial)


def read(path: Path, *, what: str, remedy: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content of a file of :func:`write`, and the settings in it.

    Raises
    ------
    InputError
        It cannot be read, or holds no settings; the message says ``what`` it should be.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state, json.loads(state["settings"])
    except _UNREADABLE as error:
        pass_on(error)
        raise InputError(f"not {what}", where=path, remedy=remedy) from error


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the weights alone, under Cellpose's names, contiguous and on the CPU."""
    write({name: value.detach().cpu().contiguous() for name, value in state.items()}, path)


def checkpoint_of(output: Path) -> Path:
    """Path of the checkpoint of a training that writes ``output``."""
    return beside(output, ".checkpoint")


def check_output(output: Path, init: Path | None) -> None:
    """Refuse an output that meets another file of the training, or cannot be written.

    Raises
    ------
    InputError
        The name or the folder will not do.
    """
    if output.suffix in _BESIDE:
        raise InputError(
            "files with this ending are written beside the weights",
            where=output,
            allowed="another ending, as in cells.pth",
        )
    if init is not None and output.resolve() == init.resolve():
        raise InputError(
            "the file to start from cannot be the output", where=output, remedy="name another"
        )
    refuse_results([output])
    if not os.access(output.parent, os.W_OK):
        raise InputError("the folder cannot be written to", where=output.parent.resolve())


def check_free(output: Path, *, overwrite: bool) -> None:
    """Make sure that no earlier training is lost that was not given up.

    With ``overwrite`` it stays where it is until there are new weights: many a training ends before
    that, for example because its data cannot be read.

    Raises
    ------
    InputError
        There is one, or a file beside it would be replaced, and ``overwrite`` was not asked for.
    """
    training = [path for path in (checkpoint_of(output), output) if path.exists()]
    others = [path for end in _BESIDE if (path := beside(output, end)).exists()]
    present = list(dict.fromkeys([*training, *others]))
    if others and not training and not overwrite:
        raise InputError(
            "would be replaced by what a training writes beside its weights",
            where=others[0],
            remedy="give --overwrite, or another --output",
        )
    if present and not overwrite:
        raise InputError(
            "a training already exists here",
            where=present[0],
            remedy="give --resume to continue it, --overwrite, or another --output",
        )


def remove_beside(output: Path) -> None:
    """Remove what an earlier training left beside its weights, once they were replaced."""
    for end in _BESIDE:
        beside(output, end).unlink(missing_ok=True)
