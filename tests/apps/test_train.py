"""Training: data, crops, loss, resuming, command."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from cellpose.train import _loss_fn_seg
from click.testing import CliRunner
from numpy.typing import NDArray
from tests.unets import random_unet, save

from terapose.apps.train.augment import crop
from terapose.apps.train.batches import Steps, batch_of, draw
from terapose.apps.train.curve import curve_of
from terapose.apps.train.data import (
    Item,
    items_of,
    make_item,
    median_diameter,
    normalise,
    split_pieces,
)
from terapose.apps.train.dataset import Dataset, read_dataset
from terapose.apps.train.files import find_pairs, split
from terapose.apps.train.loop import Trainer, fit, prepare
from terapose.apps.train.saving import checkpoint_of
from terapose.apps.train.score import average_precision, segment
from terapose.apps.train.settings import Settings
from terapose.apps.train.simulated import simulated_items, simulated_slides
from terapose.apps.train.small import small_of
from terapose.apps.train.step import loss_of
from terapose.cli.train import _called, command
from terapose.core.errors import InputError
from terapose.networks.files import identify
from terapose.networks.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Settings(epochs=4, steps=3, batch=2, edge=32, widths=(1, 4, 6, 8), diameter=10.0)


def discs(seed: int, edge: int = 80) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """An image of bright discs of 9 to 15 pixels, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:edge, :edge]
    labels = np.zeros((edge, edge), np.int32)
    for number, (row, column) in enumerate(np.ndindex(4, 4), start=1):
        centre = 10 + 20 * np.array([row, column]) + rng.uniform(-3, 3, 2)
        labels[np.hypot(y - centre[0], x - centre[1]) < rng.uniform(4.5, 7.5)] = number
    image = (labels > 0) * 100.0 + rng.normal(20, 4, labels.shape)
    return image.astype(np.float32), labels


def item(seed: int, edge: int = 80) -> Item:
    image, labels = discs(seed, edge)
    return make_item(f"{seed}.tif", 0, normalise(image)[None], labels, median_diameter(labels))


def write(folder: Path, name: str, image: NDArray[Any], labels: NDArray[Any]) -> None:
    for kind, array in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / kind / name, array)


# -- data -------------------------------------------------------------------------------------


def test_pieces_become_objects() -> None:
    labels = np.zeros((9, 9), np.uint16)
    labels[0:2, 0:2] = labels[6:8, 6:8] = 700
    labels[2:4, 0:2] = 3
    pieces = split_pieces(labels)
    assert sorted(np.unique(pieces)) == [0, 1, 2, 3]
    assert len({pieces[0, 0], pieces[7, 7], pieces[3, 0]}) == 3
    assert np.array_equal(pieces > 0, labels > 0)
    assert (split_pieces(np.ones((4, 4), int)) == 1).all()


def test_diameter_is_that_of_the_largest_section() -> None:
    z, y, x = np.mgrid[-12:13, -12:13, -12:13]
    ball = (z**2 + y**2 + x**2 <= 100).astype(np.uint8)
    assert median_diameter(ball) == pytest.approx(20, rel=0.03)
    assert median_diameter(ball[12]) == pytest.approx(20, rel=0.03)
    assert median_diameter(np.zeros((4, 4), int)) == 0.0


def test_volume_is_cut_three_ways_at_one_scale(tmp_path: Path) -> None:
    z, y, x = np.mgrid[-10:10, -20:20, -25:25]
    ball = ((2 * z) ** 2 + y**2 + x**2 < 144).astype(np.uint8)
    write(tmp_path, "ball.tif", (ball * 50 + 10).astype(np.uint8), ball)
    (pair,) = find_pairs(tmp_path)
    items = items_of(pair, 5, voxel_size=(2.0, 1.0, 1.0), plane_step=10)
    shapes = {item.name.split(":")[1][:2]: item.labels.shape for item in items}
    assert shapes == {"YX": (40, 50), "ZX": (40, 50), "ZY": (40, 40)}
    assert {item.diameter for item in items} == {items[0].diameter}
    assert {item.source for item in items} == {5}
    largest = [
        max(median_diameter(item.labels) for item in items if f":{way}" in item.name)
        for way in ("YX", "ZX", "ZY")
    ]
    assert largest == pytest.approx([24, 24, 24], rel=0.1)


