"""Planes run where the network is, against the same planes cut and added up on the CPU.

The CPU is a device to torch, too. The network here computes each pixel by itself, so that its bits
do not depend on the batch on a CPU either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from terapose.core.errors import GPUMemoryError
from terapose.networks import base, loading, on_device
from terapose.networks.base import Network, Tilewise
from terapose.networks.on_device import BLANK, RUN, UNUSED, fates, fit, run_on_device
from terapose.networks.tiling import Layout, run_planes, window

TILE = 64


class Pointwise(nn.Module):
    """An output that depends on the pixel, on its place in the tile, and on the tile."""

    def __init__(self) -> None:
        super().__init__()
        place = torch.rand((3, TILE, TILE), generator=torch.Generator().manual_seed(0))
        self.place = nn.Parameter(place)
        self.tiles = 0

    @property
    def device(self) -> torch.device:
        return self.place.device

    @property
    def dtype(self) -> torch.dtype:
        return self.place.dtype

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.tiles += int(x.flatten(1).any(1).sum())
        return x[:, :1] * self.place + x.amax((1, 2, 3), keepdim=True), x[:, :1, 0, 0]


def network(batch: int, net: Pointwise | None = None) -> Network:
    """A network whose batches have some number of slots."""
    module = Tilewise(net or Pointwise(), batch)
    return Network("unet", "", TILE, 2, 30.0, "float32", module)


def planes(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Noise, with an empty corner in which whole tiles are zeros."""
    found = np.random.default_rng(seed).random(shape, np.float32)
    found[..., : shape[-2] // 2, : shape[-1] // 2] = 0
    return found


def assert_same(net: Network, stack: NDArray[np.float32], **how: Any) -> NDArray[np.float32]:
    """Both ways give the same bits."""
    expected = run_planes(net, stack, tile=TILE, batch_size=5, **how)
    found = run_on_device(net, stack, **how)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
    return found


@pytest.mark.parametrize("batch", [1, 3, 32])
@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 150, 200), (1, 2, 20, 30), (4, 2, 64, 300)])
def test_the_bits_are_those_of_the_cpu(shape: tuple[int, ...], augment: bool, batch: int) -> None:
    found = assert_same(network(batch), planes(*shape), augment=augment)
    assert found.std() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision(dtype: torch.dtype) -> None:
    assert_same(network(4, Pointwise().to(dtype)), planes(2, 2, 150, 200))


@pytest.mark.parametrize("skip_empty", [None, -0.5, 0.0, 0.3, 2.0])
def test_empty_tiles(skip_empty: float | None) -> None:
    net = network(4)
    stack = planes(3, 2, 200, 300)
    stack[1] = 0
    stack[2, 1, 199, 299] = 0.2
    assert_same(net, stack, skip_empty=skip_empty)


@pytest.mark.parametrize("seed", range(4))
def test_regions_and_what_is_wanted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(40, 400)), int(rng.integers(250, 500)))
    stack = planes(3, 2, *shape, seed=seed)
    (y0, y1), (x0, x1) = (sorted(rng.choice(n + 1, 2, replace=False)) for n in shape)
    region = ((int(y0), int(y1)), (int(x0), int(x1)))
    (a, b), (c, d) = window(shape, region, tile=TILE)
    wanted = rng.random((3, b - a, d - c)) > 0.9995
    wanted[1] = False
    seen = stack[..., a:b, c:d]
    whole = assert_same(network(3), stack)
    part = assert_same(network(3), seen, shape=shape, region=region)
    np.testing.assert_array_equal(part, whole[..., y0:y1, x0:x1])
    assert_same(network(3), seen, shape=shape, region=region, wanted=wanted)


