"""Whether what a file holds is a checkpoint: names, types and shapes of all its parts.

A file that torch reads may be that of another program, or of another kind: what a training goes on
from must not be found wrong an hour later, and unfinished weights must not pass for finished ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from terapose.apps.train.resumed import is_record
from terapose.core.errors import InputError

Part = Callable[[Any], bool]
"""Whether a value will do for a part of a checkpoint; of one that is lacking the value is None."""


def check_parts(
    state: Mapping[str, Any], parts: Mapping[str, Part], *, where: Path, what: str, remedy: str
) -> None:
    """Refuse a file that lacks a part of a checkpoint, or has something else in its place.

    Parameters
    ----------
    state
        Content of the file.
    parts
        By its name, whether a part is as it should be.
    where
        The file.
    what, remedy
        What it should be, and what to give.

    Raises
    ------
    InputError
        Naming the first part that is not.
    """
    for name, is_good in parts.items():
        if not is_good(state.get(name)):
            raise InputError(
                f"not {what}",
                where=where,
                got="no such part, or none that can be used: " + name,
                remedy=remedy,
            )


def progress(state: Mapping[str, Any], epochs: int, *, bare: bool = False) -> dict[str, Part]:
    """Checks of how far a training is: its epoch, and a line for each so far.

    Parameters
    ----------
    state
        Content of the file.
    epochs
        Of the training.
    bare
        Whether there may be no lines in any case.
    """
    epoch: Any = state.get("epoch")

    def is_epoch(value: Any) -> bool:
        return _is_whole(value) and 0 <= value <= epochs

    def is_history(value: Any) -> bool:
        if not isinstance(value, list) or not all(map(_is_line, value)):
            return False
        numbers = [line["epoch"] for line in value]
        # what training starts from may be scored, too, as epoch 0
        return (bare and not numbers) or numbers in (
            list(range(1, epoch + 1)),
            list(range(epoch + 1)),
        )

    return {"epoch": is_epoch, "history": is_history}


def weights(like: Mapping[str, Tensor], *, optional: bool = False) -> Part:
    """A check for finite weights of the same names and shapes as others."""

    def is_weights(value: Any) -> bool:
        if value is None:
            return optional
        if not isinstance(value, dict) or value.keys() != like.keys():
            return False
        return all(
            is_tensor(value[name], own.shape) and value[name].dtype.is_floating_point
            if own.is_floating_point()
            else isinstance(value[name], Tensor) and value[name].dtype == own.dtype
            for name, own in like.items()
        )

    return is_weights


def is_tensor(value: Any, shape: Sequence[int]) -> bool:
    """Whether a value is a tensor of finite numbers in some shape."""
    is_one = isinstance(value, Tensor) and value.shape == torch.Size(shape)
    return is_one and bool(torch.isfinite(value).all())


def moments(sizes: Sequence[Sequence[int]]) -> Part:
    """A check for a state of AdamW over weights of some shapes."""

    def is_moment(value: Any, size: Sequence[int]) -> bool:
        return (
            isinstance(value, dict)
            and is_tensor(value.get("step"), ())
            and all(is_tensor(value.get(name), size) for name in ("exp_avg", "exp_avg_sq"))
        )

    def is_state(value: Any) -> bool:
        found = value.get("state") if isinstance(value, dict) else None
        return _is_numbered(found, sizes, is_moment)

    return is_state


def squares(sizes: Sequence[Sequence[int]]) -> Part:
    """A check for mean squares of gradients of weights of some shapes."""
    return lambda value: _is_numbered(value, sizes, is_tensor)


def records() -> dict[str, Part]:
    """Checks of what younger checkpoints say of data and command."""
    return {
        "data": lambda value: value is None or (isinstance(value, str) and is_record(value)),
        "command": lambda value: value is None or isinstance(value, str),
    }


def _is_numbered(
    value: Any, sizes: Sequence[Sequence[int]], is_good: Callable[[Any, Sequence[int]], bool]
) -> bool:
    """Whether there are some by the numbers of weights: of those that were used so far."""
    if not isinstance(value, dict) or not value.keys() <= set(range(len(sizes))):
        return False
    return all(is_good(one, sizes[number]) for number, one in value.items())


def _is_line(value: Any) -> bool:
    """Whether a value is a line of a history."""
    if not isinstance(value, dict) or "epoch" not in value:
        return False
    if "ap50" in value and "held_out_loss" not in value:
        return False
    if not all(isinstance(n, str) and isinstance(v, int | float) for n, v in value.items()):
        return False
    return all(math.isfinite(value.get(name, 0)) for name in ("loss", "held_out_loss", "ap50"))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