def test_split_holds_out_what_it_is_told(tmp_path: Path) -> None:
    pairs = [(Path(f"images/{n:02d}.tif"), Path(f"labels/{n:02d}.tif")) for n in range(10)]

    def names(part: list[tuple[Path, Path]]) -> list[int]:
        return [int(pair[0].stem) for pair in part]

    kept, held = split(pairs, holdout=[], exclude=["05.tif", "06*"], every=5)
    assert (names(kept), names(held)) == ([1, 2, 3, 4, 7, 8, 9], [0])
    kept, held = split(pairs, holdout=["03.tif"], exclude=[], every=5)
    assert (names(kept), names(held)) == ([0, 1, 2, 4, 5, 6, 7, 8, 9], [3])


def test_lists_of_names(tmp_path: Path) -> None:
    for seed in range(4):
        write(tmp_path / "cells", f"{seed}.tif", *discs(seed))
    (tmp_path / "held.txt").write_text("1.tif\n\n2.tif\n")
    (tmp_path / "out.json").write_text(json.dumps(["3.tif"]))
    dataset = read_dataset(
        [tmp_path / "cells"],
        holdout=[f"@{tmp_path / 'held.txt'}"],
        exclude=[f"@{tmp_path / 'out.json'}"],
    )
    assert [item.name for item in dataset.training] == ["0.tif"]
    assert [item.name for item in dataset.held_out] == ["1.tif", "2.tif"]
    assert dataset.sources == [
        {"data": "cells", "files": 1, "items": 1, "held out": 2, "licence": "unstated"}
    ]


@pytest.mark.parametrize("option", ["holdout", "exclude"])
def test_names_that_match_nothing(tmp_path: Path, option: str) -> None:
    for seed in range(3):
        write(tmp_path / "cells", f"Cell_{seed} [a].tif", *discs(seed))
    (tmp_path / "list.txt").write_text("other.tif\nmore.tif\n")

    def read(name: str) -> Dataset:
        options: dict[str, Any] = {option: [name]}
        return read_dataset([tmp_path / "cells"], **options)

    for given, sentence in (
        ("cell_1 [a].tif", r"this name; got cell_1 \[a\].tif; did you mean Cell_1 \[a\].tif\?"),
        ("Emb*", r"no image in the data has this name; got Emb\*; names are like Cell_0 \[a\].tif"),
        (f"@{tmp_path / 'list.txt'}", "no image in the data has a name in this list; got @"),
    ):
        with pytest.raises(InputError, match=f"^{option}: .*{sentence}"):
            read(given)
    # brackets are those of the name, or a pattern where no name has them
    for given in ("Cell_1 [a].tif", "Cell_[1]*"):
        assert len(read(given).training) == 2


@pytest.mark.parametrize("widths", [(2, 32, 64, 128, 256), (1, 16, 32, 64, 96)])
def test_cellpose_4_loads_no_unet(tmp_path: Path, widths: tuple[int, ...]) -> None:
    """As docs/training.md says of it; what Cellpose 3 loads is for `make compare-cellpose3`."""
    from cellpose.models import CellposeModel

    path = save(random_unet(widths).state_dict(), tmp_path / "unet.pth")
    assert identify(path).channels == widths[0]
    with pytest.raises(ValueError, match="CP3 models are not compatible with CP4"):
        CellposeModel(gpu=False, pretrained_model=str(path))


def test_faulty_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training data here"):
        find_pairs(tmp_path)
    image, labels = discs(0)
    write(tmp_path, "a.tif", image, labels[:-1])
    with pytest.raises(InputError, match=r"labels do not match.*\(80, 80\) and \(79, 80\)"):
        read_dataset([tmp_path])
    write(tmp_path, "a.tif", np.stack([image] * 5), np.stack([labels] * 5))
    with pytest.raises(InputError, match="needs its voxel size"):
        read_dataset([tmp_path])
    with pytest.raises(InputError, match="no training images are left"):
        read_dataset([tmp_path], exclude=["*"])
    with pytest.raises(InputError, match=r"needs its voxel size; got \(0.0, 1.0, 1.0\)"):
        read_dataset([tmp_path], voxel_size=(0.0, 1.0, 1.0))
    (tmp_path / "images" / "a.tif").write_text("no image")
    with pytest.raises(InputError, match="not an image that can be read"):
        read_dataset([tmp_path])
    (tmp_path / "labels" / "a.tif").unlink()
    with pytest.raises(InputError, match="an image has no labels"):
        find_pairs(tmp_path)


