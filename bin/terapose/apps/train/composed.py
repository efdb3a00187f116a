"""Training items composed of real nuclei: crowded fields, and volumes.

1. Nuclei are cut from 2D items at the network's scale, without their background, and those that
   touch the edge of the image or hardly differ from it are left out.
2. A field is filled at random: a nucleus, turned and mirrored, is put where it overlaps what is
   there by little. So they touch, as they seldom do in the images they came from.
3. For a volume each nucleus is inflated to a body (as NucGen3D does): above and below a pixel it
   reaches as high as a ball would that far from its edge. Bodies are turned in space, and fill the
   volume by the same rule. Light is blurred more along Z, loses strength with depth, and has noise.

Limits: a nucleus keeps its 2D texture along one axis, so chromatin is drawn out; brightness of
neighbours is independent; there are no dividing pairs but those that the images hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, distance_transform_edt, find_objects, gaussian_filter
from scipy.spatial.transform import Rotation

from terapose.apps.train.data import Item, make_item, normalise, planes_of

FIELD = 192
VOLUME = (48, 112, 112)
_PER_ITEM = 12  # nuclei of one image, so that no image is most of them
_OVERLAP = 0.08
_TRIES = 12


@dataclass(frozen=True)
class Nucleus:
    """Light above the background, about 1 inside and 0 elsewhere, and which pixels are inside."""

    light: NDArray[np.float32]
    inside: NDArray[np.bool_]


def cut_nuclei(items: Sequence[Item], diameter: float, *, seed: int) -> list[Nucleus]:
    """Cut whole nuclei from 2D items of one channel.

    Parameters
    ----------
    items
        Items, scaled so that their diameter becomes ``diameter``.
    diameter
        In pixels.
    seed
        Of the choice where an item has many.
    """
    nuclei: list[Nucleus] = []
    for index, item in enumerate(items):
        if not item.diameter:
            continue
        rng = np.random.default_rng([seed, index])
        boxes = list(enumerate(find_objects(item.labels), start=1))
        for place in rng.permutation(len(boxes))[:_PER_ITEM]:
            number, box = boxes[place]
            nucleus = _cut(item, number, box, diameter / item.diameter)
            if nucleus is not None:
                nuclei.append(nucleus)
    return nuclei


def _cut(item: Item, number: int, box: tuple[slice, slice] | None, scale: float) -> Nucleus | None:
    """One nucleus with a margin for its blurred edge, or None where it will not do."""
    if box is None:
        return None
    margin = 2 + round(2 / scale)
    wide = tuple(slice(s.start - margin, s.stop + margin) for s in box)
    if any(s.start < 0 or s.stop > n for s, n in zip(wide, item.labels.shape, strict=True)):
        return None
    labels, image = item.labels[wide], item.image[0][wide].astype(np.float32)
    inside = labels == number
    outside = image[labels == 0]
    if not outside.size:
        return None
    base = float(np.median(outside))
    contrast = float(np.median(image[inside])) - base
    size = tuple(max(3, round(n * scale)) for n in labels.shape[::-1])
    small = cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    light = cv2.resize((image - base) / max(contrast, 1e-3), size, interpolation=cv2.INTER_AREA)
    if contrast < 0.15 or (small > 0.5).sum() < 20:
        return None
    # Light of neighbours is cut off; what the nucleus's own edge spreads is kept.
    soft = np.clip(cv2.GaussianBlur(small, (0, 0), 1.0) * 2, 0, 1)
    return Nucleus(np.asarray(np.clip(light, 0, 4) * soft, np.float32), small > 0.5)


def crowded_items(
    nuclei: Sequence[Nucleus], count: int, source: int, *, seed: int
) -> Iterator[Item]:
    """Fields of nuclei that touch, `FIELD` pixels wide.

    Parameters
    ----------
    nuclei
        See :func:`cut_nuclei`.
    count
        Number of fields.
    source
        Index that the items carry as their data folder's.
    seed
        Seed of the fields; another one gives other fields.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index, 3])
        light, labels = _fill(nuclei, (1, FIELD, FIELD), rng)
        image = _expose(light[0], rng, (float(rng.uniform(0.0, 1.0)),) * 2)
        name = f"crowded{index}"
        yield make_item(name, source, normalise(image, name)[None], labels[0])


