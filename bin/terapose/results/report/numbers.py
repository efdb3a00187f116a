"""The numbers of a report: what `report.json` holds, and what its page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from terapose.core.masking import masked_all
from terapose.results.report.cells import Summary

FORMAT = 1
"""Of `report.json`: raised where a field changes its meaning."""
_OF_STAGE = ("tasks", "seconds", "processor_seconds", "peak_memory")


def diameter_used(record: Mapping[str, Any]) -> float | None:
    """The diameter in pixels that the network was given; None of labels that were given."""
    if "model" not in record:
        return None
    return float(record["model"]["diam_mean"]) / float(record["rescale"])


def found_diameter(found: Summary, record: Mapping[str, Any]) -> float | None:
    """Diameter of the disc or ball of the median size, in pixels of Y and X of the label image."""
    if not found.size.count:
        return None
    median = found.size.quantile(0.5)
    if record["mode"] == "2d":
        return 2 * math.sqrt(median / math.pi)
    return 2 * math.cbrt(3 * median * _depth(record) / (4 * math.pi))


def _depth(record: Mapping[str, Any]) -> float:
    """Height of a voxel in pixels, in the label image."""
    output = record["output"]
    if size := output["voxel_size"]:
        return float(size[0] / size[2])
    # the anisotropy is that of the level that was segmented
    return float(record["anisotropy"]) * factor(record) / _factor(record, 0)


def factor(record: Mapping[str, Any]) -> float:
    """Pixels of the label image for one of the level that was segmented."""
    return _factor(record, 2)


def _factor(record: Mapping[str, Any], axis: int) -> float:
    return float(record["output"]["shape"][axis] / record["image"]["shape"][axis])


def numbers(
    name: str,
    record: Mapping[str, Any],
    found: Summary | None,
    saturated: Mapping[str, Any],
    nuclei: Summary | None = None,
) -> dict[str, Any]:
    """All numbers of a sample.

    Parameters
    ----------
    name
        Of the sample.
    record
        Of the run.
    found
        What the table of cells says; None where there is none.
    saturated
        What is known of the voxels with the highest intensity.
    nuclei
        What the table of nuclei says, if nuclei became cells.
    """
    output, about, model = record["output"], record["image"], record.get("model", {})
    return {
        "format": FORMAT,
        "sample": name,
        "terapose": record["terapose"],
        "cells": record["cells"],
        "mode": record["mode"],
        "compartments": record["compartments"],
        "image": {
            "address": about["address"],
            "format": about["format"],
            "shape": about["shape"],
            "level": about["level"],
            "dtype": about["dtype"],
            "voxel_size": about["voxel_size"],
            "channels": _channels(about),
        },
        "labels": {name: output[name] for name in ("shape", "level", "voxel_size")},
        "network": _network(model),
        **({"given_labels": record["given_labels"]} if "given_labels" in record else {}),
        "diameter": {
            **_used(diameter_used(record), model, record if model else {}),
            "found": None if found is None else _rounded(found_diameter(found, record)),
            **({} if nuclei is None else {"nuclei": _rounded(found_diameter(nuclei, record))}),
        },
        **({"second": _second(second)} if (second := record.get("second")) else {}),
        "intensity": {**record.get("intensity", {}), **_scaled(record)},
        "saturated": dict(saturated),
        "statistics": None if found is None else _statistics(found, record),
        "parameters": parameters(record),
        "stages": {
            stage: {key: done.get(key) for key in _OF_STAGE}
            for stage, done in record["stages"].items()
        },
        "digests": {
            "package": record["package_digest"],
            "plan": record["plan_digest"],
            "image": about["identity"],
            **({"network": model["digest"]} if model else {}),
            "labels": record["stages"]["export"]["checksum"],
        },
        "ran_on": _ran_on(record),
        "notes": record["notes"],
    }


def _network(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: model.get(name) for name in ("name", "family", "licence", "precision")}


def _used(
    pixels: float | None, model: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any]:
    """The diameter of a network's run, and how it came about; earlier records do not say."""
    known = record.get("diameter", {})
    how = {name: known.get(name) for name in ("origin", "note")}
    return {"used": _rounded(pixels), "of_network": model.get("diam_mean"), **how}


def _second(second: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of the network that found the cells around nuclei."""
    pixels = second.get("diameter", {}).get("pixels")
    return {
        "network": _network(second["model"]),
        "channels": second["channels"],
        "cells": second.get("cells"),
        "diameter": _used(pixels, second["model"], second),
    }


def parameters(record: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the record has them, by name; of several stages with one, it is the same.

    Those that the plan decides are what they became: the diameter that was found, the mode that
    was chosen. Addresses are not among them.
    """
    known = {
        key: value for done in record["stages"].values() for key, value in done["params"].items()
    }
    intensity = record.get("intensity", {})
    known |= {f"normalize_{key}" if key == "mode" else key: v for key, v in intensity.items()}
    if "model" in record:
        of_network = ("precision", "overlap", "augment", "skip_empty")
        known |= {f"network {key}": record["model"][key] for key in of_network}
    names = ("mode", "anisotropy", "rescale", "flow_precision", "expand", "block")
    known |= {key: record.get(key) for key in names}
    if "model" in record:
        known["diameter"] = record.get("diameter", {}).get("pixels")
    known |= {key: record["image"].get(key) for key in ("level", "channels", "voxel_size")}
    known["region"] = record["image"].get("selection", {}).get("region") or None
    cleaned: dict[str, Any] = masked_all(known)
    return {key: cleaned[key] for key in sorted(cleaned) if cleaned[key] is not None}


def _channels(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = about["channel_names"]
    return [{"number": n, "name": names[n - 1]} for n in about["channels"] if n <= len(names)]


def _scaled(record: Mapping[str, Any]) -> dict[str, Any]:
    """The intensities that became 0 and 1 in each channel, where there is one pair."""
    done = record["stages"].get("percentiles", {})
    return {key: done[key] for key in ("low", "high") if key in done}


def _statistics(found: Summary, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says; sizes in voxels, or pixels in mode 2d."""
    whole = math.prod(found.shape)
    size = record["output"]["voxel_size"]
    # of a stack in mode 2d each cell is in one plane
    flat, unit = found.shape[0] == 1 or record["mode"] == "2d", "per_megapixel"
    amount = found.size.count / (whole / 1e6)
    if size and flat:
        unit, amount = "per_mm2", found.size.count / (whole * size[1] * size[2] / 1e6)
    elif size:
        unit, amount = "per_mm3", found.size.count / (whole * math.prod(size) / 1e9)
    elif not flat:
        unit = "per_megavoxel"
    return {
        "size": found.size.summary(),
        "probability": found.probability.summary(),
        "flow_error": found.error.summary(),
        "touching_border": found.border,
        "share_in_cells": round(found.size.total / whole, 6),
        "density": {"value": float(f"{amount:.4g}"), "unit": unit},
        "by_plane": found.planes.tolist() if len(found.planes) <= 10_000 else None,
    }


def _ran_on(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Versions of the libraries that round, of all stages."""
    kinds: dict[str, set[str]] = {}
    for done in record["stages"].values():
        for library, names in done.get("ran_on", {}).items():
            kinds.setdefault(library, set()).update(names)
    return {library: sorted(kinds[library]) for library in sorted(kinds)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
