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
from terapose.networks import on_device
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


class Small(Pointwise):
    """One with memory for some number of tiles at once."""

    def __init__(self, holds: int) -> None:
        super().__init__()
        self.holds = holds

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) > self.holds:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.parametrize(("holds", "found"), [(32, 32), (31, 16), (5, 4), (1, 1)])
def test_as_many_tiles_at_once_as_there_is_memory_for(
    holds: int, found: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    net, shape, region = network(32, Small(holds)), (300, 400), ((70, 200), (40, 390))
    assert fit(net, shape) == 32, "on a CPU there is nothing to find"
    monkeypatch.setattr(on_device, "BESIDE", ())
    (a, b), (c, d) = window(shape, region, tile=TILE, augment=True)
    assert fit(net, (b - a, d - c), shape=shape, region=region, augment=True) == found
    said = f"suffices for {found} tiles at once instead of 32"
    assert [said in one.message for one in caplog.records] == [True] * (found < 32)
    # the bits are those of this number from the first plane to the last
    stack = planes(2, 2, *shape)
    expected = run_on_device(network(found), stack)
    np.testing.assert_array_equal(run_on_device(net, stack), expected)
    # and it is found only once
    assert fit(net, shape) == found and len(caplog.records) == (found < 32)


def test_no_memory_for_a_single_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "BESIDE", ())
    net = network(4, Small(0))
    with pytest.raises(
        GPUMemoryError, match=r"allowed: memory for tiles of 64 x 64, 1 at once; .*use a larger GPU"
    ):
        fit(net, (70, 80))
    assert net.module.batch == 1


def test_float32_is_float32_whatever_was_imported() -> None:
    from cellpose import vit

    matmul = torch.backends.cuda.matmul
    assert vit.CPSAM
    with Tilewise(Pointwise(), 2).exact():
        assert not matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert matmul.allow_tf32