def composed_volumes(
    nuclei: Sequence[Nucleus], count: int, source: int, *, seed: int
) -> Iterator[Item]:
    """Planes of volumes of inflated nuclei, `VOLUME` voxels large before Z is sampled coarsely.

    Parameters
    ----------
    nuclei, count, source, seed
        As of :func:`crowded_items`, of volumes.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index, 4])
        light, labels = _fill(nuclei, VOLUME, rng)
        depth = np.exp(-rng.uniform(0, 1) * np.linspace(0, 1, VOLUME[0]))[:, None, None]
        sharp = float(rng.uniform(0.4, 1.2))
        sigma = (sharp * float(rng.uniform(1.5, 3.5)), sharp, sharp)
        step = int(rng.integers(1, 4))
        chosen = slice(step // 2, None, step)
        image = _expose((light * depth).astype(np.float32), rng, sigma)[chosen]
        name = f"composed{index}"
        pixels = normalise(image, name)[None]
        yield from planes_of(name, source, pixels, labels[chosen], (float(step), 1.0, 1.0))


def _fill(
    nuclei: Sequence[Nucleus], shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Light and labels, (Z, Y, X), of bodies put at random where they overlap by little.

    One plane is filled with the nuclei themselves, several with inflated ones.
    """
    light, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    wanted = float(rng.uniform(0.15, 0.6))
    size = float(np.exp(rng.uniform(-0.25, 0.25)))
    filled, misses, last = 0, 0, 0
    while filled < wanted * labels.size and misses < 40:
        nucleus = nuclei[int(rng.integers(len(nuclei)))]
        scale = size * float(np.exp(rng.normal(0, 0.12)))
        make = _turned if shape[0] == 1 else _inflated
        glow, body = make(nucleus, scale, rng)
        place = _find_place(labels, body, rng)
        misses += place is None
        if place is None:
            continue
        misses, last = 0, last + 1
        here, there = place
        free = body[there] & (labels[here] == 0)
        labels[here][free] = last
        light[here] += glow[there] * np.float32(np.exp(rng.normal(0, 0.35)))
        filled += int(free.sum())
    return light, labels


def _find_place(
    labels: NDArray[np.int32], body: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Where in the scene, and which part of the body is inside it; None where all tries fail."""
    volume = int(body.sum())
    for _ in range(_TRIES):
        centre = [int(rng.integers(n)) for n in labels.shape]
        starts = [c - n // 2 for c, n in zip(centre, body.shape, strict=True)]
        if labels.shape[0] == 1:
            starts[0] = 0
        ends = [s + n for s, n in zip(starts, body.shape, strict=True)]
        here = tuple(
            slice(max(0, s), min(n, e)) for s, e, n in zip(starts, ends, labels.shape, strict=True)
        )
        there = tuple(slice(h.start - s, h.stop - s) for h, s in zip(here, starts, strict=True))
        taken = int((body[there] & (labels[here] > 0)).sum())
        if taken <= _OVERLAP * volume and body[there].any():
            return here, there
    return None


def _turned(
    nucleus: Nucleus, scale: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A plane (1, Y, X) of the nucleus, turned and mirrored."""
    turn = cv2.getRotationMatrix2D((0, 0), float(rng.uniform(0, 360)), scale)
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    edge = int(np.ceil(np.hypot(*nucleus.inside.shape) * scale)) | 1
    middle = np.array(nucleus.inside.shape[::-1]) / 2 - 0.5
    turn[:, 2] = (edge - 1) / 2 - turn[:, :2] @ middle
    planes = [
        cv2.warpAffine(plane.astype(np.float32), turn, (edge, edge), flags=cv2.INTER_LINEAR)
        for plane in (nucleus.light, nucleus.inside)
    ]
    return np.asarray(planes[0], np.float32)[None], planes[1][None] > 0.5


def _inflated(
    nucleus: Nucleus, scale: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A body (Z, Y, X) of the nucleus, turned in space."""
    deep = distance_transform_edt(nucleus.inside)
    far = 1 - deep / deep.max()
    flat = float(np.sqrt(nucleus.inside.sum() / np.pi) * np.exp(rng.uniform(-0.4, 0.2)))
    height = np.where(nucleus.inside, flat * np.sqrt(np.maximum(0, 1 - far**2)), -1.0)
    reach = int(np.ceil(flat))
    z = np.arange(-reach, reach + 1)[:, None, None]
    body = (np.abs(z) <= height).astype(np.float32)
    light = body * nucleus.light
    matrix = Rotation.random(random_state=rng).as_matrix() / scale
    edge = int(np.ceil(np.sqrt(sum(n**2 for n in body.shape)) * scale)) | 1
    middle = (np.array(body.shape) - 1) / 2
    shift = middle - matrix @ np.full(3, (edge - 1) / 2)
    turned = [
        affine_transform(array, matrix, shift, (edge,) * 3, order=1) for array in (light, body)
    ]
    used = find_objects((turned[1] > 0.5).astype(np.uint8))
    box = used[0] if used else (slice(0, 0),) * 3
    return turned[0][box], turned[1][box] > 0.5


def _expose(
    light: NDArray[np.float32], rng: np.random.Generator, sigma: Sequence[float]
) -> NDArray[np.float32]:
    """Blur, haze from far around, background and noise of photons."""
    image = gaussian_filter(light, sigma)
    image += np.float32(rng.uniform(0, 0.4)) * gaussian_filter(light, 6.0)
    image += np.float32(rng.uniform(0.02, 0.3))
    photons = float(np.exp(rng.uniform(np.log(15), np.log(500))))
    counts = rng.poisson(np.maximum(image, 0) * photons)
    return np.asarray(counts / photons, np.float32)
