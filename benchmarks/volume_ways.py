"""What the shipped network gains without training, in volumes: `python -m benchmarks.volume_ways`.

1. The volumes are those by which choices are made: embryo 8 at three times, and of the plant half
   that was trained on the rows that were not (planes 0 to 49, rows 70 to 99; all of the volume is
   segmented). Each has the median diameter of its annotated nuclei that no border cuts.
2. Each is segmented by ``terapose.segment``: as it is shipped, and with one thing changed.
3. Scores are average precision, of the three times together and of the plant.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from benchmarks.held_out import precision
from benchmarks.nuclei_data import EMBRYO_VOXEL, PLANT_VOXEL, THRESHOLDS
from benchmarks.real_sets import diameter_of_whole
from numpy.typing import NDArray

import terapose
from terapose.apps.evaluate.counts import overlap_of
from terapose.apps.evaluate.scores import scored

WAYS: Mapping[str, Mapping[str, Any]] = {
    "as shipped": {},
    "`augment`: tiles also flipped, and averaged": {"augment": True},
    "`flow3d_smooth: 1`": {"flow3d_smooth": 1.0},
    "`flow3d_smooth: 2`": {"flow3d_smooth": 2.0},
    "`flow3d_smooth: 3`": {"flow3d_smooth": 3.0},
    "`cellprob_threshold: -1`": {"cellprob_threshold": -1.0},
    "`cellprob_threshold: 1`": {"cellprob_threshold": 1.0},
    "both: 1 and -1": {"flow3d_smooth": 1.0, "cellprob_threshold": -1.0},
    "both: 2 and -1": {"flow3d_smooth": 2.0, "cellprob_threshold": -1.0},
    "both: 2 and -2": {"flow3d_smooth": 2.0, "cellprob_threshold": -2.0},
}
"""What is changed in each."""


@dataclass(frozen=True)
class Volume:
    """A volume, (Z, Y, X), with its annotation and its voxels, and the part that is scored."""

    image: NDArray[Any]
    labels: NDArray[np.integer[Any]]
    voxel: tuple[float, float, float]
    part: tuple[slice, ...] = (slice(None),)

    @cached_property
    def diameter(self) -> float:
        """Of its annotated nuclei."""
        return diameter_of_whole(self.labels)


def read_groups(data: Path) -> dict[str, list[Volume]]:
    """The volumes of the validation part."""
    embryos = data / "nuclei3d_embryo"
    names = sorted(path.name for path in (embryos / "images").glob("Emb08_*.tif"))
    with h5py.File(data / "nuclei3d_plant" / "1135_mini.h5") as file:
        plant = Volume(
            np.asarray(file["raw"]),
            np.asarray(file["label"]),
            PLANT_VOXEL,
            (slice(0, 50), slice(70, 100)),
        )
    return {
        "embryo 8": [
            Volume(
                tifffile.imread(embryos / "images" / name),
                tifffile.imread(embryos / "labels" / name),
                EMBRYO_VOXEL,
            )
            for name in names
        ],
        "plant": [plant],
    }


def scores(volumes: Sequence[Volume], way: Mapping[str, Any]) -> str:
    """Average precision of all objects of some volumes together, at all thresholds."""
    counts = np.zeros((len(THRESHOLDS), 3))
    for volume in volumes:
        found = terapose.segment(
            volume.image, diameter=volume.diameter, voxel_size=volume.voxel, **way
        )
        one = scored(overlap_of(volume.labels[volume.part], found[volume.part]), THRESHOLDS)
        counts += [(true, one.reference, one.predicted) for true in one.true_positives]
    return " / ".join(f"{precision(*row):.3f}" for row in counts)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    groups = read_groups(parser.parse_args(words).data)
    columns = ["way", *groups]
    print(f"| {' | '.join(columns)} |\n" + "| --- " * len(columns) + "|")
    for name, way in WAYS.items():
        cells = [scores(volumes, way) for volumes in groups.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
