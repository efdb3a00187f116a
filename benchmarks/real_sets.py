"""Real images with references that the shipped network was not trained on.

1. A data set is a folder of TIFF twins in ``images/`` and ``labels/``, of HDF5 files with the
   datasets ``raw`` and ``label``, or two files that are named here.
2. Of the data that the network was trained on, only what was held out counts: every fifth of the 2D
   images (`benchmarks.nuclei_data`), embryos 9 to 11, planes 50 to 99 of the plant.
3. The diameter that is given is stated with the data, not fitted to the images: one for a data set,
   or that of each image's own annotation. Of volumes the latter is known as well (`annotated`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.nuclei_data import planar_pairs
from numpy.typing import NDArray
from skimage.segmentation import clear_border

from terapose.apps.train.data import median_diameter
from terapose.core.errors import InputError
from terapose.io.images.array_like import open_labels

SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class DataSet:
    """A folder of images with references, and how it is segmented and scored.

    Attributes
    ----------
    name
        Of the folder.
    title, source, note
        For the page.
    diameter
        Of a typical object in pixels of Y and X, as the data's description has it; None: the median
        of each image's annotation.
    anisotropy
        Z step over pixel size, where the files do not say the voxel size.
    held_out
        Beginnings of the names of images that the network was not trained on.
    planar
        Whether these are planes, of which every fifth was held out.
    unit
        What the size of an object is counted in.
    annotated
        Whether its reference is an annotation, whose objects say how large they are.
    first_plane
        Of the part along Z that it was not trained on.
    files
        Image and reference, where the folder has no twins.
    sparse
        Whether only some objects are annotated: what is found besides them is not wrong.
    groups
        Ends of the names of images that are also scored by themselves, and what to call them.
    """

    name: str
    title: str
    source: str
    note: str
    diameter: float | None = None
    anisotropy: float | None = None
    held_out: tuple[str, ...] = ("",)
    planar: bool = False
    unit: str = "voxels"
    annotated: bool = True
    first_plane: int = 0
    files: tuple[str, str] | None = None
    sparse: bool = False
    groups: tuple[tuple[str, str], ...] = ()


DATA_SETS = (
    DataSet(
        name="nuclei2d_dsb2018",
        title="2D nuclei of many kinds",
        source="Data Science Bowl 2018, stage 1 training set (BBBC038), CC0",
        note="Every fifth image by ID, without those that are also in BBBC039; of the others 349 "
        "were trained on, and 50 used to choose. The diameter that is given is the median of each "
        "image's annotated nuclei.",
        planar=True,
        unit="pixels",
    ),
    DataSet(
        name="nuclei3d_embryo",
        title="Mouse embryo nuclei",
        source="BBBC050, CC BY 3.0",
        diameter=14,
        held_out=("Emb09_", "Emb10_", "Emb11_"),
        groups=(("_t301", "first time"), ("_t401", "second time"), ("_t501", "last time")),
        note="Embryos 9 to 11 at three times each; the network was trained on planes of embryos 1 "
        "to 7, and embryo 8 was used to choose. The intervals take the nine volumes for "
        "independent ones, though they are three embryos: those for other embryos are wider.",
    ),
    DataSet(
        name="nuclei3d_plant",
        title="Arabidopsis ovule nuclei",
        source="GoNuclear 1135, MIT",
        diameter=36,
        first_plane=50,
        note="All 100 planes are segmented and planes 50 to 99 scored, where nuclei at plane 50 "
        "are cut; of planes 0 to 49 the network was trained on rows 0 to 69, and rows 70 to 99 "
        "were used to choose.",
    ),
    DataSet(
        name="nuclei3d_organoids",
        title="Tumour organoid nuclei",
        source="Cellos, MIT",
        diameter=18,
        anisotropy=6,
        sparse=True,
        note="The network was not trained on data of this type. Only some nuclei are "
        "annotated, so further detections are not errors and there is no average precision. The "
        "files contain no voxel size; assuming round nuclei of about 3 planes by 18 pixels gives "
        "an anisotropy of 6.",
    ),
    DataSet(
        name="slide_tonsil",
        title="Tonsil slide beside MCMICRO",
        source="nf-core test data, MIT",
        diameter=9.6,
        unit="pixels",
        annotated=False,
        files=("tonsil_registered_12ch_rebuilt.ome.tif", "cell.ome.tif"),
        note="The reference is the mask of MCMICRO's own pipeline, not an annotation: the scores "
        "say how far both agree. First channel, DNA.",
    ),
    DataSet(
        name="cells3d_ovule",
        title="Arabidopsis ovule cells",
        source="PlantSeg test sample, MIT",
        diameter=23,
        note="This is a membrane stain, and the shipped network is for nuclei: the score shows "
        "what happens with an image it was not made for.",
    ),
)


@dataclass(frozen=True)
class Sample:
    """One image of a data set: addresses of it and of its reference, and the diameter given."""

    data_set: DataSet
    name: str
    image: str
    labels: str
    diameter: float

    @property
    def annotated(self) -> float:
        """Median diameter of annotated objects (`diameter_of_whole`)."""
        return diameter_of_whole(_read(self.labels))

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """The part that is scored."""
        z, y, x = open_labels(self.labels).shape
        return slice(self.data_set.first_plane, z), slice(0, y), slice(0, x)


def find_samples(data: Path, names: Sequence[str]) -> list[Sample]:
    """List the images of the named data sets that were held out.

    Raises
    ------
    InputError
        If the folder of a data set has none.
    """
    samples = []
    for data_set in (one for one in DATA_SETS if one.name in names):
        folder = data / data_set.name
        found = list(_files_of(data_set, folder)) if folder.is_dir() else []
        if not found:
            raise InputError(
                "there are no images",
                where=folder,
                allowed="TIFF twins in images/ and labels/, or HDF5 files with raw and label",
                remedy="name the folder of the data sets with --data (make real-data DATA=...)",
            )
        samples += [
            Sample(
                data_set, name, image, labels, data_set.diameter or median_diameter(_read(labels))
            )
            for name, image, labels in found
        ]
    return samples


def _files_of(data_set: DataSet, folder: Path) -> Iterable[tuple[str, str, str]]:
    """Name, image and reference of each held-out image."""
    if data_set.files:
        image, labels = (folder / name for name in data_set.files)
        return [(folder.name, str(image), str(labels))] if image.exists() else []
    if data_set.planar:
        held = planar_pairs(folder)[1]
        return [(image.stem, str(image), str(labels)) for image, labels in held]
    twins, others = sorted(folder.glob("images/*.tif")), sorted(folder.glob("*.h5"))
    found = [(p.stem, str(p), f"{folder}/labels/{p.name}") for p in twins]
    found += [(p.stem, f"{p}/raw", f"{p}/label") for p in others]
    return [one for one in found if one[0].startswith(data_set.held_out)]


def _read(labels: str) -> NDArray[np.integer]:
    lazy = open_labels(labels)
    z, y, x = lazy.shape
    return lazy[0:z, 0:y, 0:x]


def diameter_of_whole(labels: NDArray[np.integer]) -> float:
    """Median diameter of objects that no border cuts, or of all if it cuts each."""
    whole = clear_border(labels)
    return median_diameter(whole if whole.any() else labels)


def size_edges(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Quartiles of the sizes of all reference objects, in voxels."""
    sizes = [
        np.unique(labels[labels > 0], return_counts=True)[1]
        for labels in (open_labels(one.labels)[one.region] for one in samples)
    ]
    edges = np.unique(np.quantile(np.concatenate(sizes), SHARES))
    return tuple(float(edge) for edge in edges)
