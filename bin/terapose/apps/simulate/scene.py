"""A simulated microscope image of any size, of which any region can be computed on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from terapose.apps.simulate import nuclei, paint
from terapose.apps.simulate.randomness import fold
from terapose.core.errors import InputError

Shape3 = tuple[int, int, int]
Size3 = tuple[float, float, float]

_TRUNCATE = 3.0  # standard deviations at which the optics' Gaussians end
_HAZE = 0.15  # share of the light that is far out of focus
_CELL = 1.7  # normalised radius at which a nucleus's cell ends


@dataclass(frozen=True)
class Scene:
    """Fluorescent nuclei with reference labels; voxels are pure functions of position and seed.

    Parameters
    ----------
    shape
        ZYX, in voxels. It bounds what can be read and numbers the labels; it changes no light.
    seed
        Any integer from 0; another seed is another sample.
    voxel_size
        (z, y, x) in um.
    diameter
        Mean diameter of the nuclei in um; single ones have 0.65 to 1.45 times that.
    density
        From 0 to 1: share of the places in the tissue that hold a nucleus. At 1, nuclei fill about
        a quarter of a volume and most touch another.
    dividing
        Share of nuclei shown as two bright, flat bodies close together.
    blur
        Standard deviations (z, y, x) in um of the optics.
    texture
        Contrast of the chromatin; 0 is flat, 1 strong.
    brightness, background, offset, read_noise
        In counts of the camera: of a mean nucleus above the background, of the background above
        the offset, of the dark camera, and standard deviation of the camera's own noise.
    gain
        Counts per photon: the larger, the stronger the shot noise.
    channels
        1: nuclei. Channel 2 adds a stain of the cells' bodies, further ones are markers that only
        a part of the cells express.
    planar
        All nuclei in one plane, as on a slide; the shape's Z must be 1.

    Raises
    ------
    InputError
        Where a value is out of range.
    """

    shape: Shape3
    seed: int = 0
    voxel_size: Size3 = (2.0, 0.8, 0.8)
    diameter: float = 12.0
    density: float = 0.7
    dividing: float = 0.04
    blur: Size3 = (1.8, 0.6, 0.6)
    texture: float = 0.6
    brightness: float = 300.0
    background: float = 15.0
    gain: float = 8.0
    offset: float = 100.0
    read_noise: float = 4.0
    channels: int = 1
    planar: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))
        if self.planar and self.shape[0] != 1:
            raise InputError("a planar scene has one plane", where="shape", got=self.shape)
        if 2 * math.prod(self._grid) >= 2**32:
            raise InputError(
                "the scene has room for more nuclei than 32-bit labels can number",
                where="shape",
                got=self.shape,
                remedy="make it smaller or the diameter larger",
            )

    def read(
        self, region: tuple[slice, slice, slice]
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
        """Compute a region.

        Parameters
        ----------
        region
            Slices (z, y, x) with start and stop inside the shape; no step.

        Returns
        -------
        image : uint16 CZYX
        labels : uint32 ZYX, 0 where there is no nucleus; the IDs are the same in every region

        Raises
        ------
        InputError
            Where the region leaves the shape.
        """
        start, stop = self._bounds(region)
        halo = self._halo()
        low = tuple(a - h for a, h in zip(start, halo, strict=True))
        size = tuple(b + h - a for a, b, h in zip(low, stop, halo, strict=True))
        ids, keys, table = self._nuclei(low, size)
        widest = _CELL if self.channels > 1 else 1.0
        owner, distance = paint.own(table, low, size, self.voxel_size, widest)
        inner = tuple(slice(h, n - h) for h, n in zip(halo, size, strict=True))
        image = np.empty(
            (self.channels, *(b - a for a, b in zip(start, stop, strict=True))), np.uint16
        )
        for channel in range(self.channels):
            if channel == 0:
                light = paint.chromatin(
                    owner, distance, table, keys, low, self.voxel_size, self.diameter, self.texture
                )
            else:
                light = paint.marker(owner, distance, keys, channel, widest)
            image[channel] = self._camera(self._optics(light)[inner], start, channel)
        inside = (owner[inner] >= 0) & (distance[inner] <= 1.0)
        labels = np.zeros(inside.shape, np.uint32)
        labels[inside] = ids[owner[inner][inside]]
        return image, labels

    @property
    def _pitch(self) -> float:
        return nuclei.PITCH * self.diameter

    @property
    def _margin(self) -> Shape3:
        """Grid cells (z, y, x) before the first voxel and after the last."""
        return (0 if self.planar else nuclei.MARGIN), nuclei.MARGIN, nuclei.MARGIN

    @property
    def _grid(self) -> Shape3:
        """Grid cells (z, y, x) in which nuclei with voxels in the scene have their centres."""
        z, y, x = (
            math.ceil(n * v / self._pitch) + 2 * m
            for n, v, m in zip(self.shape, self.voxel_size, self._margin, strict=True)
        )
        return (1 if self.planar else z), y, x

    def _key(self, purpose: int) -> np.uint64:
        return np.uint64(fold(np.uint64(fold(np.uint64(0), self.seed)), purpose))

    def _bounds(self, region: tuple[slice, slice, slice]) -> tuple[Shape3, Shape3]:
        for part, length in zip(region, self.shape, strict=True):
            if part.step not in (None, 1) or not 0 <= part.start < part.stop <= length:
                raise InputError(
                    "the region is not inside the scene", got=region, allowed=self.shape
                )
        (z0, z1), (y0, y1), (x0, x1) = ((part.start, part.stop) for part in region)
        return (z0, y0, x0), (z1, y1, x1)

    def _sigmas(self) -> tuple[list[float], list[float]]:
        """Standard deviations in voxels of the sharp and of the out-of-focus Gaussian."""
        sharp = [s / v for s, v in zip(self.blur, self.voxel_size, strict=True)]
        if self.planar:
            sharp[0] = 0.0
        return sharp, [2.5 * s for s in sharp]

    def _halo(self) -> list[int]:
        """Voxels (z, y, x) beyond a region whose light reaches it: as scipy sizes its kernels."""
        sharp, far = self._sigmas()
        return [
            int(_TRUNCATE * a + 0.5) + int(_TRUNCATE * b + 0.5)
            for a, b in zip(sharp, far, strict=True)
        ]

    def _nuclei(self, start: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
        """Nuclei that can have voxels in a region."""
        reach = nuclei.REACH * self.diameter * (_CELL if self.channels > 1 else 1.0)
        first, last = [], []
        for a, n, v in zip(start, shape, self.voxel_size, strict=True):
            first.append(math.floor((a * v - reach) / self._pitch))
            last.append(math.floor(((a + n) * v + reach) / self._pitch))
        if self.planar:
            first[0] = last[0] = 0
        return nuclei.find(  # type: ignore[no-any-return]
            self._key(1),
            tuple(first),
            tuple(last),
            self._grid,
            self._margin,
            self._pitch,
            self.planar,
            self.density,
            self.dividing,
            0.5 * self.voxel_size[0],
        )

    def _optics(self, light: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blur; exact `_halo` voxels away from the edges."""
        sharp_sigma, far_sigma = self._sigmas()
        sharp = gaussian_filter(light, sharp_sigma, truncate=_TRUNCATE)
        far = gaussian_filter(sharp, far_sigma, truncate=_TRUNCATE)
        blurred: NDArray[np.float32] = sharp + np.float32(_HAZE) * (far - sharp)
        return blurred

    def _camera(
        self, light: NDArray[np.float32], start: Shape3, channel: int
    ) -> NDArray[np.uint16]:
        image: NDArray[np.uint16] = paint.expose(
            np.ascontiguousarray(light),
            self._key(10 + channel),
            start,
            self.voxel_size,
            8.0 * self.diameter,
            self.brightness,
            self.background,
            self.gain,
            self.offset,
            self.read_noise,
        )
        return image