def test_no_tile_runs_that_need_not() -> None:
    net = Pointwise()
    stack = planes(2, 2, 200, 300)
    needed = 0

    def counted(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal needed
        needed += int(tiles.any((1, 2, 3)).sum())
        return tiles.repeat(3, axis=1)[:, :3]

    run_planes(counted, stack, tile=TILE)
    run_on_device(network(4, net), stack)
    # slots that are left over in the last batch still hold tiles of the batch before
    assert needed <= net.tiles < needed + 4
    layout = Layout.of((200, 300), None, TILE, 0.1, augment=False)
    assert net.tiles < 2 * len(layout.corners)


def test_fates_follow_the_window() -> None:
    plane = np.zeros((1, 200, 200), np.float32)
    plane[0, 150, 150] = 0.5
    wanted = np.zeros((200, 200), bool)
    wanted[:, 60:] = True
    layout = Layout.of((200, 200), None, TILE, 0.1, augment=False)
    found = fates(plane, wanted, layout, None)
    assert set(found) == {RUN, BLANK, UNUSED}
    y, x = (150 + part.start for part in layout.source)
    assert all(
        (fate == RUN) == (row <= y < row + TILE and column <= x < column + TILE)
        for fate, (row, column) in zip(found, layout.corners, strict=True)
    )
    assert RUN not in fates(plane, wanted, layout, 0.5)


def test_planes_of_strided_memory() -> None:
    """Planes of the passes ZX and ZY are views of a volume."""
    stack = np.moveaxis(planes(2, 70, 5, 90), 2, 0)
    assert not stack.flags.c_contiguous
    assert_same(network(3), stack)


def _capture_fault() -> RuntimeError:
    """What the end of a capture says, after memory ran out within it."""
    fault = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    fault.__context__ = torch.cuda.OutOfMemoryError("CUDA out of memory")
    return fault


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the memory of devices."""
    monkeypatch.setattr(on_device, "_HELD", {})


OUT_OF_MEMORY = (
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    _capture_fault(),
)


class Small(Pointwise):
    """One with memory for some number of tiles at once: else it fails, or is silently another."""

    def __init__(self, holds: int, fault: Exception | None = OUT_OF_MEMORY[0]) -> None:
        super().__init__()
        self.holds = holds
        self.fault = fault
        self.refused = 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) > self.holds:
            self.refused += 1
            if self.fault:
                raise self.fault
        return super().forward(x)


@pytest.mark.parametrize(
    "fault", [*OUT_OF_MEMORY, None], ids=["torch", "cuDNN", "engine", "capture", "silent"]
)
@pytest.mark.parametrize(("holds", "found"), [(32, 32), (31, 16), (5, 4), (1, 1)])
def test_as_many_tiles_at_once_as_there_is_memory_for(
    holds: int,
    found: int,
    fault: Exception | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    little, shape, region = Small(holds, fault), (300, 400), ((70, 200), (40, 390))
    # without a fault: what CUDA counts, and cuDNN keeps to itself
    monkeypatch.setattr(base, "_refused", lambda _: 0 if fault else little.refused)
    net = network(32, little)
    fit(net, shape, region, augment=True)
    assert net.module.batch == found
    said = f"suffices for {found} tiles at once instead of 32"
    assert [said in one.message for one in caplog.records] == [True] * (found < 32)
    # the bits are those of this number from the first plane to the last
    stack = planes(2, 2, *shape)
    expected = run_on_device(network(found), stack)
    np.testing.assert_array_equal(run_on_device(net, stack), expected)
    # in this process there will be no more: cuDNN would not forget what it chose
    little.holds = 32
    again = network(32, little)
    fit(again, shape)
    assert again.module.batch == found


def test_no_memory_for_a_single_tile() -> None:
    net = network(4, Small(0))
    said = "allowed: memory for tiles of 64 x 64, 1 at once; .*use a larger GPU"
    with pytest.raises(GPUMemoryError, match=said):
        fit(net, (70, 80))
    assert net.module.batch == 1
    # nor what is found out only while the work goes on
    net = network(4, Small(3))
    with pytest.raises(GPUMemoryError, match="64 x 64, 4 at once"):
        run_on_device(net, planes(1, 2, 70, 80))


def test_a_network_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its weights nor what torch itself takes."""

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(nn.Module, "to", full)
    with pytest.raises(
        GPUMemoryError, match=r"^cuda:1: the GPU has .*; got CUDA error: out of memory; stop"
    ):
        loading._onto(Pointwise(), torch.device("cuda:1"))
    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(
        GPUMemoryError, match=r"^cuda: the GPU has .*; got CUDA error: out of memory; stop"
    ):
        loading.confirm_device("cuda")


def test_other_faults_are_not_taken_for_a_lack_of_memory() -> None:
    for fault in (RuntimeError("CUDA error: an illegal memory access"), ValueError("a shape")):
        with pytest.raises(type(fault), match=str(fault)):
            fit(network(4, Small(1, fault)), (70, 80))


def test_float32_is_float32_whatever_was_imported() -> None:
    from cellpose import vit

    matmul = torch.backends.cuda.matmul
    assert vit.CPSAM
    with Tilewise(Pointwise(), 2).exact():
        assert not matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert matmul.allow_tf32
