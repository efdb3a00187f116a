"""Images and folders for runs of the real Nextflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic import nuclei, write_ome_zarr
from tests.workflow.launch import Launch, needs_engine, results, segment

Launches = Callable[[str], Launch]
SHAPE = (14, 40, 48)


@pytest.fixture(scope="session")
def voxels() -> np.ndarray:
    """A volume with a dozen nuclei that the shipped network finds."""
    return nuclei(SHAPE)[0]


@pytest.fixture(scope="session")
def image(voxels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volume as OME-Zarr."""
    folder = tmp_path_factory.mktemp("image")
    return write_ome_zarr(
        folder / "nuclei.zarr", voxels, voxel_size=(1.0, 1.0, 1.0), chunks=(8, 32, 32)
    )


@pytest.fixture(scope="session")
def uncut(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results as `terapose segment` makes them, uncut and at once."""
    folder = tmp_path_factory.mktemp("segment")
    segment(image, folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(uncut: Path) -> tuple[str, bytes]:
    """Labels and table of these."""
    return results(uncut)


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launches]:
    """Make folders to launch runs from; no process outlives the module."""
    needs_engine()
    made: list[Launch] = []

    def make(name: str) -> Launch:
        made.append(Launch(tmp_path_factory.mktemp(name)))
        return made[-1]

    yield make
    for launch in made:
        launch.end()