def _check(name: str, value: Any) -> None:
    """Refuse a value of `Scene` that is out of range."""
    if name in ("shape", "voxel_size"):
        good, allowed = len(value) == 3 and all(v > 0 for v in value), "three numbers above 0"
    elif name == "blur":
        good, allowed = len(value) == 3 and all(v >= 0 for v in value), "three numbers from 0"
    elif name in ("diameter", "gain"):
        good, allowed = value > 0, "above 0"
    elif name in ("density", "dividing", "texture"):
        good, allowed = 0 <= value <= 1, "0 to 1"
    elif name == "channels":
        good, allowed = 1 <= value <= 100, "1 to 100"
    elif name == "seed":
        good, allowed = 0 <= value < 2**63, "0 to 2**63 - 1"
    else:
        good, allowed = value >= 0, "0 or more"
    parts = value if isinstance(value, tuple | list) else (value,)
    if not good or not all(map(math.isfinite, parts)):
        raise InputError("out of range", where=name, got=value, allowed=allowed)


def volume(
    shape: Shape3, *, seed: int, **options: Any
) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Simulate a whole volume in memory.

    Parameters
    ----------
    shape
        ZYX, in voxels.
    seed
        Any integer from 0.
    **options
        Further parameters of `Scene`.

    Returns
    -------
    image : uint16 ZYX
    labels : uint32 ZYX, IDs dense from 1, in the order of the scene's own

    Raises
    ------
    InputError
        Where a value is out of range.
    """
    image, labels = Scene(shape, seed, **options).read(_whole(shape))
    return image[0], _dense(labels)


def slide(
    shape: tuple[int, int], *, seed: int, channels: int = 2, pixel_size: float = 0.5, **options: Any
) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Simulate a whole slide in memory: nuclei, a stain of the cells' bodies, and markers.

    Parameters
    ----------
    shape
        YX, in pixels.
    seed
        Any integer from 0.
    channels
        Number of channels (see `Scene`).
    pixel_size
        In um.
    **options
        Further parameters of `Scene`.

    Returns
    -------
    image : uint16 CYX
    labels : uint32 YX, of the nuclei; IDs dense from 1

    Raises
    ------
    InputError
        Where a value is out of range.
    """
    scene = slide_scene(shape, seed=seed, channels=channels, pixel_size=pixel_size, **options)
    image, labels = scene.read(_whole(scene.shape))
    return image[:, 0], _dense(labels[0])


def slide_scene(
    shape: tuple[int, int], *, seed: int, channels: int = 2, pixel_size: float = 0.5, **options: Any
) -> Scene:
    """Scene of a slide, with a slide's defaults; parameters as for `slide`."""
    defaults: dict[str, Any] = {"diameter": 9.0, "density": 0.9, "blur": (0.0, 0.5, 0.5)}
    size = (pixel_size, pixel_size, pixel_size)
    return Scene(
        (1, *shape), seed, voxel_size=size, channels=channels, planar=True, **(defaults | options)
    )


def _whole(shape: Shape3) -> tuple[slice, slice, slice]:
    z, y, x = shape
    return slice(0, z), slice(0, y), slice(0, x)


def _dense(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    found, inverse = np.unique(labels, return_inverse=True)
    first = 0 if found[0] == 0 else 1
    return (inverse.reshape(labels.shape) + first).astype(np.uint32)
