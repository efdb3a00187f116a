"""The largest resident memory of this process, task by task.

The kernel keeps one figure a process, and it only grows (VmHWM). A process that does one task after
another has to reset it before each, or every task reports the largest before it. A reset leaves
what the process holds at that moment, such as libraries it has loaded.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_PEAK = "5"
"""Written there, it resets the peak (proc(5))."""
_SLACK = 32 * 1024**2
"""What other threads may take and give back between two figures of the kernel, in bytes."""


def forget_peak() -> bool:
    """Let the peak begin again; False where the system has no way to do so.

    Some kernels take the request and do nothing, so it is checked: right after a reset the peak
    is what the process holds.
    """
    try:
        _RESET.write_text(_PEAK, encoding="ascii")
    except OSError:
        return False
    figures = _figures()
    return figures["VmHWM"] <= figures["VmRSS"] + _SLACK


def peak_memory() -> int:
    """Largest resident memory of this process since `forget_peak`, in bytes."""
    if _STATUS.exists():
        # not getrusage: its figure starts at what the parent process had
        return _figures()["VmHWM"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _figures() -> dict[str, int]:
    """Peak (VmHWM) and present (VmRSS) resident memory of this process as Linux shows them."""
    lines = (line.partition(":") for line in _STATUS.read_text().splitlines())
    return {
        name: int(size.split()[0]) * 1024 for name, _, size in lines if name in ("VmHWM", "VmRSS")
    }
