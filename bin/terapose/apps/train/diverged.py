"""Whether a training has diverged: losses and weights that are no longer finite numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from terapose.core.errors import InputError


def diverged(where: str, got: str) -> InputError:
    """The error of a training that cannot go on."""
    return InputError(
        "the training has diverged",
        where=where,
        got=got,
        remedy="start again with a lower --rate",
    )


def check_losses(losses: NDArray[Any], steps: Sequence[int]) -> None:
    """Refuse losses that are not finite.

    Parameters
    ----------
    losses
        One for each step.
    steps
        Numbers of the steps, from 0.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    finite = np.isfinite(losses)
    if not finite.all():
        first = int(np.argmin(finite))
        raise diverged(f"step {steps[first] + 1}", f"loss {losses[first]}")


def check_held_out(loss: float, epoch: int) -> None:
    """Refuse a loss on held-out images that is not finite; epoch 0 is before the training.

    Raises
    ------
    InputError
        The training, or the network it starts from, is of no use.
    """
    if np.isfinite(loss):
        return
    if epoch:
        raise diverged(f"epoch {epoch}", f"loss {loss} on what is held out")
    raise InputError(
        "the network gives values that are not finite numbers",
        where="init",
        got=f"loss {loss} on what is held out",
        remedy="start from another network",
    )


def check_weights(networks: Iterable[nn.Module], step: int) -> None:
    """Refuse weights, or statistics of batches, that are not finite.

    Parameters
    ----------
    networks
        As they are after the step.
    step
        Its number, from 0.

    Raises
    ------
    InputError
        Some are not.
    """
    values = [value for network in networks for value in network.state_dict().values()]
    if not all(bool(torch.isfinite(value).all()) for value in values):
        raise diverged(f"step {step + 1}", "weights that are not finite numbers")
