"""One step of the training of a U-Net: forward, backward, AdamW, moving average.

On a processor it is run as written. On a GPU the small kernels of such a network take less time
than Python needs to launch them (52 ms a step of 64 crops on an H100). So there

1. the first steps are run on a stream of their own, as capturing asks for;
2. the next is captured as one CUDA graph, which all others replay on the same tensors (26 ms);
3. in long trainings the network is compiled first, where there is a compiler: batch normalisation,
   ReLU and sums become one kernel (13 ms, after a minute).

What changes from step to step (learning rate, share of the average) is a tensor on the GPU.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.utils._triton import has_triton

from terapose.networks.unet import UNet

WARM = 4
"""Steps before the capture; PyTorch asks for three and more."""
COMPILED = 4000
"""Steps from which on compiling is worth its time."""


def loss_of(output: Tensor, target: Tensor, flow_weight: float = 1.0) -> Tensor:
    """Half the mean squared error on 5 x flow plus cross entropy on the object mask.

    Source: ``cellpose.train._loss_fn_seg``, with a weight of 1 for the flows.
    """
    flows = functional.mse_loss(output[:, :2], 5.0 * target[:, :2])
    mask = functional.binary_cross_entropy_with_logits(output[:, 2], target[:, 2])
    return 0.5 * flow_weight * flows + mask


def optimiser_of(network: UNet, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW over the weights that are learnt; on a GPU one that can be captured."""
    on_gpu = network.device.type == "cuda"
    return torch.optim.AdamW(
        [weight for weight in network.parameters() if weight.requires_grad],
        lr=rate,
        weight_decay=decay,
        fused=on_gpu,
        capturable=on_gpu,
    )


def sizes_of(optimiser: torch.optim.AdamW) -> list[torch.Size]:
    """Shapes of the weights that are learnt, in their order."""
    return [weight.shape for group in optimiser.param_groups for weight in group["params"]]


def load_state(optimiser: torch.optim.AdamW, state: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Give an optimiser what it recorded of each weight; its own rates and options stay."""
    whole: dict[str, Any] = optimiser.state_dict()
    optimiser.load_state_dict({**whole, "state": state})


class Step:
    """Runs steps of a training.

    Parameters
    ----------
    network, averaged
        What is trained, and the moving average of the weights where there is one.
    optimiser
        Of :func:`optimiser_of`; restored before the first step, if it is.
    flow_weight
        See :func:`loss_of`.
    low
        Whether convolutions are run in bfloat16.
    steps
        How many will be run: whether compiling is worth its time.
    """

    def __init__(
        self,
        network: UNet,
        averaged: UNet | None,
        optimiser: torch.optim.AdamW,
        *,
        flow_weight: float,
        low: bool,
        steps: int,
    ) -> None:
        self._network = network
        self._optimiser = optimiser
        self._flow_weight = flow_weight
        self._low = low
        self._done = 0
        self._replay: Callable[[], None] | None = None
        self._pairs = [] if averaged is None else _pairs(averaged, network)
        self._forward: Callable[[Tensor], tuple[Tensor, Tensor]] = network
        if network.device.type == "cuda":
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            if steps >= COMPILED and has_triton() and shutil.which("cc"):
                compiled: Any = torch.compile(network)
                self._forward = compiled

    def loss(self, images: Tensor, targets: Tensor, network: UNet | None = None) -> Tensor:
        """The loss of a batch, of the network that is trained or of another."""
        device = self._network.device
        images = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        targets = targets.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._low):
            output, _ = (network or self._forward)(images)
        return loss_of(output.float(), targets, self._flow_weight)

    def __call__(self, images: Tensor, targets: Tensor, *, rate: float, share: float) -> Tensor:
        """Run a step; returns its loss, on the network's device.

        Parameters
        ----------
        images, targets
            The batch, on the processor.
        rate
            Learning rate.
        share
            Of the weights in their moving average.
        """
        if self._network.device.type != "cuda":
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            return self._run(images, targets, share)
        return self._on_gpu(images, targets, rate, share)

    def _run(self, images: Tensor, targets: Tensor, share: float | Tensor) -> Tensor:
        loss = self.loss(images, targets)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        _blend(self._pairs, share)
        return loss.detach()

    def _on_gpu(self, images: Tensor, targets: Tensor, rate: float, share: float) -> Tensor:
        if self._done == 0:
            self._images = torch.empty_like(images, device="cuda")
            self._targets = torch.empty_like(targets, device="cuda")
            self._rate, self._share = (torch.zeros((), device="cuda") for _ in range(2))
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate
        self._images.copy_(images, non_blocking=True)
        self._targets.copy_(targets, non_blocking=True)
        self._rate.fill_(rate)
        self._share.fill_(share)
        self._done += 1
        if self._done <= WARM:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._run(self._images, self._targets, self._share)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss.clone()
        if self._replay is None:
            graph = torch.cuda.CUDAGraph()
            # not global: the thread that pins batches would break the capture
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._loss = self._run(self._images, self._targets, self._share)
            self._replay = graph.replay
        self._replay()
        return self._loss.clone()


def _pairs(averaged: UNet, network: UNet) -> list[tuple[Tensor, Tensor]]:
    states = (averaged.state_dict(), network.state_dict())
    return list(zip(*(state.values() for state in states), strict=True))


@torch.no_grad()
def _blend(pairs: list[tuple[Tensor, Tensor]], share: float | Tensor) -> None:
    """Move the average towards the weights by a share of the way."""
    if not pairs:
        return
    real = [pair for pair in pairs if pair[0].is_floating_point()]
    ours, theirs = ([pair[n] for pair in real] for n in (0, 1))
    if isinstance(share, Tensor):
        way = torch._foreach_sub(theirs, ours)
        torch._foreach_mul_(way, share)
        torch._foreach_add_(ours, way)
    else:
        torch._foreach_lerp_(ours, theirs, share)
    for mine, other in pairs:
        if not mine.is_floating_point():
            mine.copy_(other)
