"""Refuses datasets of an N5 container that are no image together."""

from __future__ import annotations

import os
from collections.abc import Sequence

from terapose.core.errors import InputError, few
from terapose.io.images.n5_blocks import Dataset


def check_alike(address: str, datasets: Sequence[Dataset]) -> None:
    """Refuse channels or time points of different shapes or types."""
    first = datasets[0]
    for one in datasets[1:]:
        if (one.shape, one.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{os.path.relpath(one.path, address)} has another shape or type than "
                f"{os.path.relpath(first.path, address)}",
                where=address,
                got=f"{one.shape} {one.dtype} and {first.shape} {first.dtype}",
                remedy="name one of them",
            )


def check_levels(address: str, levels: Sequence[Dataset]) -> None:
    """Refuse levels of a pyramid that have different numbers of axes."""
    odd = next((one for one in levels if len(one.shape) != len(levels[0].shape)), None)
    if odd is not None:
        raise InputError(
            f"{os.path.relpath(odd.path, address)} has another number of axes than level 0",
            where=address,
            got=f"{odd.shape} and {levels[0].shape}",
            remedy="name one of them",
        )


def check_counted(place: str, prefix: str, names: Sequence[str]) -> None:
    """Refuse channels of which one is missing: those behind it would have other numbers."""
    numbers = [int(name[len(prefix) :]) for name in names]
    counted = enumerate(numbers, min(numbers[0], 1))
    missing = next((n for n, number in counted if number != n), None)
    if missing is not None:
        raise InputError(
            "channels of the image are missing",
            where=place,
            got=f"no {prefix}{missing}, but {few(names, 12)}",
            remedy="copy the whole image, or name a single channel",
        )
