"""Weight files: what is in them, finding and fetching them."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tests.unets import WIDTHS, State, random_unet, sam_outline, save, tiles

from terapose.cli.fetch import command as fetch
from terapose.core.errors import InputError
from terapose.io.shipped import SHIPPED, shipped_file
from terapose.networks.files import identify
from terapose.networks.loading import load
from terapose.networks.outline import outline
from terapose.networks.unet import UNet
from terapose.networks.unet_shape import UNetShape, unet_arrays, unet_shape
from terapose.networks.weights import copy, resolve, weight_file

# -- weight files -----------------------------------------------------------------------------


def test_identify(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "lab.pth"
    path.write_bytes(weights.read_bytes())
    (tmp_path / "lab.md").write_text("---\nlicense: CC0-1.0\n---\n# lab\n")
    info = identify(str(path))
    assert (info.family, info.channels, info.tile, info.diam_mean) == ("unet", 2, 224, 19.5)
    assert info.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.size == path.stat().st_size
    assert info.licence == "CC0-1.0"
    assert identify(weights).licence is None


def test_the_size_of_weights_in_half_precision_is_that_in_memory(tmp_path: Path) -> None:
    state = random_unet().state_dict()
    full, half = (
        save({name: value.to(kind) for name, value in state.items()}, tmp_path / f"{kind}.pth")
        for kind in (torch.float32, torch.float16)
    )
    numbers = sum(value.numel() for value in state.values())
    assert half.stat().st_size < 4 * numbers < full.stat().st_size
    assert identify(half).size == 4 * numbers


@pytest.mark.parametrize("new", [True, False])
def test_identify_needs_no_torch(new: bool, tmp_path: Path) -> None:
    weights = tmp_path / "lab.pth"
    state = random_unet(diameter=19.5).state_dict()
    torch.save(state, weights, _use_new_zipfile_serialization=new)
    code = (
        "import sys; from terapose.networks.files import identify;"
        "assert identify(sys.argv[1]).diam_mean == 19.5;"
        "from terapose.networks.weights import resolve; resolve('auto');"
        "assert 'torch' not in sys.modules and 'cellpose' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(weights)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_files_of_other_makes(tmp_path: Path) -> None:
    """Torch before 1.6, several GPUs, no diameter: all are the same network."""
    net = random_unet()
    x = tiles(1, 2)
    expected = load(save(net.state_dict(), tmp_path / "new.pth"))(x)
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    del state["module.diam_mean"], state["module.diam_labels"]
    for path, options in (
        (tmp_path / "gpus.pth", {}),
        (tmp_path / "old.pth", {"_use_new_zipfile_serialization": False}),
    ):
        torch.save(state, path, **options)
        assert identify(path).diam_mean == 30.0
        assert np.array_equal(load(path)(x), expected)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("concatenation", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_architecture_is_read_from_the_arrays(
    residual: bool, concatenation: bool, old: bool, tmp_path: Path
) -> None:
    net = random_unet((3, 4, 6), residual=residual, concatenation=concatenation, size=5)
    path = tmp_path / "lab.pth"
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    shape = unet_shape({n.removeprefix("module."): a for n, a in outline(path).items()})
    assert shape == UNetShape((3, 4, 6), 3, 5, residual, concatenation)
    sizes = {n: tuple(a.shape) for n, a in net.state_dict().items() if not n.startswith("diam_")}
    assert unet_arrays(shape) == sizes
    assert (identify(path).family, identify(path).channels) == ("unet", 3)
    x = tiles(1, 3)
    with torch.no_grad():
        expected = net(torch.from_numpy(x))[0].numpy()
    assert np.allclose(load(path)(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("cellpose_residual_on_style_off_concatenation_off_lab_2021_03_01", False),
        ("0123456789abcdef-cellpose_residual_off_style_off_concatenation_on_lab", False),
        ("cellpose_residual_on_style_on_concatenation_off_lab_2021_03_01", True),
        ("style_off", True),
    ],
)
def test_the_name_of_cellpose_1_says_whether_there_is_a_style(
    name: str, style: bool, tmp_path: Path
) -> None:
    path = save(random_unet().state_dict(), tmp_path / name)
    assert identify(path).style_on is style
    x = tiles(1, 2)
    with torch.no_grad():
        expected, other = (
            random_unet(style_on=on)(torch.from_numpy(x))[0].numpy() for on in (style, not style)
        )
    assert np.allclose(load(path)(x), expected, atol=1e-5)
    assert not np.allclose(load(path)(x), other, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "diameter"),
    [
        ("nucleitorch_0", 17.0),
        ("0123456789abcdef-nucleitorch_3", 17.0),
        ("cytotorch_0", 30.0),
        ("nuclei_of_mine", 30.0),
    ],
)
def test_diameter_of_files_that_hold_none(name: str, diameter: float, tmp_path: Path) -> None:
    state = random_unet(diameter=12.0).state_dict()
    assert identify(save(state, tmp_path / name)).diam_mean == 12.0
    del state["diam_mean"], state["diam_labels"]
    path = save(state, tmp_path / name)
    assert identify(path).diam_mean == load(path).diam_mean == diameter


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
@pytest.mark.parametrize("new", [True, False])
def test_the_diameter_in_any_precision(kind: torch.dtype, new: bool, tmp_path: Path) -> None:
    state = random_unet(diameter=17.0).state_dict()
    half = {n: v.to(kind if v.dtype is torch.float32 else v.dtype) for n, v in state.items()}
    path = tmp_path / "half.pth"
    torch.save(half, path, _use_new_zipfile_serialization=new)
    assert identify(path).diam_mean == load(path).diam_mean == 17.0


def _without(name: str) -> State:
    return {n: v for n, v in random_unet().state_dict().items() if n != name}


def _damaged(case: str, path: Path, weights: Path) -> None:
    """Write one of the files that are no model."""
    content = weights.read_bytes()
    if case == "empty":
        path.write_bytes(b"")
    elif case == "text":
        path.write_text("<html>not found</html>")
    elif case == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif case == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}, protocol=2))
    elif case == "list":
        torch.save([1, 2], path)
    elif case == "other network":
        torch.save({"fc.weight": torch.zeros(3, 3)}, path)
    elif case == "two outputs":
        torch.save(UNet(WIDTHS, outputs=2).state_dict(), path)
    elif case == "checkpoint":
        torch.save({"model": random_unet().state_dict(), "epoch": 3}, path)
    elif case == "whole network":
        torch.save(random_unet(), path)
    elif case == "omnipose":
        torch.save(random_unet().state_dict(), path)
    elif case == "five outputs of Cellpose 4":
        torch.save(sam_outline(1024, 5), path)
    elif case == "arrays of a single axis":
        torch.save({n: v.flatten() for n, v in random_unet().state_dict().items()}, path)
    elif case == "another width of SAM":
        torch.save(sam_outline(1280, 3), path)
    elif case == "three classes":
        torch.save(UNet(WIDTHS, residual=False, concatenation=True).state_dict(), path)
    elif case == "volumes":
        flat = random_unet().state_dict().items()
        state = {n: v[..., None] if v.ndim == 4 else v for n, v in flat}
        torch.save(state, path)
    elif case.startswith("old"):
        torch.save(random_unet().state_dict(), path, _use_new_zipfile_serialization=False)
        content = path.read_bytes()
        if case == "old, cut short":
            path.write_bytes(content[:-100])
        elif case == "old, cut in its description":
            path.write_bytes(content[:3000])
        else:
            path.write_bytes(content.replace(b"FloatStorage", b"FlaatStorage"))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "there is no model file here"),
        ("empty", "not a torch weight file"),
        ("text", "not a torch weight file"),
        ("cut short", "not a torch weight file"),
        ("pickle", "not a torch weight file"),
        ("list", "holds more than the weights of a network"),
        ("checkpoint", "holds more than the weights of a network"),
        ("whole network", "holds more than the weights of a network; got terapose.networks.unet"),
        ("other network", "do not belong to a known network"),
        ("two outputs", "got 2 outputs; allowed: 3"),
        ("three classes", "predicts classes"),
        ("omnipose", "predicts distances (a model of Omnipose)"),
        ("five outputs of Cellpose 4", "got 5 outputs; allowed: 3"),
        ("another width of SAM", "do not belong to a known network"),
        ("arrays of a single axis", "do not belong to a known network"),
        ("volumes", "not for planes; got 3D convolutions"),
        ("old, cut short", "not a torch weight file"),
        ("old, cut in its description", "not a torch weight file"),
        ("old, unknown numbers", "not a torch weight file"),
    ],
)
def test_files_that_are_no_model(case: str, words: str, tmp_path: Path, weights: Path) -> None:
    name = {
        "three classes": "unet3_residual_off_style_off_concatenation_on",
        "omnipose": "bact_phase_omnitorch_0",
    }.get(case, "model")
    path = tmp_path / f"{name}.pth"
    _damaged(case, path, weights)
    for function in (identify, load):
        with pytest.raises(InputError) as error:
            function(path)
        assert words in str(error.value) and str(path) in str(error.value)


def test_missing_and_misshapen_weights_are_not_made_up(tmp_path: Path) -> None:
    name = "upsample.up.res_up_1.conv.conv_2.full.bias"
    lacking = save(_without(name), tmp_path / "a.pth")
    other = save({**_without(name), name: torch.zeros(99)}, tmp_path / "b.pth")
    for function in (identify, load):
        with pytest.raises(InputError, match=r"lacks weights; got 1 missing.*res_up_1"):
            function(lacking)
        with pytest.raises(InputError, match="do not fit"):
            function(other)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"W2": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="more than the weights of a network; got posix"):
        identify(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks(name: str) -> None:
    info = identify(resolve(name))
    assert (info.family, info.channels, info.diam_mean) == ("unet", 1, 17.0)
    assert info.path.stat().st_size <= 8_000_000
    assert info.licence
    output = load(info.path)(tiles(1, 1, 224))
    assert output.shape == (1, 3, 224, 224)
    assert np.isfinite(output).all()


# -- finding and fetching ---------------------------------------------------------------------


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_copy_of_a_shipped_network_keeps_its_licence(name: str, tmp_path: Path) -> None:
    original = resolve(name)
    copied = copy(original, tmp_path / "network.pth")
    copied.with_suffix(".md").unlink()
    assert identify(copied).licence == identify(original).licence == "CC-BY-3.0"


def test_the_model_card_names_the_file_that_is_shipped() -> None:
    for name in SHIPPED:
        assert f"`{_sha(shipped_file(f'{name}.pth'))}`" in shipped_file(f"{name}.md").read_text()
    assert _sha(resolve("nuclei-small")).startswith("8ffe30239f0b"), "earlier results need it"


def test_a_name_and_a_card_travel_in_a_folder(weights: Path, tmp_path: Path) -> None:
    """A file's name can say what its weights do not, and its card says the licence."""
    named = tmp_path / "cellpose_residual_on_style_off_concatenation_off_mine"
    named.write_bytes(weights.read_bytes())
    named.with_suffix(".md").write_text("---\nlicense: MIT\n---\n")
    folder = tmp_path / "network"
    folder.mkdir()
    assert copy(named, folder) == folder / named.name == weight_file(folder)
    assert identify(weight_file(folder)).licence == "MIT"
    assert weight_file(named) == named
    (folder / "second.pth").write_bytes(b"")
    with pytest.raises(InputError, match="contains no weight file, or several"):
        weight_file(folder)


