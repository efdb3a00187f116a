"""Several networks as one: the mean of their outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cellpose.core import run_net
from click.testing import CliRunner
from tests.synthetic import nuclei, write_zarr
from tests.unets import random_unet, sam_outline, save, tiles

from terapose.api.runner import segment_file
from terapose.cli.fetch import command as fetch
from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.networks.ensemble import identify_all, named, resolve_all, weight_files
from terapose.networks.files import ModelInfo, identify
from terapose.networks.loading import load, load_all
from terapose.pipeline.checked import open_checked
from terapose.pipeline.planning import make_plan
from terapose.stages.check import run as check_run


def _network(folder: Path, shift: int) -> Path:
    """One of some small networks that differ in their output; all have one file name."""
    state = random_unet((1, 4)).state_dict()
    # flows of either sign and a probability around 0, so that some voxels belong to cells
    state["output.2.weight"] = 40 * state["output.2.weight"].roll(shift, dims=1)
    state["output.2.bias"] = torch.zeros(3)
    folder.mkdir()
    return save(state, folder / "lab.pth")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("networks")
    return [_network(folder / str(shift), shift) for shift in range(3)]


def _results(folder: Path) -> dict[str, bytes]:
    """Labels and table by their names."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    kept = ("labels.zarr/", "cells.")
    return {name: p.read_bytes() for name, p in found.items() if name.startswith(kept)}


# -- outputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_outputs_are_added_in_float32_in_the_order_given(three: list[Path], precision: str) -> None:
    x = tiles(3, 1)
    single = [load(path, precision=precision)(x) for path in three]
    expected = (single[0] + single[1] + single[2]) / np.float32(3)
    network = load_all(three, precision=precision)
    assert np.array_equal(network(x), expected)
    assert (network.tile, network.channels, network.precision) == (224, 1, precision)
    assert np.array_equal(load_all(three[:1], precision=precision)(x), single[0])


def test_cellpose_runs_the_mean(three: list[Path]) -> None:
    """As Cellpose did: each network over the whole image, then the mean of what they gave."""
    image = np.random.default_rng(0).random((1, 250, 300, 1), np.float32)
    each = [run_net(load(path).module, image, bsize=224)[0] for path in three]
    found, _ = run_net(load_all(three).module, image, bsize=224)
    assert np.allclose(found, sum(each) / 3, atol=1e-5)
    assert np.abs(found - each[0]).max() > 0.1


def test_result_of_a_tile_depends_on_nothing_else(three: list[Path], threads: None) -> None:
    network = load_all(three)
    x = tiles(4, 1)
    torch.set_num_threads(1)
    expected = network(x)
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        for batch in (1, 3, 4):
            found = np.concatenate([network(x[i : i + batch]) for i in range(0, 4, batch)])
            assert np.array_equal(found, expected)


def test_the_cut_cannot_be_seen(three: list[Path], tmp_path: Path) -> None:
    write_zarr(tmp_path / "image.zarr", nuclei((5, 18, 20), spacing=9)[0])
    model = ",".join(map(str, three))
    # random flows: whatever they lead to counts as a cell
    rules = {"cellprob_threshold": -99, "max_size_fraction": 1, "niter": 10, "min_size": 1}
    results = []
    for number, cut in enumerate(
        ({}, {"block_shape": (3, 11, 9), "slab_planes": 4, "max_tasks": 3, "batch_size": 1})
    ):
        params = check({"model": model, **rules, **cut})
        record = segment_file(str(tmp_path / "image.zarr"), tmp_path / f"out{number}", params)
        assert record["cells"] >= 2
        results.append(_results(tmp_path / f"out{number}"))
    assert results[0] == results[1]
    assert record["model"]["name"] == model
    digests = [identify(path).digest for path in three]
    expected = [{"name": "lab.pth", "digest": digest, "licence": None} for digest in digests]
    assert record["model"]["members"] == expected


# -- what goes together -----------------------------------------------------------------------


