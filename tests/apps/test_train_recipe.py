"""What the shipped network's recipe adds to training, and the recipe on tiny data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch
from benchmarks.nuclei_data import Amounts, compacted, divide, read_pool, score
from benchmarks.train_nuclei import LARGE, RECIPE, Drawn, Trial, best, run
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from terapose.apps.train.augment import FAULTS, TAPERS, crop
from terapose.apps.train.batches import Steps, draw
from terapose.apps.train.composed import composed_volumes, crowded_items, cut_nuclei
from terapose.apps.train.data import Item, compact, make_item, median_diameter, normalise
from terapose.apps.train.loop import Trainer, fit, prepare
from terapose.apps.train.saving import checkpoint_of
from terapose.apps.train.settings import Settings
from terapose.apps.train.small import restore_small, save_small, small_of
from terapose.apps.train.step import loss_of
from terapose.core.errors import InputError
from terapose.networks.files import identify
from terapose.networks.weights import resolve

SMALL = Settings(epochs=4, steps=3, batch=2, edge=32, widths=(1, 4, 6, 8), diameter=10.0)
AVERAGED = replace(SMALL, average=0.9)


pytestmark = pytest.mark.usefixtures("one_thread")


def discs(seed: int, edge: int = 80) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """An image of bright discs of 9 to 15 pixels, none at its edge, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:edge, :edge]
    labels = np.zeros((edge, edge), np.uint16)
    for number, (row, column) in enumerate(np.ndindex(edge // 20, edge // 20), start=1):
        centre = 10 + 20 * np.array([row, column]) + rng.uniform(-2, 2, 2)
        labels[np.hypot(y - centre[0], x - centre[1]) < rng.uniform(4.5, 7.5)] = number
    image = (labels > 0) * 100.0 + rng.normal(20, 4, labels.shape)
    return image.clip(0).astype(np.uint16), labels


def item(seed: int, edge: int = 80) -> Item:
    image, labels = discs(seed, edge)
    return make_item(f"{seed}.tif", 0, normalise(image)[None], labels, median_diameter(labels))


# -- settings and loss ------------------------------------------------------------------------


def test_each_cycle_is_twice_as_long_and_starts_anew() -> None:
    settings = Settings(epochs=7, steps=100, rate=1.0, cycles=3)
    rates = np.array([settings.rate_at(step) for step in range(700)])
    peaks = [int(np.argmax(rates[a:b])) + a for a, b in ((0, 100), (100, 300), (300, 700))]
    assert peaks == [1, 103, 307] and (rates[peaks] == 1.0).all()
    assert (rates[[99, 299, 699]] < 1e-3).all()


def test_flow_weight_scales_the_flows_alone() -> None:
    rng = np.random.default_rng(0)
    output = torch.from_numpy(rng.normal(size=(2, 3, 8, 8)).astype(np.float32))
    target = torch.from_numpy(rng.random((2, 3, 8, 8)).astype(np.float32))
    none, one, half = (float(loss_of(output, target, weight)) for weight in (0.0, 1.0, 0.5))
    assert half == pytest.approx((none + one) / 2)
    moved = output.clone()
    moved[:, :2] += 1
    assert float(loss_of(moved, target, 0.0)) == none < one


def test_checkpoints_older_than_a_setting_go_on() -> None:
    theirs = {"epochs": 4, "steps": 3, "batch": 2, "edge": 32, "widths": [1, 4, 6, 8]}
    SMALL.check_same({**theirs, "diameter": 10.0}, where=Path("old"))
    with pytest.raises(InputError, match=r"other settings; got average 0.9; allowed: average 0.0"):
        AVERAGED.check_same({**theirs, "diameter": 10.0}, where=Path("old"))


# -- average and checkpoints ------------------------------------------------------------------


def test_average_follows_the_weights() -> None:
    trainer = Trainer(AVERAGED)
    before = trainer.network.state_dict()["output.2.weight"].clone()
    trainer.settings = replace(AVERAGED, steps=1)
    trainer.run_epoch(draw(Steps([item(0)], trainer.settings), trainer.steps))
    after = trainer.network.state_dict()["output.2.weight"]
    kept = trainer.kept()["output.2.weight"]
    expected = torch.lerp(before, after, 0.9)  # the first step keeps a tenth of the start
    assert torch.allclose(kept, expected, rtol=1e-6, atol=1e-8)
    assert not torch.equal(after, before)


def trained(tmp_path: Path, name: str, *, stop: int | None = None, resume: bool = False) -> bytes:
    trainer = Trainer(AVERAGED)
    output = tmp_path / f"{name}.pth"
    prepare(trainer, output, resume=resume, overwrite=False)

    def report(line: str) -> None:
        if stop is not None and line.startswith(f"epoch {stop}"):
            raise KeyboardInterrupt

    fit(trainer, [item(0), item(1)], [], output, report=report)
    return b"".join(value.numpy().tobytes() for value in trainer.scored.state_dict().values())


def test_resumed_average_is_bit_identical(tmp_path: Path) -> None:
    whole = trained(tmp_path, "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "broken", stop=2)
    assert trained(tmp_path, "broken", resume=True) == whole


def test_small_checkpoint_is_small_and_close(tmp_path: Path) -> None:
    settings = replace(AVERAGED, widths=(1, 16, 32, 48))
    trainer = Trainer(settings)
    trainer.run_epoch(draw(Steps([item(0)], trainer.settings), trainer.steps))
    path = tmp_path / "net.small"
    save_small(trainer, path)
    weights = sum(weight.numel() for weight in trainer.network.parameters())
    assert path.stat().st_size < 4.5 * weights + 120_000  # names and shapes of some 200 arrays

    other = Trainer(replace(settings))
    restore_small(other, path)
    assert (other.epoch, other.history) == (trainer.epoch, trainer.history)
    theirs = trainer.scored.state_dict()
    for state in (other.network.state_dict(), other.scored.state_dict()):
        for name, value in state.items():
            assert torch.allclose(value.float(), theirs[name].float(), rtol=1e-3, atol=1e-6)
    saved = trainer.optimiser.state_dict()["state"]
    for number, state in other.optimiser.state_dict()["state"].items():
        assert float(state["step"]) == float(saved[number]["step"]) == 3
        assert torch.allclose(state["exp_avg_sq"], saved[number]["exp_avg_sq"], rtol=1e-2)
    assert np.isfinite(other.run_epoch(draw(Steps([item(0)], other.settings), other.steps)))


def test_small_checkpoint_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "no.small").write_text("no")
    with pytest.raises(InputError, match="not a small checkpoint"):
        restore_small(Trainer(SMALL), tmp_path / "no.small")
    save_small(Trainer(SMALL), tmp_path / "net.small")
    with pytest.raises(InputError, match=r"other settings; got average 0\.9"):
        restore_small(Trainer(AVERAGED), tmp_path / "net.small")


# -- crops ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_spoil_the_image_and_never_the_target(fault: str) -> None:
    whole = item(1)
    for seed in range(40):
        plain, spoilt = (
            crop(whole, np.random.default_rng(seed), edge=64, diameter=10.0, faults=faults)
            for faults in ((), (fault,))
        )
        assert np.array_equal(plain[1], spoilt[1])
        assert spoilt[0].dtype == np.float32 and np.isfinite(spoilt[0]).all()


@pytest.mark.parametrize("given", [{"faults": ("dimm",)}, {"taper": "flow"}])
def test_faults_and_tapers_that_are_not_known(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"is not known; got (dimm|flow); allowed"):
        Settings(**given)


def test_what_falls_off_towards_outlines() -> None:
    flows, none, both = (
        crop(item(1), np.random.default_rng(0), edge=96, diameter=12.0, taper=taper)[1]
        for taper in TAPERS
    )
    inside = flows[2] == 1
    assert np.array_equal(none[2], flows[2]) and np.array_equal(both[2] > 0.5, inside)
    assert ((both[2] > 0) & (both[2] < 1)).any() and set(np.unique(flows[2])) == {0, 1}
    assert np.array_equal(flows[:2], both[:2])
    lengths = [np.hypot(*target[:2]) for target in (flows, none)]
    assert lengths[0][inside].min() < 0.8 and lengths[0][~inside].max() > 0
    centres = lengths[0][inside] < 1e-3  # where nothing points anywhere
    assert np.allclose(lengths[1][inside][~centres], 1, atol=1e-5) and centres.mean() < 0.01
    assert not lengths[1][~inside].any()


def test_crops_have_the_sizes_that_scales_allow() -> None:
    whole = item(2, 200)
    sizes = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        _, target = crop(whole, rng, edge=128, diameter=12.0, scales=(0.5, 2.0))
        inside = target[2] > 0
        sizes.append(inside.sum() / max(1, np.abs(np.diff(inside.astype(int))).sum()))
    # Area by length of outline goes with the size of discs.
    assert max(sizes) / min(sizes) > 2.5


def test_compact_items_give_the_same_crops() -> None:
    whole = item(3)
    for seed in range(6):
        one, other = (
            crop(i, np.random.default_rng(seed), edge=48, diameter=12.0, faults=FAULTS)
            for i in (whole, compact(whole))
        )
        assert np.allclose(one[0], other[0], atol=0.01)
        assert np.allclose(one[1], other[1], atol=0.01)


# -- composed of real nuclei ------------------------------------------------------------------


def test_nuclei_are_whole_and_scaled() -> None:
    whole = item(4)
    nuclei = cut_nuclei([whole], 2 * whole.diameter, seed=0)
    assert 10 <= len(nuclei) <= 12  # no more of an image, and what is too near its edge is not cut
    sizes = [median_diameter(nucleus.inside.astype(int)) for nucleus in nuclei]
    assert np.median(sizes) == pytest.approx(2 * whole.diameter, rel=0.2)
    for nucleus in nuclei:
        assert 0.8 < np.median(nucleus.light[nucleus.inside]) < 1.2
        assert nucleus.light[0].max() < 0.3  # no light of a neighbour at the margin
    labels = np.zeros((40, 40), np.int32)
    labels[:12, 10:22] = 1
    cut_off = make_item("", 0, (labels > 0)[None].astype(np.float32), labels, 12.0)
    assert cut_nuclei([cut_off], 12.0, seed=0) == []


def test_crowded_nuclei_touch() -> None:
    nuclei = cut_nuclei([item(4), item(5)], 14.0, seed=0)
    first, again = (list(crowded_items(nuclei, 3, 6, seed=1)) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert {field.source for field in first} == {6}
    densest = max(first, key=lambda field: (field.labels > 0).mean())
    left, right = densest.labels[:, :-1], densest.labels[:, 1:]
    assert ((left != right) & (left > 0) & (right > 0)).sum() > 30
    for field in first:
        inside = field.labels > 0
        assert field.image[0][inside].mean() > field.image[0][~inside].mean() + 0.2


def test_volumes_hold_bodies_as_deep_as_wide() -> None:
    nuclei = cut_nuclei([item(4), item(5)], 14.0, seed=0)
    planes = list(composed_volumes(nuclei, 1, 2, seed=3))
    shapes = {p.name.split(":")[1][:2]: p.labels.shape for p in planes}
    assert shapes["YX"] == (112, 112) and shapes["ZX"][0] == pytest.approx(48, abs=3)
    extents = [
        [max(s.stop - s.start for s in box) for p in planes if way in p.name
         for box in find_objects(p.labels)]
        for way in (":YX", ":ZX")
    ]  # fmt: skip
    across, along = (float(np.percentile(extent, 90)) for extent in extents)
    assert 0.7 < along / across < 1.4


# -- the recipe -------------------------------------------------------------------------------


def test_recipe_stays_within_the_limits_of_a_shipped_network() -> None:
    network = Trainer(RECIPE).network
    assert sum(weight.numel() for weight in network.parameters()) * 4 < 10e6
    # the network that is shipped, in half precision
    shipped = Trainer(LARGE).network.state_dict()
    assert {name: value.shape for name, value in shipped.items()} == {
        name: value.shape
        for name, value in torch.load(resolve("nuclei-large"), weights_only=True).items()
    }
    assert resolve("nuclei-large").stat().st_size < 10e6


def test_validation_part_is_apart() -> None:
    pairs = [(Path(f"{n}.tif"), Path(f"{n}.tif")) for n in range(20)]
    kept, chosen = divide(pairs, 8)
    assert [pair[0].stem for pair in chosen] == ["3", "11", "19"]
    assert not set(kept) & set(chosen) and len(kept) == 17


def tiny_data(root: Path) -> Path:
    """The layout of the data sets; what is held out cannot be read, so that reading it fails."""
    planar, embryos = root / "nuclei2d_dsb2018", root / "nuclei3d_embryo"
    for kind in ("images", "labels"):
        (planar / kind).mkdir(parents=True)
        (embryos / kind).mkdir(parents=True)
    for number in range(11):
        for kind, array in zip(("images", "labels"), discs(number), strict=True):
            path = planar / kind / f"{number:02d}.tif"
            if number % 5 == 0 or number == 1:  # 01 is in BBBC039, too
                path.write_text("held out")
            else:
                tifffile.imwrite(path, array)
    (planar / "also_in_bbbc039.json").write_text(json.dumps(["01.tif"]))
    for number in (1, 8, 9, 10, 11):
        for kind, array in zip(("images", "labels"), discs(number, 60), strict=True):
            path = embryos / kind / f"Emb{number:02d}_t301.tif"
            if number > 8:
                path.write_text("held out")
            else:
                tifffile.imwrite(path, np.stack([array] * 6))
    (root / "nuclei3d_plant").mkdir()
    with h5py.File(root / "nuclei3d_plant" / "1135_mini.h5", "w") as file:
        for name, array in zip(("raw", "label"), discs(30, 100), strict=True):
            half = np.stack([array] * 50)
            file[name] = np.concatenate([half, np.full_like(half, 60000)])
    return root


def test_recipe_on_tiny_data(tmp_path: Path) -> None:
    pool = read_pool(tiny_data(tmp_path), seed=0)
    amounts = Amounts(1, 1, 2, 1)
    planar = sorted(i.name for i in pool.real if i.source == 0)
    assert planar == ["02.tif", "03.tif", "04.tif", "07.tif", "08.tif", "09.tif"]
    assert [i.name for i in pool.validation["2D"]] == ["06.tif"]
    planes = pool.validation["embryo planes"]
    assert planes and all("Emb08" in i.name for i in planes)

    def sources(amounts: Amounts) -> set[int]:
        return {item.source for make in pool.jobs(amounts, 0) for item in compacted(make)}

    assert {i.source for i in pool.real} == set(range(5))
    assert sources(amounts) == {5, 6, 7, 8}
    assert sources(replace(amounts, slides=0, composed=0)) == {5, 7}
    batch, _ = Drawn(pool, Trial(RECIPE, amounts=amounts), None)[0]
    assert batch.shape == (8, 1, 128, 128)

    trial = Trial(replace(AVERAGED, epochs=2, diameter=17.0), amounts=amounts)
    output = tmp_path / "net.pth"
    run(trial, pool, output, seconds=0.0)  # no time: no epoch
    assert not checkpoint_of(output).exists()
    run(trial, pool, output)
    lines = [json.loads(line) for line in output.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and "choice" in lines[-1]
    assert identify(output).diam_mean == 17.0

    again = Trainer(trial.settings)
    restore_small(again, small_of(output))
    assert again.finished and best(again) == pytest.approx(lines[-1]["choice"], abs=1e-3)
    assert set(score(again.scored, pool)) == {name for name in lines[-1] if name in score_names()}


def test_other_processes_draw_and_make_the_same(tmp_path: Path) -> None:
    pool = read_pool(tiny_data(tmp_path), seed=0)
    settings = replace(AVERAGED, epochs=4, diameter=17.0)
    trial = Trial(settings, amounts=Amounts(0, 1, 2, 0), scored_every=2, made_every=1)
    states = []
    for workers in (0, 2):
        output = tmp_path / f"net{workers}.pth"
        run(trial, pool, output, workers=workers)
        states.append(torch.load(checkpoint_of(output))["averaged"])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def score_names() -> set[str]:
    groups = ("2D", "2D, one diameter", "embryo planes", "plant planes")
    return {f"{group} {t}" for group in groups for t in (0.5, 0.75, 0.9)} | {"choice"}