def test_resolve_shipped_and_local(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("auto") == resolve("nuclei-large") != resolve("nuclei-small")
    assert resolve(str(weights), digest=_sha(weights).upper()) == weights
    with pytest.raises(InputError, match="does not match its digest"):
        resolve(weights, digest="0" * 64)
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(weights.parent))
    assert resolve("lab.pth") == weights
    old = weights.with_name("nucleitorch_0")
    old.write_bytes(weights.read_bytes())
    assert resolve("nuclei") == old


def test_unknown_name() -> None:
    with pytest.raises(
        InputError, match=r"cyto99: no such model; allowed: nuclei-large, nuclei-small"
    ):
        resolve("cyto99")


def test_a_failed_fetch_leaves_what_was_there(weights: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pth", tmp_path / "bad.pth"
    good.write_bytes(weights.read_bytes())
    bad.write_bytes(b"no network")
    assert CliRunner().invoke(fetch, [str(bad), "--output", str(good)]).exit_code
    assert good.read_bytes() == weights.read_bytes()
    done = CliRunner().invoke(fetch, [str(good), "--output", f"{tmp_path}/new/"])
    assert done.exit_code == 0 and (tmp_path / "new" / "good.pth").is_file()


def test_fetch_command(weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "copy.pth"
    target.parent.mkdir()
    done = CliRunner().invoke(fetch, [str(weights), "--output", str(target)])
    assert done.exit_code == 0
    said = f"{target}\nsha256={_sha(weights)}\n{weights}: unet, licence not stated\n"
    assert done.output == said
    assert target.read_bytes() == weights.read_bytes()
    assert "Examples" in CliRunner().invoke(fetch, ["--help"]).output


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("nuclei-large", ["--mark", "01234567"]),
        ("https://example.org/a.pth", ["--mark", "01234567", "--digest", "0" * 64]),
        (f"https://example.org/a.pth#sha256={'0' * 64}", ["--mark", "01234567"]),
        ("nuclei-large,https://example.org/a.pth", ["--mark", "01234567"]),
    ],
)
def test_marks_that_say_nothing(model: str, options: list[str]) -> None:
    with pytest.raises(InputError, match=r"^--mark: (has no use|marks do not match)"):
        CliRunner().invoke(fetch, [model, *options], catch_exceptions=False)
