"""Training items from simulated volumes and slides of nuclei, each with its own look."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from terapose.apps.simulate.scene import slide, volume
from terapose.apps.train.data import Item, make_item, normalise, planes_of

_EDGE_UM = 96.0
_SLIDE_UM = 160.0


def simulated_items(count: int, source: int, *, seed: int) -> Iterator[Item]:
    """Planes of simulated volumes, about 96 um wide and 64 um deep.

    Voxel size, size and density of the nuclei, blur, texture, brightness and noise are drawn anew
    for each volume.

    Parameters
    ----------
    count
        Number of volumes.
    source
        Index that the items carry as their data folder's.
    seed
        Seed of the volumes; another one gives other volumes.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        pixel = float(rng.uniform(0.6, 1.0))
        voxel_size = (pixel * float(rng.uniform(1.0, 3.0)), pixel, pixel)
        lengths = (_EDGE_UM * 2 / 3, _EDGE_UM, _EDGE_UM)
        depth, height, width = (
            round(length / size) for length, size in zip(lengths, voxel_size, strict=True)
        )
        sharp = float(rng.uniform(0.4, 0.8))
        image, labels = volume(
            (depth, height, width),
            seed=int(rng.integers(2**31)),
            voxel_size=voxel_size,
            diameter=float(rng.uniform(9.0, 14.0)),
            density=float(rng.uniform(0.3, 1.0)),
            dividing=float(rng.uniform(0.0, 0.1)),
            blur=(sharp * float(rng.uniform(1.5, 3.5)), sharp, sharp),
            **_light(rng),
        )
        name = f"simulated{index}"
        pixels = normalise(image, name)[None]
        yield from planes_of(name, source, pixels, labels, voxel_size)


def simulated_slides(count: int, source: int, *, seed: int) -> Iterator[Item]:
    """The nuclei of simulated slides, about 160 um wide, one item each.

    Pixel size, size and density of the nuclei, blur, texture, brightness and noise are drawn anew
    for each slide.

    Parameters
    ----------
    count
        Number of slides.
    source
        Index that the items carry as their data folder's.
    seed
        Seed of the slides; another one gives other slides.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index, 2])  # the third number: not as the volumes'
        pixel = float(rng.uniform(0.3, 0.8))
        sharp = float(rng.uniform(0.3, 0.9))
        edge = round(_SLIDE_UM / pixel)
        image, labels = slide(
            (edge, edge),
            seed=int(rng.integers(2**31)),
            channels=1,
            pixel_size=pixel,
            diameter=float(rng.uniform(6.0, 12.0)),
            density=float(rng.uniform(0.3, 1.0)),
            dividing=float(rng.uniform(0.0, 0.1)),
            blur=(0.0, sharp, sharp),
            **_light(rng),
        )
        name = f"slide{index}"
        yield make_item(name, source, normalise(image[0], name)[None], labels)


def _light(rng: np.random.Generator) -> dict[str, float]:
    """How an image looks: texture of the nuclei, brightness, background and noise."""
    return {
        "texture": float(rng.uniform(0.2, 1.0)),
        "brightness": float(np.exp(rng.uniform(np.log(60), np.log(800)))),
        "background": float(rng.uniform(5, 40)),
        "gain": float(rng.uniform(1, 12)),
    }
