"""How fast stages are: rates that were measured, from which the time of tasks is projected.

Of a stage without a rate no time is projected.
"""

from __future__ import annotations

TILES: dict[tuple[str, str, str], float] = {
    ("unet", "cpu", "float32"): 23.1,
    ("cellpose4", "cpu", "float32"): 0.187,
    ("unet", "cuda", "float32"): 1_239,
    ("unet", "cuda", "bfloat16"): 2_532,
    ("cellpose4", "cuda", "float32"): 86,
    ("cellpose4", "cuda", "bfloat16"): 214,
}
"""Tiles a second by the family of the network, the device and the precision: on two processors (a
virtual machine with two cores of a Xeon) and on one H100, as in docs/benchmarks.md."""

VOXELS: dict[str, float] = {"follow": 2_200_000}
"""Voxels of items a second, on one processor: points of a volume (docs/benchmarks.md); those of
planes are faster. ``make projections`` prints the rates of all stages."""

WORK: dict[tuple[str, str], float] = {
    ("follow", "planes"): 873_000,
    ("masks", "planes"): 2_190_000,
    ("gradients-yx", "volumes"): 5_000_000,
    ("gradients-yx", "planes"): 5_000_000,
    ("follow", "volumes"): 2_280_000,
}
