"""Which device a task uses. Apart from networks: it is asked where none is loaded, too."""

from __future__ import annotations


def device_for(kind: str, task: int) -> str:
    """Which device of a kind a task uses: with several GPUs, those of neighbouring tasks differ.

    Parameters
    ----------
    kind
        "cpu" or "cuda".
    task
        Number of the task.
    """
    count = how_many(kind)
    return f"{kind}:{task % count}" if count > 1 else kind


def how_many(kind: str) -> int:
    """How many devices of a kind there are, not counting processors."""
    import torch  # slow, and only what works on a device needs it

    return torch.cuda.device_count() if kind == "cuda" else 0