@pytest.mark.parametrize("make", [simulated_items, simulated_slides])
def test_what_is_simulated_depends_on_the_seed_alone(
    make: Callable[..., Iterator[Item]],
) -> None:
    first, again, other = (list(make(1, 2, seed=seed)) for seed in (4, 4, 5))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].image, other[0].image)
    assert sum(item.labels.max() > 0 for item in first) > len(first) / 2


def test_simulated_volumes_and_slides_are_sources_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "a.tif", *discs(0))
    found = read_dataset([tmp_path], simulated=1, slides=2)
    assert [source["data"] for source in found.sources] == [
        tmp_path.name,
        "volumes simulated by terapose",
        "slides simulated by terapose",
    ]
    drawn = [item.source for item in found.training]
    assert set(drawn) == {0, 1, 2} and drawn.count(0) == 1 and drawn.count(2) == 2


# -- crops and loss ---------------------------------------------------------------------------


def test_flows_turn_with_the_image() -> None:
    """The flow of a crop points where the objects of the crop itself lie."""
    whole = item(1)
    for seed in range(8):
        image, target = crop(whole, np.random.default_rng(seed), edge=64, diameter=10.0)
        assert image.shape == (1, 64, 64) and target.shape == (3, 64, 64)
        assert image.dtype == target.dtype == np.float32
        inside = target[2] > 0
        pieces = split_pieces(inside.astype(int))
        again = make_item("", 0, image, pieces, 10.0).target
        # Inside an object the flows from the turned masks and the turned flows agree in direction.
        lengths = np.hypot(*target[:2]) * np.hypot(*again[:2])
        cosine = (target[:2] * again[:2]).sum(axis=0)[lengths > 0] / lengths[lengths > 0]
        assert np.median(cosine) > 0.95


def test_crops_have_objects_of_the_asked_size() -> None:
    whole = item(2)
    sizes = []
    for seed in range(30):
        _, target = crop(whole, np.random.default_rng(seed), edge=128, diameter=20.0)
        sizes.append(median_diameter(split_pieces(target[2].astype(int))))
    assert min(sizes) > 20 * 0.6 and max(sizes) < 20 * 1.5
    assert np.median(sizes) == pytest.approx(20, rel=0.15)


