"""Whether a machine has the driver of a GPU, which is known long before PyTorch is imported."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from terapose.core.errors import InputError

AMD = Path("/dev/kfd")
"""What AMD's driver makes; PyTorch calls GPUs of either maker "cuda"."""


def confirm_driver() -> None:
    """Confirm that there can be a GPU. Whether networks can run on it, PyTorch has to say.

    Raises
    ------
    InputError
        If no GPU driver is installed.
    """
    if not _has_driver():
        raise InputError(
            "this device is not available",
            where="device",
            got="cuda (no GPU driver is installed)",
            remedy="run without use_gpu, or on a machine with a GPU",
        )


def _has_driver() -> bool:
    if sys.platform != "linux" or AMD.exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
