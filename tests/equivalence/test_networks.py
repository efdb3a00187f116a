"""Networks: architecture, loading, running, determinism."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from benchmarks.compare_cellpose3 import LIMIT, SMALL, SMALL_SHAPE, Case, picture, seeded
from cellpose.core import run_net
from numpy.typing import NDArray
from tests.synthetic import write_zarr
from tests.unets import State, random_unet, save, tiles
from torch import Tensor

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.networks.files import identify
from terapose.networks.loading import load
from terapose.networks.unet import UNet
from terapose.pipeline.checked import open_checked
from terapose.pipeline.planning import make_plan


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = random_unet(diameter=19.5).state_dict()
    return save(state, tmp_path_factory.mktemp("weights") / "lab.pth")


# -- architecture -----------------------------------------------------------------------------


def reference(state: State, x: Tensor, levels: int) -> Tensor:
    """The published architecture once more, written with functions over the weights' names."""

    def norm(name: str, y: Tensor) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (state[f"{name}.{n}"] for n in names)
        return functional.batch_norm(y, mean, var, weight, bias, eps=1e-5)

    def block(name: str, y: Tensor) -> Tensor:
        weight, bias = state[f"{name}.2.weight"], state[f"{name}.2.bias"]
        return functional.conv2d(
            functional.relu(norm(f"{name}.0", y)), weight, bias, padding=weight.shape[2] // 2
        )

    def project(name: str, y: Tensor) -> Tensor:
        return functional.conv2d(
            norm(f"{name}.proj.0", y), state[f"{name}.proj.1.weight"], state[f"{name}.proj.1.bias"]
        )

    features: list[Tensor] = []
    for level in range(levels):
        name = f"downsample.down.res_down_{level}"
        y = functional.max_pool2d(features[-1], 2) if features else x
        y = project(name, y) + block(f"{name}.conv.conv_1", block(f"{name}.conv.conv_0", y))
        y = y + block(f"{name}.conv.conv_3", block(f"{name}.conv.conv_2", y))
        features.append(y)
    style = features[-1].mean(dim=(2, 3))
    style = style / style.square().sum(dim=1, keepdim=True).sqrt()
    y = features[-1]
    for level in reversed(range(levels)):
        name = f"upsample.up.res_up_{level}"

        def styled(index: int, y: Tensor, name: str = name) -> Tensor:
            full = f"{name}.conv.conv_{index}.full"
            offset = style @ state[f"{full}.weight"].T + state[f"{full}.bias"]
            return block(f"{name}.conv.conv_{index}.conv", y + offset[:, :, None, None])

        if level < levels - 1:
            y = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        inner = block(f"{name}.conv.conv_0", y) + features[level]
        y = project(name, y) + styled(1, inner)
        y = y + styled(3, styled(2, y))
    return block("output", y)


def test_architecture_is_the_published_one() -> None:
    net = random_unet()
    x = torch.from_numpy(tiles(2, 2))
    with torch.no_grad():
        expected = reference(net.state_dict(), x, levels=3)
        found, style = net(x)
    assert torch.allclose(found, expected, atol=1e-5)
    assert style.shape == (2, 256)
    assert torch.allclose(style.square().sum(dim=1), torch.ones(2), atol=1e-5)


def test_weight_names_are_cellposes() -> None:
    names = set(UNet((2, 32, 64, 128, 256)).state_dict())
    assert {
        "downsample.down.res_down_0.conv.conv_0.0.running_mean",
        "downsample.down.res_down_3.conv.conv_3.2.weight",
        "downsample.down.res_down_3.proj.1.bias",
        "upsample.up.res_up_0.conv.conv_1.full.weight",
        "upsample.up.res_up_3.conv.conv_3.conv.2.weight",
        "upsample.up.res_up_0.proj.0.weight",
        "output.2.weight",
        "diam_mean",
        "diam_labels",
    } <= names
    assert len(names) == 313


def test_style_can_be_ignored() -> None:
    net = random_unet(style_on=False)
    for name, weight in net.named_parameters():
        if name.endswith("full.weight"):
            weight.data += 1
    with_style = random_unet()
    x = torch.from_numpy(tiles(1, 2))
    with torch.no_grad():
        zero = {
            n: torch.zeros_like(v) if n.endswith("full.weight") else v
            for n, v in with_style.state_dict().items()
        }
        assert torch.allclose(net(x)[0], reference(zero, x, levels=3), atol=1e-5)


