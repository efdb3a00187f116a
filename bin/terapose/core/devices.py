"""Which device a task uses. Apart from networks: it is asked where none is loaded, too."""

from __future__ import annotations


def turn_of(digest: str, task: int) -> int:
    """The turn of a task, by which GPUs are shared out.

    Those of neighbouring tasks differ, and so, mostly, do those of different plans: of small
    images each has a single task.

    Parameters
    ----------
    digest
        Of the plan: hexadecimal digits.
    task
        Number of the task.
    """
    return int(digest[:8], 16) + task


def device_for(kind: str, turn: int) -> str:
    """Which device of a kind a task uses: with several GPUs, those of successive turns differ.

    Parameters
    ----------
    kind
        "cpu" or "cuda".
    turn
        Of the task (`turn_of`).
    """
    count = how_many(kind)
    return f"{kind}:{turn % count}" if count > 1 else kind


def how_many(kind: str) -> int:
    """How many devices of a kind there are, not counting processors."""
    import torch  # slow, and only what works on a device needs it

    return torch.cuda.device_count() if kind == "cuda" else 0
