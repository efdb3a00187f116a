"""Random cases for `benchmarks.exactness`: images, networks, parameters, and ways to cut the work.

Everything about a case follows from its number. Options are dealt in turn, so that each comes up
several times; the rest (shapes, diameters, values, cuts) is drawn at random.

Networks, all scaled to objects of 30 pixels (the only diameter Cellpose knows):

- ``gradient``: a U-Net whose weights are set by hand: flows are the gradient of the image, the cell
  probability is its brightness. Fast, and right about smooth blobs;
- ``rough``: the same with errors, turned by 25 degrees: points run in spirals, far and into
  other cells, and cells are ragged;
- ``shipped``: the network that comes with Terapose, given images at its own scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from terapose.core.geometry import ZYX, zyx
from terapose.networks.unet import UNet
from terapose.networks.weights import resolve

NETWORKS = ("gradient", "gradient", "gradient", "shipped", "rough")
MADE_FOR = 30.0
SHIPPED_FOR = 17.0
"""Pixels of an object in the images on which the shipped network was trained."""

HALF = "half"
"""For sizes: the size that about half of the cells have."""

SCALING: tuple[dict[str, Any], ...] = (
    {},
    {"normalize": "plane"},
    {"normalize": "tile", "normalize_tile": 31},
    {"normalize": "lowhigh", "lowhigh": (130.0, 900.5)},
    {"normalize": "none"},
    {"percentiles": (0.3, 97.5)},
    {"invert": True},
    {"normalize": "tile", "normalize_tile": 50, "invert": True},
    {"normalize": "plane", "percentiles": (2.0, 99.9), "invert": True},
    {"normalize": "lowhigh", "lowhigh": (90, 1000, 110.25, 800), "channels": (1, 2)},
)
RULES: tuple[dict[str, Any], ...] = (
    {"cellprob_threshold": -1.0},
    {"niter": 25},
    {"min_size": HALF},
    {"max_size_fraction": HALF},
    {"tile_overlap": 0.3},
    {"augment": True},
    {"channels": (1, 2)},
    {"cellprob_threshold": 1.0, "min_size": -1},
)
SOLID: tuple[dict[str, Any], ...] = (
    {"flow3d_smooth": (1.0,)},
    {"anisotropy": 2.0, "flow_scaling": "cellpose"},
    {"flow3d_smooth": (0.5, 1.5, 1.0)},
    {"anisotropy": 3.3, "flow_scaling": "cellpose"},
    {},
)
FLAT: tuple[dict[str, Any], ...] = (
    {"flow_threshold": 0.0},
    {"flow_threshold": 0.35},
    {},
    {"flow_threshold": 1.0},
)
STITCH: tuple[dict[str, Any], ...] = ({}, {"stitch_threshold": 0.6}, {"stitch_threshold": 0.1})
OWN: tuple[dict[str, Any], ...] = (
    {"foreground_min": 200.0},
    {"min_median_fraction": 0.5},
    {"border": "drop"},
    {"skip_empty": 0.1},
    {"flow_threshold": 0.5},
    {"flow_scaling": "anisotropy", "anisotropy": 2.5},
)
"""Options that Cellpose does not have (flow_threshold: not in 3D)."""


@dataclass(frozen=True)
class Case:
    """An image, its parameters, and cuts to be compared.

    Attributes
    ----------
    number
        Seed of the image.
    mode
        "3d", "2d" or "stitch".
    network
        Name of a network of `make_networks`.
    shape
        (Z, Y, X) of the image.
    diameter
        Of a typical cell in Z, Y and X, in voxels.
    dtype
        Of the image.
    density
        Share of the grid's places that have a cell.
    blank
        Planes in which there is nothing but noise.
    params
        Parameters besides the cut.
    cuts
        Parameters that say how the work is cut; they must not change the result.
    """

    number: int
    mode: str
    network: str
    shape: ZYX
    diameter: tuple[float, float, float]
    dtype: str
    density: float
    blank: tuple[int, ...]
    params: dict[str, Any]
    cuts: tuple[dict[str, Any], ...] = field(repr=False)

    @property
    def whole(self) -> dict[str, Any]:
        """The work in one piece."""
        return {"block_shape": self.shape, "slab_planes": max(self.shape) * 8, "max_tasks": 1}

    @property
    def channels(self) -> int:
        """Channels of the image, and inputs of its network."""
        return len(self.params.get("channels", (1,)))


def make_networks(folder: Path) -> dict[str, Path]:
    """Write the weight files of all networks; ``-2`` are those of two channels."""
    states = {f"{name}{'-2' * (n - 1)}": make(n) for name, make in _MAKERS.items() for n in (1, 2)}
    shipped = torch.load(resolve("nuclei-small"), weights_only=True)
    states["shipped"] = {**shipped, "diam_mean": torch.full((1,), MADE_FOR)}
    for name, state in states.items():
        torch.save(state, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in states}


def gradient_weights(channels: int) -> dict[str, torch.Tensor]:
    """Weights of a network that follows the gradient of the image; see the module."""
    radius, sigma, shift, strength = 2, 1.2, 1.0, 40.0
    state = UNet((channels, 3), size=2 * radius + 1).state_dict()
    for name, values in state.items():
        if values.ndim > 1 or name.endswith("bias"):
            values.zero_()
    y, x = np.indices((2 * radius + 1,) * 2) - radius
    bump = np.exp(-(y**2 + x**2) / (2 * sigma**2))
    bump /= bump.sum()
    kernels = np.stack([y * bump / (y**2 * bump).sum(), x * bump / (x**2 * bump).sum(), bump])
    first, second = (f"downsample.down.res_down_0.conv.conv_{n}.2" for n in range(2))
    for channel, weight in enumerate((1.0, 0.4)[:channels]):
        state[f"{first}.weight"][:, channel] = torch.from_numpy(weight * kernels)
    # what follows cuts off negative numbers: slopes are moved up, and back in the end
    state[f"{first}.bias"][:2] = shift
    for n in range(3):
        state[f"{second}.weight"][n, n, radius, radius] = 1
        state["upsample.up.res_up_0.proj.1.weight"][n, n] = 1
        state["output.2.weight"][n, n] = strength if n < 2 else 10
    norm = (1 + 1e-5) ** -0.5
    state["output.2.bias"] += torch.tensor([-strength * shift * norm**3] * 2 + [-3.0])
    return state


def rough_weights(channels: int) -> dict[str, torch.Tensor]:
    """`gradient_weights`, turned by 25 degrees and with errors: points run in spirals."""
    state = gradient_weights(channels)
    torch.manual_seed(0)
    kernels = state["downsample.down.res_down_0.conv.conv_0.2.weight"]
    kernels += torch.randn(kernels.shape) * kernels.std() / 3
    output = state["output.2.weight"][:2, :2, 0, 0]
    turn, strength = math.radians(25), float(output[0, 0])
    across = strength * math.sin(turn)
    output *= math.cos(turn)
    output += torch.tensor([[0, -across], [across, 0]])
    # the slopes' shift adds up in what was turned
    shift = -state["output.2.bias"][:2] / strength
    state["output.2.bias"][:2] = -(output @ shift)
    return state


_MAKERS = {"gradient": gradient_weights, "rough": rough_weights}


def make_image(case: Case) -> NDArray[Any]:
    """Smooth blobs on a jittered grid, some missing, touching; (C, Z, Y, X)."""
    rng = np.random.default_rng([case.number, 1])
    size = np.array(case.diameter)
    axes = [
        np.arange(rng.uniform(0, 0.6) * s, n + 0.3 * s, s)
        for s, n in zip(size, case.shape, strict=True)
    ]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    centres = centres[rng.random(len(centres)) < case.density]
    centres = centres + rng.uniform(-0.12, 0.12, centres.shape) * size
    scene = np.zeros(case.shape, np.float32)
    for centre in centres:
        radius = size / 2 * rng.uniform(0.75, 1.15)
        low = np.maximum(np.floor(centre - radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius) + 1, case.shape).astype(int)
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        z, y, x = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(z, y, x, indexing="ij"), -1)
        squared = (((grid - centre) / radius) ** 2).sum(axis=-1)
        bump = rng.uniform(0.6, 1) * np.maximum(0, 1 - squared)
        scene[box] = np.maximum(scene[box], bump)
    scene[list(case.blank)] = 0
    image = np.stack([scene, scene[:, ::-1]][: case.channels])
    image = 100 + 900 * image + rng.normal(0, 8, image.shape)
    return _as_stored(image, case)


def _as_stored(image: NDArray[Any], case: Case) -> NDArray[Any]:
    """Intensities as the case wants them: dark cells, few bits, or normalised already."""
    if case.params.get("invert"):
        image = 1100 - image
    if case.params.get("normalize") == "none":
        image = (image - 100) / 900
    elif case.dtype == "uint8":
        image = image / 5
    low = 0 if case.dtype.startswith("u") else None
    stored: NDArray[Any] = np.clip(image, low, None).astype(case.dtype)
    return stored


def make_cases() -> list[Case]:
    """All cases, by number."""
    cases: list[Case] = []
    for mode, count, lists in (
        ("3d", 16, (RULES, SOLID, SCALING)),
        ("2d", 22, (RULES, FLAT, SCALING)),
        ("stitch", 20, (RULES, FLAT, STITCH, SCALING)),
    ):
        for network, options in zip(*_dealt(count, NETWORKS, lists), strict=True):
            cases.append(_draw(len(cases), mode, network, options))
    for number, own in enumerate(OWN * 2):
        solid = number < len(OWN) or "flow_threshold" in own or "anisotropy" in own
        cases.append(_draw(len(cases), "3d" if solid else "stitch", "gradient", own, 25))
    return [*cases, _large(len(cases), (1, 3400, 3380)), _large(len(cases) + 1, (96, 346, 342))]


def _dealt(
    count: int, networks: tuple[str, ...], lists: tuple[tuple[dict[str, Any], ...], ...]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Networks and parameters of some cases: one of each list, shuffled as cards are."""
    rng = np.random.default_rng(count)

    def deal(length: int) -> list[int]:
        rounds = [rng.permutation(length) for _ in range(-(-count // length))]
        return [int(n) for n in np.concatenate(rounds)[:count]]

    merged: list[dict[str, Any]] = [{} for _ in range(count)]
    for options in lists:
        for params, n in zip(merged, deal(len(options)), strict=True):
            params |= options[n]
    return [networks[n] for n in deal(len(networks))], merged


def _draw(number: int, mode: str, network: str, params: dict[str, Any], widest: float = 60) -> Case:
    """A case with these parameters; everything else is drawn."""
    rng = np.random.default_rng([number, 0])
    if network == "shipped" and ("channels" in params or "augment" in params):
        network = "gradient"
    # an image may grow 64 times on the network's grid, not more
    least = MADE_FOR * (params.get("anisotropy", 1.0) / 60) ** (1 / 3)
    wide = float(np.exp(rng.uniform(np.log(max(8, least)), np.log(widest))))
    if mode == "3d":
        deep = wide / params.get("anisotropy", 1.0)
        edges = np.clip(rng.uniform(1.4, 3.5, 3) * wide, 20, 66)
        shape = zyx(max(6, int(n / s)) for n, s in zip(edges, (wide / deep, 1, 1), strict=True))
    else:
        planes = 1 if mode == "2d" and number % 3 else int(rng.integers(4, 9))
        deep = 1.0 if mode == "2d" else 4.0
        most = 7 if planes > 1 else 30
        height, width = (int(n) for n in np.clip(rng.uniform(2, most, 2) * wide, 40, 40 * most))
        shape = (planes, height, width)
    shaped = params.get("normalize") == "lowhigh" or "foreground_min" in params
    dtype = "uint16" if shaped else str(rng.choice(["uint8", "uint16", "float32"]))
    if params.get("normalize") == "none":
        dtype = "float32"
    scale = MADE_FOR / SHIPPED_FOR if network == "shipped" else 1
    grid = max(shape) * MADE_FOR / (wide * scale)
    own = {"mode": mode, "diameter": round(wide * scale, 2), **params}
    # what is found of a cell, in voxels, and in which volume or plane it lies
    typical = 0.2 * math.prod((deep, wide, wide) if mode != "2d" else (wide, wide))
    room = math.prod(shape if mode == "3d" else shape[1:])
    if own.get("min_size") == HALF:
        own["min_size"] = int(typical)
    if own.get("max_size_fraction") == HALF:
        part = (typical if mode == "3d" else 0.45 * wide * wide) / room
        own["max_size_fraction"] = round(min(1.0, part), 5)
    return Case(
        number=number,
        mode=mode,
        network=network + "-2" * ("channels" in params),
        shape=shape,
        diameter=(deep, wide, wide),
        dtype=dtype,
        density=0.85,
        # not one of the first two: there Cellpose gives numbers twice
        blank=(shape[0] - 2,) if mode != "3d" and shape[0] > 4 and number % 2 else (),
        params=own,
        cuts=(_cut(rng, shape, grid, (deep, wide, wide)), _cut(rng, shape, grid)),
    )


def _cut(
    rng: np.random.Generator, shape: ZYX, grid: float, cell: tuple[float, ...] = ()
) -> dict[str, Any]:
    """Blocks smaller than a cell, as far as there are not too many of them, else two or three.

    The network's grid has about ``grid`` voxels along the longest axis.
    """
    if cell:
        block = [max(3, int(d * rng.uniform(0.3, 0.9))) for d in cell]
    else:
        parts = rng.integers(1, 4, 3)
        block = [
            math.ceil(n / k) + int(rng.integers(0, 3)) for n, k in zip(shape, parts, strict=True)
        ]
    block = [min(b, n) for b, n in zip(block, shape, strict=True)]
    while math.prod(counts := [math.ceil(n / b) for n, b in zip(shape, block, strict=True)]) > 30:
        block[int(np.argmax(counts))] += 1
    planes = math.ceil(grid / rng.uniform(1.2, 5))
    edge = {}
    if rng.random() < 0.5:
        # each rectangle of a plane runs the network again: not too many of them
        planes = math.ceil(grid / rng.uniform(1.2, 2.5))
        edge["rectangle"] = planes + int(rng.integers(0, 9))
    tasks = int(rng.integers(1, 6))
    return {"block_shape": zyx(block), "slab_planes": planes, "max_tasks": tasks, **edge}


def _large(number: int, shape: ZYX) -> Case:
    """An image so large that Cellpose looks at some of its voxels only; few steps, few cells."""
    wide = 40.0
    rng = np.random.default_rng([number, 0])
    return Case(
        number=number,
        mode="3d" if shape[0] > 1 else "2d",
        network="gradient",
        shape=shape,
        diameter=(wide if shape[0] > 1 else 1.0, wide, wide),
        dtype="uint8",
        density=0.15,
        blank=(),
        params={"diameter": 60.0, "niter": 20, "percentile_sampling": "cellpose"},
        cuts=(_cut(rng, shape, shape[1] / 2, shape), _cut(rng, shape, shape[1] / 2)),
    )