# -- every variant of Cellpose 1 to 3 ---------------------------------------------------------


RECORDED = json.loads(Path(__file__).with_name("cellpose3.json").read_text())
"""Results of cellpose 3.1.1.3, and of 2.2.3's networks (`make compare-cellpose3`)."""


def _net(case: Case) -> UNet:
    return UNet(case.widths, residual=case.residual, concatenation=case.concatenation)


def _result(path: Path, case: Case) -> NDArray[np.float32]:
    """What Terapose makes of the recorded image: padded to 32 x 32 and cut, as Cellpose 3 does."""
    image = picture(case.widths[0], SMALL_SHAPE)[0]
    padded = np.pad(image.transpose(2, 0, 1), ((0, 0), (10, 10), (10, 10)))
    output = load(path)(padded[None])[0, :, 10:-10, 10:-10]
    return output.transpose(1, 2, 0)[::3, ::3]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_results_of_cellpose_1_to_3(case: Case, tmp_path: Path) -> None:
    path = save(seeded(_net(case).state_dict()), tmp_path / case.name)
    found, expected = _result(path, case), np.array(RECORDED[case.name])
    assert expected.std() > 0.03
    np.testing.assert_allclose(found, expected, rtol=0, atol=LIMIT)


def test_the_recorded_results_tell_every_variant_from_the_others() -> None:
    results = [np.array(RECORDED[case.name]) for case in SMALL]
    for n, one in enumerate(results):
        assert all(np.abs(one - other).max() > 100 * LIMIT for other in results[:n])


@pytest.mark.parametrize("name", ["running_mean", "proj.1.bias", "full.bias", "output.2.weight"])
def test_the_recorded_results_tell_other_weights(name: str, tmp_path: Path) -> None:
    case = next(c for c in SMALL if c.residual and c.style and c.concatenation)
    state = seeded(_net(case).state_dict())
    key = next(n for n in state if n.endswith(name))
    state[key] += 0.01
    found = _result(save(state, tmp_path / case.name), case)
    assert np.abs(found - np.array(RECORDED[case.name])).max() > LIMIT


