"""`terapose simulate`: an image of nuclei with its reference labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from terapose.cli.values import LocalPath, Numbers, Real

_EPILOG = """\b
Examples:
  terapose simulate demo.zarr --shape 96,256,256 --seed 1
  terapose simulate slide.ome.tif --kind slide --shape 4000,4000 --channels 3
"""


@click.command(epilog=_EPILOG)
@click.argument("out", type=LocalPath())
@click.option("--kind", type=click.Choice(["volume", "slide"]), default="volume", show_default=True)
@click.option(
    "--shape",
    type=Numbers(2, 3),
    help="Size in voxels: Z,Y,X of a volume, Y,X of a slide.  [default: 64,256,256, slide "
    "2048,2048]",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Random seed: each gives a different image.",
)
@click.option(
    "--voxel-size",
    type=Numbers(1, 3, kind=float),
    help="Micrometres: Z,Y,X of a voxel, one number for a slide.  [default: 2,0.8,0.8, slide 0.5]",
)
@click.option(
    "--diameter",
    type=Real(),
    help="Mean diameter of the nuclei in micrometres.  [default: 12, slide 9]",
)
@click.option(
    "--density", type=Real(), help="Density of the tissue, 0 to 1.  [default: 0.7, slide 0.9]"
)
@click.option(
    "--brightness", type=Real(), help="Brightness of an average nucleus, in counts.  [default: 300]"
)
@click.option("--gain", type=Real(), help="Counts per photon; higher is noisier.  [default: 8]")
@click.option(
    "--channels",
    type=int,
    help="Number of channels: nuclei, cell bodies, markers.  [default: 1, slide 2]",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Number of threads.  [default: one per core]"
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
def command(
    out: Path,
    kind: str,
    shape: tuple[int, ...] | None,
    voxel_size: tuple[float, ...] | None,
    workers: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Simulate an image of fluorescent nuclei, of any size, with its reference labels.

    OUT ends in .zarr (OME-Zarr) or .ome.tif (OME-TIFF); the labels are written beside it, to
    NAME.labels.zarr/nuclei or NAME-labels.ome.tif.
    """
    from terapose.apps.simulate.write import write
    from terapose.cli.progress import progress

    given = {name: value for name, value in options.items() if value is not None}
    scene = _scene(kind, shape, voxel_size, given)
    with progress("simulating") as show:
        paths = write(
            scene, out, workers=workers or os.cpu_count() or 1, overwrite=overwrite, progress=show
        )
    for name, path in zip(("image", "labels"), paths, strict=True):
        click.echo(f"{name}: {path}")


def _scene(
    kind: str,
    shape: tuple[int, ...] | None,
    size: tuple[float, ...] | None,
    options: dict[str, Any],
) -> Any:
    """Make the scene that the options describe."""
    from terapose.apps.simulate.scene import Scene, slide_scene
    from terapose.core.errors import InputError

    dimensions = 3 if kind == "volume" else 2
    if shape is not None and len(shape) != dimensions:
        raise InputError(
            f"a {kind} has {dimensions} axes",
            where="shape",
            got=",".join(map(str, shape)),
            allowed="Z,Y,X" if kind == "volume" else "Y,X",
        )
    if size is not None and len(size) != (3 if kind == "volume" else 1):
        raise InputError(
            "not the numbers of this kind",
            where="voxel-size",
            got=",".join(map(str, size)),
            allowed="Z,Y,X of a volume, one number for a slide",
        )
    if kind == "volume":
        if size is not None:
            options["voxel_size"] = size
        return Scene((shape or (64, 256, 256)), **options)  # type: ignore[arg-type]
    if size is not None:
        options["pixel_size"] = size[0]
    return slide_scene((shape or (2048, 2048)), **options)  # type: ignore[arg-type]
