"""Random numbers that are pure functions of a key: no state, so no order, so no blocks.

Every number is a hash (SplitMix64's finaliser; Steele, Lea, Flood 2014) of a seed and of integers
that say what it is for: a grid cell, a lattice point, a voxel. Whoever asks gets the same answer.
"""

from __future__ import annotations

import math

import numpy as np

from terapose.io.compiled import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53

# Poisson numbers with a larger mean come from the normal distribution with a skewness term.
_NORMAL_FROM = 25.0


@njit(inline="always")
def fold(key, number):  # type: ignore[no-untyped-def]
    """Hash an integer into a key (uint64, int64 -> uint64)."""
    h = key + (np.uint64(number) + np.uint64(1)) * _STEP
    h = (h ^ (h >> _S30)) * _MIX_1
    h = (h ^ (h >> _S27)) * _MIX_2
    return h ^ (h >> _S31)


@njit(inline="always")
def uniform(key):  # type: ignore[no-untyped-def]
    """Turn a key into a float64 in [0, 1)."""
    return np.float64(key >> _S11) * _UNIT


@njit(inline="always")
def _fade(t):  # type: ignore[no-untyped-def]
    return t * t * t * (t * (t * 6.0 - 15.0) + 10.0)


@njit
def field(key, z, y, x):  # type: ignore[no-untyped-def]
    """Smooth random field in [0, 1) with features one unit in size (value noise, Perlin's fade)."""
    z0, y0, x0 = math.floor(z), math.floor(y), math.floor(x)
    fz, fy, fx = _fade(z - z0), _fade(y - y0), _fade(x - x0)
    value = 0.0
    for dz in range(2):
        wz = fz if dz else 1.0 - fz
        key_z = fold(key, np.int64(z0) + dz)
        for dy in range(2):
            wy = fy if dy else 1.0 - fy
            key_y = fold(key_z, np.int64(y0) + dy)
            low = uniform(fold(key_y, np.int64(x0)))
            high = uniform(fold(key_y, np.int64(x0) + 1))
            value += wz * wy * (low + fx * (high - low))
    return value


@njit
def field_line(key, z, y, first, count, scale):  # type: ignore[no-untyped-def]
    """`field` at x = (first + 0.5) scale, (first + 1.5) scale, ...; hashes once a lattice point.

    Returns float64 (count,). Each x is made of integers: nothing is summed up from `first` on.
    """
    line = np.empty(count)
    z0, y0 = math.floor(z), math.floor(y)
    fz, fy = _fade(z - z0), _fade(y - y0)
    here = math.floor((first + 0.5) * scale) - 1.0
    low = high = 0.0
    for i in range(count):
        at = (first + i + 0.5) * scale
        x0 = math.floor(at)
        if x0 != here:
            here, low, high = x0, 0.0, 0.0
            for dz in range(2):
                key_z = fold(key, np.int64(z0) + dz)
                for dy in range(2):
                    key_y = fold(key_z, np.int64(y0) + dy)
                    weight = (fz if dz else 1.0 - fz) * (fy if dy else 1.0 - fy)
                    low += weight * uniform(fold(key_y, np.int64(x0)))
                    high += weight * uniform(fold(key_y, np.int64(x0) + 1))
        line[i] = low + _fade(at - x0) * (high - low)
    return line


@njit
def normals(key):  # type: ignore[no-untyped-def]
    """Two independent standard normal numbers of one key (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(fold(key, 1))))
    angle = 2.0 * math.pi * uniform(fold(key, 2))
    return radius * math.cos(angle), radius * math.sin(angle)


@njit
def poisson(key, normal, mean):  # type: ignore[no-untyped-def]
    """Poisson number: by inversion of the key's uniform, or from `normal` where the mean is large.

    The normal form is the first Cornish-Fisher correction: mean + sqrt(mean) n + (n^2 - 1) / 6.
    """
    if mean >= _NORMAL_FROM:
        value = mean + math.sqrt(mean) * normal + (normal * normal - 1.0) / 6.0
        return max(0.0, math.floor(value + 0.5))
    left = uniform(fold(key, 0))
    term = math.exp(-mean)
    count = 0.0
    while left > term and count < 200.0:
        left -= term
        count += 1.0
        term *= mean / count
    return count
