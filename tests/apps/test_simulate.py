"""Scenes are pure functions of position and seed, look like nuclei, and are written whole."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy import ndimage

from terapose.apps.simulate.scene import Scene, slide, slide_scene, volume
from terapose.apps.simulate.write import labels_path, write
from terapose.cli.simulate import command
from terapose.core.errors import InputError
from terapose.io.images.array_like import open_labels
from terapose.io.images.opening import open_image

SMALL = Scene((30, 60, 56), seed=3, diameter=10)
SCENES = {
    "volume": SMALL,
    "channels": Scene((12, 50, 44), seed=5, channels=3),
    "slide": slide_scene((90, 130), seed=4, channels=4),
    "isotropic": Scene((20, 30, 30), seed=9, voxel_size=(1, 1, 1), blur=(0, 0, 0)),
}


def whole(scene: Scene) -> tuple[slice, slice, slice]:
    z, y, x = scene.shape
    return slice(0, z), slice(0, y), slice(0, x)


@pytest.mark.parametrize("name", SCENES)
def test_any_blocks_give_the_same_voxels(name: str) -> None:
    scene = SCENES[name]
    image, labels = scene.read(whole(scene))
    assert labels.any()
    for corner in product(*(range(0, n, b) for n, b in zip(scene.shape, (7, 23, 31), strict=True))):
        block = zip(corner, (7, 23, 31), scene.shape, strict=True)
        z, y, x = (slice(a, min(a + b, n)) for a, b, n in block)
        part, ids = scene.read((z, y, x))
        np.testing.assert_array_equal(part, image[:, z, y, x])
        np.testing.assert_array_equal(ids, labels[z, y, x])


def test_the_shape_changes_no_voxel() -> None:
    larger = replace(SMALL, shape=(50, 70, 90))
    image, labels = SMALL.read(whole(SMALL))
    same_image, same_labels = larger.read(whole(SMALL))
    np.testing.assert_array_equal(image, same_image)
    np.testing.assert_array_equal(labels > 0, same_labels > 0)


def test_seed_decides() -> None:
    shape = (8, 40, 40)
    one, again, other = volume(shape, seed=1), volume(shape, seed=1), volume(shape, seed=2)
    np.testing.assert_array_equal(one[0], again[0])
    assert (one[1] != other[1]).mean() > 0.1
    # Noise, too, is another one: background voxels of both do not agree.
    background = (one[1] == 0) & (other[1] == 0)
    assert np.corrcoef(one[0][background], other[0][background])[0, 1] < 0.3


def test_volume_is_realistic() -> None:
    image, labels = volume((48, 160, 160), seed=1)
    assert image.dtype == np.uint16
    assert labels.dtype == np.uint32
    count = int(labels.max())
    assert np.array_equal(np.unique(labels), np.arange(count + 1))
    assert 0.1 < (labels > 0).mean() < 0.4
    # Nuclei vary in brightness and size, and are brighter than what is around them.
    means = ndimage.mean(image, labels, np.arange(1, count + 1))
    background = image[ndimage.distance_transform_edt(labels == 0) > 4]
    assert np.percentile(means, 5) > np.median(background) + 30
    assert np.percentile(means, 95) > 1.7 * np.percentile(means, 5)
    inside = [
        n
        for n, box in enumerate(ndimage.find_objects(labels), 1)
        if all(s.start > 0 and s.stop < m for s, m in zip(box, labels.shape, strict=True))
    ]
    sizes = np.bincount(labels.ravel())[inside] * 2.0 * 0.8 * 0.8
    diameters = np.cbrt(6 * sizes / np.pi)
    assert 9 < float(np.median(diameters)) < 13
    assert np.percentile(diameters, 95) > 1.4 * np.percentile(diameters, 5)
    # Many touch: a label next to another one.
    pairs = [(labels[:, :, :-1], labels[:, :, 1:]), (labels[:, :-1], labels[:, 1:])]
    touching = {int(a) for p, q in pairs for a in p[(p != q) & (p > 0) & (q > 0)]}
    assert len(touching) > 0.2 * count
    # Each is in one piece, but for a sliver here and there that a neighbour cuts off.
    pieces = sum(
        ndimage.label(labels[b] == n, np.ones((3, 3, 3)))[1] > 1
        for n, b in enumerate(ndimage.find_objects(labels), 1)
    )
    assert pieces <= 0.01 * count


def test_blur_is_stronger_along_z() -> None:
    clean = {"gain": 1e-3, "read_noise": 0.0, "texture": 0.0, "voxel_size": (1, 1, 1)}
    image, _ = volume((64, 64, 64), seed=2, brightness=3000, **clean)
    slopes = [np.abs(np.diff(image.astype(float), axis=axis)).max() for axis in range(3)]
    assert slopes[0] < 0.6 * min(slopes[1:])


def test_camera_noise_has_the_variance_of_photons() -> None:
    scene = Scene((8, 128, 128), 1, density=0.0, gain=5.0, background=200.0, read_noise=3.0)
    image = scene.read(whole(scene))[0][0].astype(float)
    noise = image - ndimage.uniform_filter(image, 9)
    photons = (image.mean() - scene.offset) / scene.gain
    expected = scene.gain**2 * photons + scene.read_noise**2
    assert noise.var() == pytest.approx(expected, rel=0.06)


def test_dividing_pairs_are_two_close_instances() -> None:
    _, alone = volume((40, 100, 100), seed=1, dividing=0.0, density=0.3)
    _, pairs = volume((40, 100, 100), seed=1, dividing=1.0, density=0.3)
    assert 1.5 * alone.max() < pairs.max() < 2.1 * alone.max()


def test_slide_markers_differ() -> None:
    image, labels = slide((256, 256), seed=2, channels=4)
    assert image.shape == (4, 256, 256)
    assert labels.shape == (256, 256)
    nuclei, bodies = image[0].astype(float), image[1].astype(float)
    assert nuclei[labels > 0].mean() > 2 * nuclei[labels == 0].mean()
    ring = (labels == 0) & ndimage.binary_dilation(labels > 0, iterations=3)
    assert bodies[ring].mean() > 1.3 * bodies[labels > 0].mean()
    marked = ndimage.mean(image[3], ndimage.grey_dilation(labels, 5), np.arange(1, labels.max()))
    assert np.percentile(marked, 95) > 1.4 * np.percentile(marked, 30)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"shape": (0, 5, 5)},
            "shape: out of range; got (0, 5, 5); allowed: three numbers above 0",
        ),
        ({"diameter": 0.0}, "diameter: out of range; got 0.0; allowed: above 0"),
        ({"diameter": math.inf}, "diameter: out of range; got inf; allowed: above 0"),
        ({"brightness": math.inf}, "brightness: out of range"),
        ({"voxel_size": (1.0, math.inf, 1.0)}, "voxel_size: out of range"),
        ({"density": 2.0}, "density: out of range"),
        ({"seed": -1}, "seed: out of range"),
        ({"planar": True}, "shape: a planar scene has one plane"),
        ({"shape": (10**5, 10**5, 10**5), "diameter": 2.0}, "more nuclei than 32-bit labels"),
    ],
)
def test_bad_values_are_named(options: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as error:
        replace(SMALL, **options)  # type: ignore[arg-type]
    assert text in str(error.value)


@pytest.mark.parametrize("name", ["volume", "channels", "slide"])
@pytest.mark.parametrize("end", ["ome.zarr", "ome.tif"])
def test_written_files_hold_the_scene(name: str, end: str, tmp_path: Path) -> None:
    scene = SCENES[name]
    path, labels = write(scene, tmp_path / f"a.{end}", workers=2)
    assert labels == labels_path(path)
    expected_image, expected_labels = scene.read(whole(scene))
    image = open_image(path)
    assert image.shape == scene.shape
    assert image.channels == scene.channels
    assert image.voxel_size == pytest.approx(scene.voxel_size)
    for channel in range(scene.channels):
        np.testing.assert_array_equal(
            image.read(whole(scene), channel + 1), expected_image[channel]
        )
    np.testing.assert_array_equal(open_labels(labels)[whole(scene)], expected_labels)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, labels.name])


def test_pyramid_levels_are_means_and_true_labels(tmp_path: Path) -> None:
    scene = slide_scene((300, 1500), seed=1, channels=1)
    path, labels = write(scene, tmp_path / "a.zarr")
    finest, coarse = open_image(path), open_image(path, level=1)
    assert coarse.shape == (1, 150, 750)
    full = finest.read(whole(scene))[0].astype(float)
    means = full.reshape(150, 2, 750, 2).mean((1, 3))
    level = coarse.read((slice(0, 1), slice(0, 150), slice(0, 750)))[0]
    assert np.abs(level - means).max() <= 1
    ids = open_image(str(labels / "nuclei"), level=1)
    np.testing.assert_array_equal(
        ids.read((slice(0, 1), slice(0, 150), slice(0, 750)))[0],
        open_labels(labels)[whole(scene)][0, ::2, ::2],
    )


def test_ome_zarr_py_reads_what_was_written(tmp_path: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    path, _ = write(SCENES["slide"], tmp_path / "a.zarr")
    location = parse_url(str(path))
    assert location is not None
    node = next(iter(Reader(location)()))
    assert node.data[0].shape == (4, 90, 130)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "y", "x"]
    names = ["nuclei", "cell bodies", "marker 1", "marker 2"]
    assert node.metadata["channel_names"] == names


def test_write_refuses_what_is_there(tmp_path: Path) -> None:
    scene = Scene((4, 16, 16), seed=1)
    write(scene, tmp_path / "a.tif")
    with pytest.raises(InputError, match="already exists"):
        write(scene, tmp_path / "a.tif")
    write(replace(scene, seed=2), tmp_path / "a.tif", overwrite=True)
    expected = replace(scene, seed=2).read(whole(scene))[0][0]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)
    with pytest.raises(InputError, match="does not indicate the format"):
        write(scene, tmp_path / "a.png")


def test_command(tmp_path: Path) -> None:
    out = tmp_path / "demo.zarr"
    arguments = [str(out), "--shape", "6,30,28", "--seed", "3", "--voxel-size", "1.5,0.5,0.5"]
    result = CliRunner().invoke(command, [*arguments, "--diameter", "6"])
    assert result.exit_code == 0, result.output
    assert f"labels: {tmp_path / 'demo.labels.zarr'}" in result.output
    scene = Scene((6, 30, 28), 3, voxel_size=(1.5, 0.5, 0.5), diameter=6)
    np.testing.assert_array_equal(
        open_image(out).read(whole(scene)), scene.read(whole(scene))[0][0]
    )
    wrong = CliRunner().invoke(command, [str(out), "--shape", "6,x"])
    assert wrong.exit_code == 2
    assert "'6,x' is not 2 or 3 whole numbers" in wrong.output