def test_an_ensemble_is_known_by_its_networks_and_their_order(
    three: list[Path], tmp_path: Path
) -> None:
    card = three[1].with_suffix(".md")
    card.write_text("---\nlicense: MIT\n---\n")
    infos = [identify_all(paths) for paths in (three, three[::-1], three[:2], three[:1])]
    card.unlink()
    assert len({info.digest for info in infos}) == 4
    assert infos[3] == identify(three[0])
    assert infos[0].licence == "not stated, MIT" and infos[3].licence is None
    assert infos[0].size == sum(path.stat().st_size for path in three)
    write_zarr(tmp_path / "image.zarr", np.zeros((4, 30, 30), np.uint16))

    def planned(info: ModelInfo) -> str:
        params = check({})
        return make_plan(open_checked(str(tmp_path / "image.zarr"), params), info, params).digest

    assert len({planned(info) for info in infos}) == 4


@pytest.mark.parametrize("kind", ["channels", "diameter", "family"])
def test_networks_of_different_work_are_refused(
    kind: str, three: list[Path], tmp_path: Path
) -> None:
    state = random_unet((2, 2) if kind == "channels" else (1, 2), diameter=17.0).state_dict()
    words = "diameter 17.0; allowed: diameter 30.0, as lab.pth"
    if kind == "channels":
        state["diam_mean"][:] = 30
        words = "number of channels 2; allowed: number of channels 1, as lab.pth"
    if kind == "family":
        state = sam_outline(1024, 3)
        words = "family cellpose4, edge of tiles 256, number of channels 3; allowed: family unet"
    other = save(state, tmp_path / "other.pth")
    for function in (identify_all, load_all):
        with pytest.raises(InputError) as error:
            function([three[0], other])
        text = str(error.value)
        assert (
            text.startswith(f"{other}: networks that differ cannot be averaged") and words in text
        )


def test_names_between_commas(three: list[Path], tmp_path: Path) -> None:
    assert named("cyto3, https://a.org/b.pth#sha256=0,auto") == [
        "cyto3",
        "https://a.org/b.pth#sha256=0",
        "auto",
    ]
    with pytest.raises(InputError, match="a network has no name; got cyto3,,auto"):
        named("cyto3,,auto")
    odd = tmp_path / "a,b.pth"
    odd.write_bytes(three[0].read_bytes())
    assert resolve_all(str(odd)) == [odd]


def test_each_network_has_its_digest(three: list[Path]) -> None:
    model = ",".join(map(str, three[:2]))
    digests = [identify(path).digest for path in three]
    assert resolve_all(model, digest=",".join(digests[:2])) == three[:2]
    with pytest.raises(InputError, match="does not match its digest"):
        resolve_all(model, digest=",".join(digests[1::-1]))
    with pytest.raises(InputError, match="got 1 for 2 networks"):
        resolve_all(model, digest=digests[0])
    assert check({"model_digest": ",".join(digests)}).model_digest.count(",") == 2


# -- on their way to the tasks ----------------------------------------------------------------


def test_files_of_one_name_travel_in_one_folder(three: list[Path], tmp_path: Path) -> None:
    paths = [three[n % 3] for n in range(11)]
    model = ",".join(map(str, paths))
    done = CliRunner().invoke(fetch, [model, "--output", f"{tmp_path}/network/"])
    assert done.exit_code == 0
    assert done.output.endswith(f"\n{model}: unet, licence not stated\n")
    found = weight_files(tmp_path / "network")
    assert [p.read_bytes() for p in found] == [p.read_bytes() for p in paths]
    assert weight_files(three[0]) == weight_files(three[0].parent) == three[:1]
    done = CliRunner().invoke(fetch, [model, "--output", f"{tmp_path}/one.pth"])
    assert isinstance(done.exception, InputError)
    assert "several networks need a folder" in str(done.exception)


def test_a_changed_file_beside_a_url_is_another_run(three: list[Path], tmp_path: Path) -> None:
    write_zarr(tmp_path / "image.zarr", np.arange(3600, dtype=np.uint16).reshape(4, 30, 30))
    local = tmp_path / "local.pth"
    identities = set()
    for path in (three[0], three[1], three[0]):
        local.write_bytes(path.read_bytes())
        params = check({"model": f"file://{three[2]},{local}"})
        row = check_run("a", str(tmp_path / "image.zarr"), params, None).lines.splitlines()[1]
        identities.add(row.split("\t")[3])
    assert len(identities) == 2
