"""Names and shapes of the arrays in a torch weight file, read without torch.

A file of ``torch.save`` is a zip archive: ``data.pkl`` describes the arrays, one member each holds
their bytes. The description is unpickled with everything forbidden that plain weights do not need,
so that reading a file from elsewhere runs none of its code.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Array:
    """An array in a weight file: its shape, and its value where it is a single float32."""

    shape: tuple[int, ...]
    value: float | None = None


def outline(path: Path) -> dict[str, Array]:
    """Arrays of a weight file by name.

    Raises
    ------
    zipfile.BadZipFile
        The file is no archive, or is cut short.
    pickle.UnpicklingError
        It holds more than plain weights.
    KeyError, ValueError, EOFError
        It is an archive of another kind, or damaged.
    """
    with zipfile.ZipFile(path) as archive:
        (listing,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        folder = listing.removesuffix("data.pkl") + "data/"

        def tensor(storage: tuple[str, str], offset: int, shape: tuple[int, ...], *_: Any) -> Array:
            kind, key = storage
            if kind != "FloatStorage" or shape not in ((), (1,)):
                return Array(tuple(shape))
            with archive.open(folder + key) as file:
                file.seek(4 * offset)
                return Array(tuple(shape), float(np.frombuffer(file.read(4), "<f4")[0]))

        state = _Reader(io.BytesIO(archive.read(listing)), tensor).load()
    if not isinstance(state, dict) or not all(isinstance(v, Array) for v in state.values()):
        raise pickle.UnpicklingError("holds more than plain weights")
    return dict(state)


class _Reader(pickle.Unpickler):
    """Unpickles a dictionary of tensors, each made by ``tensor`` from its description."""

    def __init__(self, file: io.BytesIO, tensor: Callable[..., Array]) -> None:
        super().__init__(file)
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Allow tensors and nothing else."""
        if module == "torch" and name.endswith("Storage"):
            return name
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"holds {module}.{name}, not plain weights")
        return self._known[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        """Kind and member name of a tensor's bytes."""
        _, kind, key, *_ = pid
        return kind, key
