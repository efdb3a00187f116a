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
_PEAK = "5"
"""Written there, it resets the peak (proc(5))."""


def forget_peak() -> bool:
    """Let the peak begin again; False where the system has no way to do so."""
    try:
        _RESET.write_text(_PEAK)
    except OSError:
        return False
    return True


def peak_memory() -> int:
    """Largest resident memory of this process since `forget_peak`, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # not getrusage: its figure starts at what the parent process had
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