def test_weights_of_another_variant_are_not_taken(tmp_path: Path) -> None:
    """Files are told apart by their arrays, so what does not fit them is an error."""
    state = random_unet(concatenation=True).state_dict()
    name = "upsample.up.res_up_1.conv.conv_1.full.bias"
    state[name] = state[name][: len(state[name]) // 2]
    with pytest.raises(InputError, match="do not fit"):
        load(save(state, tmp_path / "mixed.pth"))


@pytest.mark.parametrize(
    ("name", "diameter", "scale"),
    [("lab", 17.0, 0.5), ("lab", None, 30 / 34), ("nucleitorch_0", None, 0.5)],
)
def test_images_are_scaled_to_the_diameter_of_the_file(
    name: str, diameter: float | None, scale: float, tmp_path: Path
) -> None:
    state = random_unet(diameter=diameter or 99.0).state_dict()
    if diameter is None:
        del state["diam_mean"], state["diam_labels"]
    path = save(state, tmp_path / name)
    image = np.random.default_rng(0).integers(0, 9, (4, 50, 70)).astype(np.uint16)
    address = str(tmp_path / "image.zarr")
    write_zarr(Path(address), image)
    for given, expected in ({"diameter": 34}, scale), ({}, 1.0):
        params = check({"model": str(path), **given})
        plan = make_plan(open_checked(address, params), identify(path), params)
        assert plan.rescale == pytest.approx(expected)
        assert plan.network_shape == tuple(int(n * expected) for n in image.shape)


# -- loading and running ----------------------------------------------------------------------


def test_load_says_what_it_is(weights: Path) -> None:
    network = load(weights)
    assert (network.family, network.tile, network.channels) == ("unet", 224, 2)
    assert network.diam_mean == 19.5
    assert network.precision == "float32"
    assert network.module.dtype == torch.float32
    assert network.module.device == torch.device("cpu")


def test_output_is_the_modules(weights: Path) -> None:
    network = load(weights)
    x = tiles(3, 2)
    with torch.no_grad():
        expected = random_unet()(torch.from_numpy(x))[0].numpy()
    assert np.allclose(network(x), expected, atol=1e-5)
    assert network(x[:0]).shape == (0, 3, 64, 64)


@pytest.mark.parametrize("edge", [64, 128, 224])
def test_result_of_a_tile_depends_on_nothing_else(weights: Path, edge: int, threads: None) -> None:
    network = load(weights)
    x = tiles(5, 2, edge)
    torch.set_num_threads(1)
    expected = network(x[:1]), network(x)
    assert np.array_equal(expected[0], expected[1][:1])
    for count in (2, 3, 4):
        torch.set_num_threads(count)
        for batch in (1, 2, 3, 5):
            found = np.concatenate([network(x[i : i + batch]) for i in range(0, 5, batch)])
            assert np.array_equal(found, expected[1])
        assert torch.get_num_threads() == count


def test_batches_of_a_gpu_have_one_size(weights: Path) -> None:
    """Neither the number of tiles nor what fills a batch up can be seen."""
    module = load(weights).module
    sizes: list[int] = []
    module.net.register_forward_pre_hook(lambda net, given: sizes.append(len(given[0])))
    x = torch.from_numpy(tiles(2 * module.batch + 3, 2))
    output, style = module.in_batches(x)
    assert sizes == [module.batch] * 3
    assert (len(output), len(style)) == (len(x), len(x))
    assert torch.allclose(output, module(x)[0], atol=1e-5)
    last, _ = module.in_batches(x[-3:])
    assert torch.equal(last, output[-3:])


def test_cellpose_runs_the_module(weights: Path) -> None:
    """The object that Cellpose's own tiling takes gives what the network gives."""
    network = load(weights)
    image = np.random.default_rng(0).random((1, 208, 208, 2), np.float32)
    output, _ = run_net(network.module, image, bsize=224)
    padded = np.pad(image[0].transpose(2, 0, 1), ((0, 0), (8, 8), (8, 8)))
    expected = network(padded[None])[0, :, 8:-8, 8:-8].transpose(1, 2, 0)
    assert np.allclose(output[0], expected, atol=1e-6)


def test_bfloat16_is_close(weights: Path) -> None:
    exact, coarse = load(weights), load(weights, precision="bfloat16")
    assert coarse.precision == "bfloat16"
    x = tiles(1, 2)
    difference = np.abs(exact(x) - coarse(x)).max()
    assert 0 < difference < 0.1 * np.abs(exact(x)).max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int8"}, ["precision", "int8", "float32, bfloat16"]),
        ({"device": "cuda:99"}, ["device", "cuda:99", "without use_gpu"]),
        ({"device": "toaster"}, ["device", "toaster"]),
    ],
)
def test_bad_options(weights: Path, options: dict[str, str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        load(weights, **options)
    assert all(word in str(error.value) for word in words)


# -- Cellpose 4 -------------------------------------------------------------------------------


def test_dino_without_its_package(tmp_path: Path) -> None:
    state = {
        "encoder.cls_token": torch.zeros(1, 1, 768),
        "encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16),
        "W2": torch.zeros(192, 3, 8, 8),
    }
    path = save(state, tmp_path / "dino.pth")
    info = identify(path)
    assert (info.family, info.backbone, info.tile) == ("cellpose4", "dino_vitb", 384)
    with pytest.raises(InputError, match="needs the package dinov3"):
        load(path)


@pytest.mark.large
@pytest.mark.skipif("TERAPOSE_LARGE" not in os.environ, reason="writes and runs 1.2 GB of weights")
def test_cellpose_sam_as_cellpose_runs_it(tmp_path: Path) -> None:
    from cellpose.models import CellposeModel
    from cellpose.vit import CPSAM

    torch.manual_seed(0)
    path = save(CPSAM().state_dict(), tmp_path / "cpsam")
    info = identify(path)
    assert (info.family, info.tile, info.channels) == ("cellpose4", 256, 3)
    network = load(path)
    assert network.precision == "float32"
    image = np.random.default_rng(0).random((1, 240, 240, 3), np.float32)
    theirs = CellposeModel(pretrained_model=str(path), use_bfloat16=False).net
    expected, _ = run_net(theirs, image, bsize=256)
    found, _ = run_net(network.module, image, bsize=256)
    # Cellpose runs on all threads at once and so rounds differently.
    assert np.allclose(found, expected, atol=1e-4)
    x = tiles(2, 3, 256)
    assert np.array_equal(network(x)[:1], network(x[:1]))