def test_loss_is_cellposes() -> None:
    rng = np.random.default_rng(0)
    output = torch.from_numpy(rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    flows = rng.normal(size=(2, 2, 8, 8)).astype(np.float32)
    mask = (rng.random((2, 1, 8, 8)) > 0.5).astype(np.float32)
    lbl = torch.from_numpy(np.concatenate([mask, flows], 1))
    theirs = _loss_fn_seg(lbl, output, torch.device("cpu"))
    ours = loss_of(output, torch.from_numpy(np.concatenate([flows, mask], 1)))
    assert float(ours) == pytest.approx(float(theirs))


def test_every_source_is_drawn_alike() -> None:
    few, many = item(0), [item(1)] * 50
    few = Item("few", 1, few.image * 0 + 7, few.labels, few.target, few.diameter)
    images, _ = batch_of([few, *many], Settings(batch=200, edge=16), (0, 0))
    assert 60 < (images.amax(dim=(1, 2, 3)) > 4).sum() < 140


# -- loop -------------------------------------------------------------------------------------


def trained(tmp_path: Path, name: str, *, stop: int | None = None, resume: bool = False) -> bytes:
    trainer = Trainer(SMALL)
    output = tmp_path / f"{name}.pth"
    prepare(trainer, output, resume=resume, overwrite=False)

    def report(line: str) -> None:
        if stop is not None and line.startswith(f"epoch {stop}"):
            raise KeyboardInterrupt

    fit(trainer, [item(0), item(1)], [item(2)], output, report=report)
    return b"".join(v.numpy().tobytes() for v in trainer.network.state_dict().values())


def test_resumed_training_is_bit_identical(tmp_path: Path) -> None:
    whole = trained(tmp_path, "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "broken", stop=2)
    assert (tmp_path / "broken.checkpoint").exists()
    assert trained(tmp_path, "broken", resume=True) == whole
    assert not (tmp_path / "broken.checkpoint").exists()
    names = ("whole.pth", "broken.pth")
    states = [torch.load(tmp_path / name, weights_only=True) for name in names]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_levels_have_channels() -> None:
    with pytest.raises(
        InputError, match=r"widths: a level of the network has no channel; got 16,-4"
    ):
        Settings(widths=(1, 16, -4))


def test_nothing_is_overwritten_or_mixed_up(tmp_path: Path) -> None:
    output = tmp_path / "net.pth"
    for content in (None, b"", b"no checkpoint"):
        if content is not None:
            output.with_suffix(".checkpoint").write_bytes(content)
        with pytest.raises(InputError, match="there is no" if content is None else "not a"):
            prepare(Trainer(SMALL), output, resume=True, overwrite=False)
    Trainer(SMALL).save(tmp_path / "net.checkpoint")
    with pytest.raises(InputError, match="a training run already exists here"):
        prepare(Trainer(SMALL), output, resume=False, overwrite=False)
    other = Settings(**{**SMALL.__dict__, "rate": 0.5})
    with pytest.raises(InputError, match=r"other settings; got rate 0.5; allowed: rate 0.002"):
        prepare(Trainer(other), output, resume=True, overwrite=False)
    prepare(Trainer(SMALL), output, resume=False, overwrite=True)
    (tmp_path / "net.checkpoint").unlink()
    # what a training writes beside its weights may be somebody's
    for name in ("net.md", "net.png"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=rf"{name}: would be replaced by what a training"):
            prepare(Trainer(SMALL), output, resume=False, overwrite=False)
        prepare(Trainer(SMALL), output, resume=False, overwrite=True)
        (tmp_path / name).unlink()


def test_names_with_dots_are_names_of_their_own() -> None:
    for end, of in ((".checkpoint", checkpoint_of), (".png", curve_of), (".small", small_of)):
        for name in ("cyto.pth", "cyto.PT", "cyto"):
            assert of(Path("runs") / name) == Path("runs") / f"cyto{end}"
        for name in ("cyto.fold1", "cyto.fold2", "cyto.fold2.pth", "unet_1.5"):
            assert of(Path(name)) == Path(f"{name.removesuffix('.pth')}{end}")


def test_learning_rate_rises_and_falls() -> None:
    trainer = Trainer(Settings(epochs=10, steps=100, rate=1.0))
    rates = [trainer.settings.rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 20)
    assert max(rates) == rates[20] == 1.0
    assert rates[-1] < 1e-5
    assert rates[510] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


def test_divergence_stops_the_training() -> None:
    trainer = Trainer(SMALL)
    broken = item(0)
    broken.image[:] = np.nan
    with pytest.raises(InputError, match=r"step 1: the training has diverged; got loss nan"):
        trainer.run_epoch(draw(Steps([broken], trainer.settings), trainer.steps))


def test_crop_must_fit_the_levels() -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        Settings(edge=100, widths=(1, 4, 8, 16, 32))


@pytest.mark.slow
def test_a_short_training_learns_discs(tmp_path: Path) -> None:
    settings = Settings(
        epochs=1, steps=90, batch=4, edge=48, widths=(1, 8, 12, 16), diameter=12.0, rate=5e-3
    )
    trainer = Trainer(settings)
    output = tmp_path / "discs.pth"
    fit(trainer, [item(n) for n in range(6)], [], output, report=print)
    test = [item(100), item(101)]
    assert average_precision(trainer.network, test)[0] > 0.7
    found = segment(trainer.network, test[0].image, test[0].diameter)
    assert found.shape == test[0].labels.shape and 12 <= found.max() <= 24
    network = load(output)
    assert (network.channels, network.diam_mean) == (1, 12.0)


# -- command ----------------------------------------------------------------------------------


def test_command(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path / "cells", f"{seed}.tif", *discs(seed))
    output = tmp_path / "models" / "cells.pth"
    output.parent.mkdir()
    small = ["--epochs", "1", "--steps", "2", "--batch", "2", "--crop", "32"]
    small += ["--widths", "4,8", "--holdout-every", "3"]
    given = [str(tmp_path / "cells"), "--output", str(output), *small, "--licence", "CC0-1.0"]
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 items to train on, 1 held out" in done.output
    assert "held_out_loss" in done.output
    info = identify(output)
    assert (info.licence, info.diam_mean) == ("CC0-1.0", 17.0)
    card = output.with_suffix(".md").read_text()
    assert info.digest in card and "| cells | 2 | 2 | 1 | unstated |" in card
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="a training run already exists here"):
        CliRunner().invoke(command, given, catch_exceptions=False)


def test_a_card_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", "my cells", "--init", "https://me:secret@host/net.pth?sig=hidden"]
    words += ["--resume"]  # which does not repeat it
    monkeypatch.setattr("sys.argv", ["/usr/bin/terapose", *words])
    assert _called() == "terapose train 'my cells' --init 'https://***@host/net.pth?sig=***'"
