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
    import torch  # slow, and only what works on a device needs it

    count = torch.cuda.device_count() if kind == "cuda" else 0
    return f"{kind}:{task % count}" if count > 1 else kind
