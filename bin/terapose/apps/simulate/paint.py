"""From nuclei to voxels: who owns a voxel, how bright it is, and what a camera makes of that."""

from __future__ import annotations

import math

import numpy as np

from terapose.apps.simulate.randomness import field, field_line, fold, normals, poisson, uniform
from terapose.io.compiled import njit

_EMPTY = np.float32(np.inf)


@njit(inline="always")
def _distance(row, z, y, x):  # type: ignore[no-untyped-def]
    """Normalised radius of a point (um from the centre): below 1 inside the nucleus."""
    a = row[3] * z + row[4] * y + row[5] * x
    b = row[6] * z + row[7] * y + row[8] * x
    c = row[9] * z + row[10] * y + row[11] * x
    r = math.sqrt(a * a + b * b + c * c)
    if r < 1e-9:
        return 0.0
    a, b, c = a / r, b / r, c / r
    bulge = 2.0 * (row[12] * a * b + row[13] * b * c)
    bulge += 0.5 * (row[14] * b * (5.0 * b * b - 3.0) + row[15] * c * (5.0 * c * c - 3.0))
    return r / (1.0 + bulge)


@njit
def own(table, start, shape, voxel, widest):  # type: ignore[no-untyped-def]
    """Give each voxel to the nucleus that is nearest in normalised radius.

    Parameters
    ----------
    table
        Nuclei in order of their IDs (see `terapose.apps.simulate.nuclei.COLUMNS`); the first wins
        ties.
    start, shape
        The region in voxels (z, y, x).
    voxel
        Voxel size (z, y, x) in um.
    widest
        Normalised radius up to which a voxel is owned: 1 for nuclei, more for whole cells.

    Returns
    -------
    owner : int32 ZYX, row of the table or -1; distance : float32 ZYX, normalised radius
    """
    owner = np.full(shape, -1, np.int32)
    distance = np.full(shape, _EMPTY, np.float32)
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for n in range(table.shape[0]):
        row = table[n]
        reach = row[17] * widest
        for i in range(3):
            low[i] = max(0, math.floor((row[i] - reach) / voxel[i]) - start[i])
            high[i] = min(shape[i], math.ceil((row[i] + reach) / voxel[i]) + 1 - start[i])
        for z in range(low[0], high[0]):
            dz = (z + start[0] + 0.5) * voxel[0] - row[0]
            for y in range(low[1], high[1]):
                dy = (y + start[1] + 0.5) * voxel[1] - row[1]
                if dz * dz + dy * dy > reach * reach:
                    continue
                for x in range(low[2], high[2]):
                    dx = (x + start[2] + 0.5) * voxel[2] - row[2]
                    r = np.float32(_distance(row, dz, dy, dx))
                    if r <= widest and r < distance[z, y, x]:
                        distance[z, y, x] = r
                        owner[z, y, x] = n
    return owner, distance


@njit
def chromatin(owner, distance, table, keys, start, voxel, diameter, texture):  # type: ignore[no-untyped-def]
    """Light that nuclei give off before any optics: float32 ZYX, about 1 inside, 0 outside."""
    light = np.zeros(owner.shape, np.float32)
    coarse, fine, dark = 4.0 / diameter, 9.0 / diameter, 2.6 / diameter
    for z in range(owner.shape[0]):
        pz = (z + start[0] + 0.5) * voxel[0]
        for y in range(owner.shape[1]):
            py = (y + start[1] + 0.5) * voxel[1]
            for x in range(owner.shape[2]):
                n = owner[z, y, x]
                if n < 0 or distance[z, y, x] > 1.0:
                    continue
                px = (x + start[2] + 0.5) * voxel[2]
                grain = field(keys[n], pz * coarse, py * coarse, px * coarse) - 0.5
                grain += 0.6 * (field(keys[n], pz * fine, py * fine, px * fine) - 0.5)
                nucleolus = field(fold(keys[n], 1), pz * dark, py * dark, px * dark)
                hole = min(1.0, max(0.0, (nucleolus - 0.66) * 8.0))
                value = 1.0 + texture * (1.5 * grain - 0.6 * hole)
                light[z, y, x] = table[n, 16] * max(0.1, value)
    return light


@njit
def marker(owner, distance, keys, channel, widest):  # type: ignore[no-untyped-def]
    """Light of a protein marker in cells around nuclei: float32 ZYX, about 1 where expressed.

    Channel 1 fills every cell's body; further ones, in a third of the cells each, take turns
    between the membrane (even) and the body (odd).
    """
    light = np.zeros(owner.shape, np.float32)
    for z in range(owner.shape[0]):
        for y in range(owner.shape[1]):
            for x in range(owner.shape[2]):
                n = owner[z, y, x]
                if n < 0:
                    continue
                level = uniform(fold(keys[n], 100 + channel))
                if channel > 1:
                    level = max(0.0, 3.0 * level - 2.0)
                r = distance[z, y, x]
                if channel % 2:
                    shape = 0.35 if r < 0.95 else 1.0
                else:
                    shape = 1.0 if r > 0.8 * widest else 0.12
                light[z, y, x] = (0.35 + level) * shape if level > 0.0 else 0.03
    return light


@njit
def expose(light, key, start, voxel, slow, brightness, background, gain, offset, read_noise):  # type: ignore[no-untyped-def]
    """What the camera writes: uneven light and background, shot noise, read noise, offset.

    Parameters
    ----------
    light
        float32 ZYX, after the optics.
    key
        uint64 key of this channel's noise.
    start, voxel
        First voxel (z, y, x) of `light`; voxel size in um.
    slow
        Wavelength of the unevenness in um.
    brightness, background, offset, read_noise
        In counts.
    gain
        Counts per photon.

    Returns
    -------
    uint16 ZYX
    """
    image = np.empty(light.shape, np.uint16)
    lamp, haze, grain = fold(key, 1), fold(key, 2), fold(key, 3)
    count = light.shape[2]
    scale = 1.0 / slow
    for z in range(light.shape[0]):
        pz = (z + start[0] + 0.5) * voxel[0] * scale
        key_z = fold(grain, z + start[0])
        for y in range(light.shape[1]):
            py = (y + start[1] + 0.5) * voxel[1] * scale
            key_y = fold(key_z, y + start[1])
            uneven = field_line(lamp, pz, py, start[2], count, voxel[2] * scale)
            veil = field_line(haze, 1.7 * pz, 1.7 * py, start[2], count, 1.7 * voxel[2] * scale)
            for x in range(count):
                k = fold(key_y, x + start[2])
                mean = brightness * light[z, y, x] * (0.7 + 0.5 * uneven[x])
                mean = (mean + background * (0.4 + 1.2 * veil[x])) / gain
                shot, read = normals(k)
                counts = offset + gain * poisson(k, shot, mean) + read_noise * read
                image[z, y, x] = np.uint16(min(65535.0, max(0.0, math.floor(counts + 0.5))))
    return image
