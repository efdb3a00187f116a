"""What a training writes besides its picture and card: the weights, and a checkpoint until it ends.

Files are replaced in one piece: a killed run leaves the old file or the new one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from terapose.core.errors import InputError, pass_on
from terapose.io import files
from terapose.io.documents import parse_json
from terapose.networks.weights import beside
from terapose.results.named_files import check_files

_BESIDE = (".checkpoint", ".md", ".png")
_ROOM = "choose a folder you may write to, on a disk with space left"
_UNWRITTEN = ("iostream error", "unexpected pos", "PytorchStreamWriter")
"""Of torch's errors when a file cannot be written; they do not say why."""
_UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ValueError,
    UnpicklingError,
)


def write(state: Mapping[str, Any], path: Path) -> None:
    """torch.save in one piece."""
    # not by torch itself: where a disk is full, its error does not say so
    content = io.BytesIO()
    torch.save(state, content)
    with files.written(path, "weights") as partial:
        partial.write_bytes(content.getbuffer())


@contextmanager
def saved_by_torch(folder: Path) -> Iterator[None]:
    """Where another package writes weights by torch.save: say that they could not be written.

    Parameters
    ----------
    folder
        To which it writes.

    Raises
    ------
    InputError
        They could not be.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _UNWRITTEN):
            raise
        raise InputError(
            "the weights cannot be written",
            where=folder.resolve(),
            got=str(error).partition("\n")[0],
            remedy=_ROOM,
        ) from error


def read(path: Path, *, what: str, remedy: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content of a file of :func:`write`, and the settings in it.

    Raises
    ------
    InputError
        It cannot be read, or holds no settings; the message says ``what`` it should be.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        settings = parse_json(state["settings"]) if isinstance(state, dict) else None
        if not isinstance(settings, dict):
            raise TypeError("no settings")
        return state, settings
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
    check_files([output])
    try:
        # what is written beside it has longer names
        for path in (output, *(beside(output, end) for end in _BESIDE)):
            files.try_to_write(path)
    except OSError as error:
        raise InputError(
            "the file cannot be written",
            where=output.parent.resolve() / output.name,
            got=error.strerror or str(error),
            remedy=_ROOM,
        ) from error


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
            "a training run already exists here",
            where=present[0],
            remedy="give --resume to continue it, --overwrite, or another --output",
        )


def remove_beside(output: Path) -> None:
    """Remove what an earlier training left beside its weights, once they were replaced."""
    for end in _BESIDE:
        beside(output, end).unlink(missing_ok=True)
