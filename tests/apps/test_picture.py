"""Pictures are true to scale, show what they should, and read no more than they must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from terapose.apps.picture import three_views
from terapose.apps.simulate.scene import Scene
from terapose.apps.simulate.write import write
from terapose.cli.picture import command
from terapose.core.errors import InputError


class Counting:
    """An array that counts the voxels read from it."""

    def __init__(self, array: np.ndarray, shape: tuple[int, int, int]) -> None:
        self.array, self.shape, self.dtype, self.read = array, shape, array.dtype, 0

    def __getitem__(self, region: Any) -> np.ndarray:
        size = tuple(part.stop - part.start for part in region)
        self.read += int(np.prod(size))
        return np.broadcast_to(self.array, size)


def box_volume() -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((10, 40, 60), np.uint32)
    labels[2:6, 5:20, 30:50] = 9
    labels[2:6, 20:30, 30:50] = 10
    return (labels > 0).astype(np.uint16) * 500 + 100, labels


def pixels(path: Path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3]


def test_panels_are_true_to_scale(tmp_path: Path) -> None:
    image, labels = box_volume()
    for size, ratio in (((1.0, 1.0, 1.0), 1.0), ((4.0, 1.0, 1.0), 4.0)):
        path = tmp_path / "picture.png"
        three_views(image, np.zeros_like(labels), path, voxel_size=size, at=(3, 10, 40))
        shown = pixels(path).mean(-1)
        # The boxes are all that is bright in the first panel: 25 by 20 voxels.
        panel = shown[:, : int(shown.shape[1] * 60 / (60 + 10 * ratio))]
        rows = np.flatnonzero((panel > 0.6).sum(1) > 40)
        first = rows[: np.flatnonzero(np.diff(rows) > 20)[0] + 1]
        below = rows[np.flatnonzero(np.diff(rows) > 20)[-1] + 1 :]
        pixel = len(first) / 25
        assert len(below) == pytest.approx(4 * ratio * pixel, rel=0.12)


def test_each_instance_has_its_colour_and_the_reference_is_white(tmp_path: Path) -> None:
    image, labels = box_volume()
    grey, own, both = tmp_path / "grey.png", tmp_path / "own.png", tmp_path / "both.png"
    three_views(image, np.zeros_like(labels), grey, at=(3, 10, 40))
    three_views(image, labels, own, at=(3, 10, 40))
    three_views(image, np.zeros_like(labels), both, at=(3, 10, 40), reference=labels)
    saturation = np.ptp(pixels(own), axis=-1)
    assert np.ptp(pixels(grey), axis=-1).max() < 0.1
    coloured = pixels(own)[saturation > 0.5]
    hues = {tuple(np.round(c / c.max(), 1)) for c in coloured}
    assert len(coloured) > 500
    assert len(hues) >= 2
    assert np.ptp(pixels(both), axis=-1).max() < 0.1
    assert (np.abs(pixels(both) - pixels(grey)) > 0.2).any()


def test_shows_the_fullest_sections(tmp_path: Path) -> None:
    image, labels = box_volume()
    z, y, x = three_views(image, labels, tmp_path / "p.png")
    assert (2 <= z < 6, 5 <= y < 30, 30 <= x < 50) == (True, True, True)
    empty = three_views(image, np.zeros_like(labels), tmp_path / "p.png")
    assert empty == (5, 20, 30)


def test_large_volumes_are_read_by_planes(tmp_path: Path) -> None:
    shape = (400, 3200, 3000)
    image = Counting(np.full((1, 1, 1), 7, np.uint16), shape)
    labels = Counting(np.zeros((1, 1, 1), np.uint32), shape)
    assert three_views(image, labels, tmp_path / "p.png") == (200, 1600, 1500)
    assert image.read == labels.read == 400 * 3200 + 400 * 3000 + 3200 * 3000


def test_sections_of_a_thin_wide_volume_are_thinned_along_their_long_side_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, size, drawn = (5, 40, 20_009), (400.0, 2.0, 1.0), []
    labels = np.zeros(shape, np.uint32)
    labels[2:4, 10:30, 7_000:12_000] = 3
    monkeypatch.setattr("terapose.apps.picture.save", lambda figure, *_, **__: drawn.append(figure))
    three_views(labels, labels, tmp_path / "p.png", voxel_size=size, at=(3, 20, 9_000))
    yx, zx, zy = drawn[0].axes
    assert [axes.images[0].get_size() for axes in (yx, zx, zy)] == [(40, 1430), (5, 1430), (40, 5)]
    # the limits are those of the volume, the pixels have the size that they stand for
    assert (zx.get_xlim(), zx.get_ylim()) == ((0, 20_009), (2_000, 0))
    assert zx.images[0].get_extent() == [0, 1430 * 14, 2_000, 0]
    for axes, low, high in (
        (yx, (7_000, 20), (12_000, 60)),
        (zx, (7_000, 800), (12_000, 1_600)),
        (zy, (800, 20), (1_600, 60)),
    ):
        points = np.concatenate(axes.collections[0].get_segments())
        widest = 14 if axes is not zy else 400
        assert points.min(0) == pytest.approx(low, abs=widest)
        assert points.max(0) == pytest.approx(high, abs=widest)


@pytest.mark.parametrize(
    "shape", [(20, 12_000, 60), (1, 1_500, 6), (20, 60, 12_000), (9_000, 5, 6), (3, 700, 90)]
)
def test_no_shape_makes_a_picture_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int]
) -> None:
    drawn = []
    monkeypatch.setattr("terapose.apps.picture.save", lambda figure, *_, **__: drawn.append(figure))
    labels = np.zeros(shape, np.uint8)
    three_views(labels, labels, tmp_path / "p.png")
    width, height = drawn[0].get_size_inches()
    assert width <= 11 and height < 42
    z, y, x = shape
    scales = [
        edge * inches / voxels
        for axes, sides in zip(drawn[0].axes, ((x, y), (x, z), (z, y)), strict=False)
        for edge, inches, voxels in zip(
            axes.get_position().size, (width, height), sides, strict=True
        )
    ]
    assert scales == pytest.approx([scales[0]] * len(scales))
    assert all(axes.get_position().xmax <= 1 for axes in drawn[0].axes)


def test_single_planes_have_one_panel(tmp_path: Path) -> None:
    image, labels = box_volume()
    three_views(image[3:4], labels[3:4], tmp_path / "p.png", title="A $lide$_$\nwith nuclei")
    height, width = pixels(tmp_path / "p.png").shape[:2]
    assert height / width == pytest.approx(40 / 60, abs=0.12)


def test_of_a_large_slide_a_window_is_read(tmp_path: Path) -> None:
    shape = (1, 20_000, 15_000)
    image = Counting(np.full((1, 1, 1), 7, np.uint16), shape)
    labels = Counting(np.zeros((1, 1, 1), np.uint32), shape)
    assert three_views(image, labels, tmp_path / "p.png") == (0, 10_000, 7_500)
    assert image.read == labels.read == 1500 * 1500
    at = (0, 19_990, 3)
    whole = np.zeros((1, 2000, 1600), np.uint32)
    whole[0, 1990:1998, 2:9] = 5
    assert three_views(image, labels, tmp_path / "p.png", at=at) == at
    # what lies at the position is seen, in its colour
    three_views(whole, whole, tmp_path / "q.png", at=(0, 1995, 3))
    assert np.ptp(pixels(tmp_path / "q.png"), axis=-1).max() > 0.5


def test_voxels_that_are_no_numbers_do_not_hide_the_others(tmp_path: Path) -> None:
    image, labels = box_volume()
    whole, some = tmp_path / "whole.png", tmp_path / "some.png"
    three_views(image, np.zeros_like(labels), whole, at=(3, 10, 40))
    for wrong in (np.nan, np.inf, -np.inf):
        spoilt = image.astype(np.float32)
        spoilt[3, 2, 2] = wrong
        three_views(spoilt, np.zeros_like(labels), some, at=(3, 10, 40))
        assert (np.abs(pixels(some) - pixels(whole)) > 0.02).mean() < 0.02
    three_views(np.full_like(spoilt, np.nan), np.zeros_like(labels), some, at=(3, 10, 40))
    assert pixels(some).std() < 0.1


def test_bad_input_is_named(tmp_path: Path) -> None:
    image, labels = box_volume()
    with pytest.raises(InputError, match="labels: not the shape of the image"):
        three_views(image, labels[1:], tmp_path / "p.png")
    with pytest.raises(InputError, match="at: outside of the image"):
        three_views(image, labels, tmp_path / "p.png", at=(10, 0, 0))
    with pytest.raises(InputError, match="the picture cannot be written"):
        three_views(image, labels, tmp_path / "none" / "p.png")
    assert not list(tmp_path.iterdir())


def test_command(tmp_path: Path) -> None:
    image, labels = write(Scene((8, 40, 40), seed=1), tmp_path / "a.zarr")
    out = tmp_path / "a.png"
    result = CliRunner().invoke(
        command, [str(image), str(labels), str(out), "--at", "4,20,20", "--reference", str(labels)]
    )
    assert result.exit_code == 0, result.output
    assert "sections through voxel 4, 20, 20" in result.output
    assert pixels(out).shape[1] == 1650


def test_a_result_tells_what_was_segmented(tmp_path: Path) -> None:
    """Its channel, its level, its voxel size: not channel 1 of a slide with forty."""
    labels = np.zeros((40, 60), np.uint32)
    labels[5:30, 30:50] = 1
    planes = np.stack([np.zeros_like(labels), labels * 200]).astype(np.uint8)
    image, out = tmp_path / "slide.tif", tmp_path / "p.png"
    tifffile.imwrite(image, planes, metadata={"axes": "CYX"}, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", labels)

    def brightness(*words: str) -> float:
        words = (str(image), str(tmp_path / "labels.tif"), str(out), *words)
        assert CliRunner().invoke(command, [*words]).exit_code == 0
        return float(pixels(out).mean())

    first, second = brightness(), brightness("--channel", "2")
    assert second > 2 * first
    record = tmp_path / "provenance.json"
    known = {"channels": [2, 1], "level": 0, "voxel_size": [1.0, 0.5, 0.5]}
    record.write_text(json.dumps({"image": {"address": str(image), **known}}))
    assert brightness() == pytest.approx(second, rel=0.05)
    assert brightness("--channel", "1") == pytest.approx(first, rel=0.05)
    words = [str(image), str(tmp_path / "labels.tif"), str(out), "--channel", "0"]
    refused = CliRunner().invoke(command, words).exception
    assert isinstance(refused, InputError) and "there is no such channel; got 0" in str(refused)
    for other in ("another", json.dumps({"image": {"address": "other.tif", **known}})):
        record.write_text(other)
        assert brightness() == first
