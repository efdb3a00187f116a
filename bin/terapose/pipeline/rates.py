"""How fast stages are: rates that were measured, from which the time of tasks is projected."""

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
virtual machine with two cores of an AMD EPYC, Zen 5) and on one H100, as in docs/benchmarks.md. Of
U-Nets they are those of ``nuclei-small``: ``nuclei-large`` takes 1.3 times as long, U-Nets of
Cellpose 2.9 times (docs/models.md), well within the time that is requested
(`terapose.pipeline.needs`)."""

UNKNOWN, FASTEST = 1_000_000, 4_000_000
"""Voxels a second by which time is requested for a stage that is not in `WORK`, below all that are;
and for those that are faster than this, which are so only on a disk that is fast."""

VOXELS: dict[str, float] = {"follow": 2_200_000}
"""Voxels of items a second, on one processor: points of a volume (docs/benchmarks.md); those of
planes are faster. By these small images share tasks. ``make projections`` prints the rates of
all stages."""

WORK: dict[tuple[str, str], float] = {
    ("convert", "volumes"): 57_600_000,
    ("convert", "planes"): 57_600_000,
    ("intensities", "volumes"): 224_000_000,
    ("intensities", "planes"): 101_000_000,
    ("gradients-yx", "volumes"): 6_170_000,
    ("gradients-zx", "volumes"): 5_090_000,
    ("gradients-zy", "volumes"): 4_570_000,
    ("gradients-yx", "planes"): 5_530_000,
    ("combine", "volumes"): 1_110_000,
    ("combine", "planes"): 7_070_000,
    ("follow", "volumes"): 2_770_000,
    ("follow", "planes"): 3_130_000,
    ("peaks", "volumes"): 6_110_000,
    ("peaks", "planes"): 7_650_000,
    ("masks", "volumes"): 3_380_000,
    ("masks", "planes"): 3_510_000,
    ("flow_errors", "planes"): 1_910_000,
    ("overlaps", "planes"): 1_590_000,
    ("process_cells", "volumes"): 1_830_000,
    ("process_cells", "planes"): 2_600_000,
    ("cell_holes", "planes"): 11_000_000,
    ("export", "volumes"): 64_100_000,
    ("export", "planes"): 11_000_000,
    ("measure", "volumes"): 19_300_000,
    ("measure", "planes"): 15_900_000,
    ("outlines", "planes"): 2_850_000,
}
"""Voxels a second on one processor, of volumes and of planes by themselves, from which prices are
projected (`terapose.pipeline.price`). They are those that ``python -m benchmarks.projections``
prints of the largest images on one busy core of an AMD EPYC, in processor time, where every voxel
belongs to a cell; of passes of the network what they do beside the network, of ``combine`` for
images that are resized, and of ``process_cells`` with ``components``, in images of 2 and 4 million
voxels."""
