"""Outlines of cells that QuPath, or `terapose.io.tables.geojson`, has exported as GeoJSON.

Read are a collection of features, a list of them, or one. Where features are cells or detections,
annotations beside them (regions of tissue) are left out; otherwise annotations are the cells. The
number of a cell is its name, if that is one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError, few
from terapose.io.documents import parse_json, refuse_special

log = logging.getLogger(__name__)

ENDS = (".geojson", ".json")
Rings = tuple[NDArray[np.float64], ...]
"""A polygon: the outer ring, then those of holes; each is (N, 2) of X, Y."""
_CELLS = ("cell", "detection", "PathCellObject", "PathDetectionObject")
_BESIDE = ("annotation", "root", "PathAnnotationObject", "PathRootObject")


@dataclass(frozen=True)
class Outline:
    """The outline of a cell.

    Attributes
    ----------
    name
        As messages call it.
    number
        Of the cell; None where its name is none.
    plane
        From 0.
    polygons
        In pixels of X, Y from the corner of the first pixel.
    """

    name: str
    number: int | None
    plane: int
    polygons: tuple[Rings, ...]


def read_outlines(path: Path) -> list[Outline]:
    """Read the outlines of cells; all of them are in memory.

    Raises
    ------
    InputError
        If the file cannot be read, or has anything else than polygons.
    """
    refuse_special(path)
    try:
        document = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("is not GeoJSON", where=path, got=error) from error
    features = document
    if isinstance(document, dict):
        features = document.get("features", [document])
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise InputError("has no list of features", where=path, allowed="GeoJSON as of QuPath")
    kept = _cells_of(features, path)
    faults: list[str] = []
    outlines = [_outline(feature, number, faults) for number, feature in kept]
    if faults:
        raise InputError(
            "has features that are not polygons",
            where=path,
            got=few(faults, 10),
            remedy="remove them, or export outlines of cells as polygons",
        )
    if any("nucleusGeometry" in feature for _, feature in kept):
        log.warning("%s: outlines of nuclei in it are not read, only those of cells", path)
    return [outline for outline in outlines if outline is not None]


def _cells_of(features: list[dict[str, Any]], path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Features that are cells, with their positions in the file from 1."""
    numbered = list(enumerate(features, 1))
    kinds = [_kind(feature) for feature in features]
    if not any(kind in _CELLS for kind in kinds):
        return numbered
    kept = [one for one, kind in zip(numbered, kinds, strict=True) if kind not in _BESIDE]
    if len(kept) < len(features):
        left = len(features) - len(kept)
        log.warning("%s: %d annotations beside the cells are left out", path, left)
    return kept


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties")
    return found if isinstance(found, dict) else {}


def _kind(feature: dict[str, Any]) -> str:
    """What QuPath says that a feature is; older releases have it as its identifier."""
    return str(_properties(feature).get("objectType") or feature.get("id") or "")


def _outline(feature: dict[str, Any], position: int, faults: list[str]) -> Outline | None:
    """The outline of a feature; None, and a fault, where it has none."""
    given = _properties(feature).get("name")
    text = str(given) if given is not None else ""
    number = int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None
    name = text or f"feature {position}"
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        faults.append(f"{name} (no geometry)")
        return None
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    try:
        several: Any = {"Polygon": [coordinates], "MultiPolygon": coordinates}[str(kind)]
        polygons = tuple(tuple(_ring(ring) for ring in rings) for rings in several)
        plane = geometry.get("plane") or {}
        z = int(plane.get("z", 0))
        if not 0 <= z < 2**31:
            raise ValueError("no plane")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        faults.append(f"{name} ({kind})")
        return None
    if not polygons or not all(polygons):
        faults.append(f"{name} (empty)")
        return None
    return Outline(name, number, z, polygons)


def _ring(points: Any) -> NDArray[np.float64]:
    """A ring as an array; what is no list of at least three finite points is refused."""
    ring = np.array([point[:2] for point in points], np.float64)
    if ring.ndim != 2 or len(ring) < 3 or not np.isfinite(ring).all():
        raise ValueError("no ring")
    # far beyond any image, and exact as whole numbers
    if np.abs(ring).max() > 2**31:
        raise ValueError("too far away")
    return ring
