"""A batch of fixed size in the memory of a device, which a network is run on again and again.

1. A batch has slots. They are filled one by one, with copies on the device that also round to the
   network's precision; what is in a slot that was not filled does not matter, because no tile's
   result depends on the other slots (`terapose.networks.base`).
2. On an NVIDIA GPU the launches of the network's kernels are recorded once, as a CUDA graph, and
   replayed for each batch: launched from Python, small kernels take less time than their launches.
   The kernels are the same, and so are the bits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
"""(N, C, Y, X) to output, (N, 3, Y, X), and style, (N, S)."""

_ROUNDS = 3
"""Times a network is run before its kernels are recorded, for libraries to make their choices."""


class Batch:
    """Slots for tiles, and a network that is run on all of them.

    Parameters
    ----------
    run
        The network.
    like
        A tile as the network takes it, (C, Y, X): its shape, precision and device are those of the
        slots.
    size
        Number of slots.

    Attributes
    ----------
    tiles
        (size, C, Y, X): the slots.
    blank
        (3, Y, X) float32: the output for a tile of zeros.
    """

    def __init__(self, run: Network, like: Tensor, size: int) -> None:
        self.tiles = like.new_zeros((size, *like.shape))
        self._run = run
        self._graph: torch.cuda.CUDAGraph | None = None
        if like.device.type == "cuda":
            self._record()
        self.blank = self.run()[0][0].to(torch.float32, copy=True)

    def _record(self) -> None:
        """Record the launches of the network's kernels."""
        device = self.tiles.device
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_ROUNDS):
                self._run(self.tiles)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # other threads may ask for pinned memory meanwhile
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._results = self._run(self.tiles)

    def run(self) -> tuple[Tensor, Tensor]:
        """Run the network on what the slots hold.

        Returns
        -------
        output
            (size, 3, Y, X); the next run may overwrite it.
        style
            (size, S); likewise.
        """
        if self._graph is None:
            return self._run(self.tiles)
        self._graph.replay()
        return self._results
