"""Results described as an RO-Crate: ``ro-crate-metadata.json`` beside the record.

The crate follows RO-Crate 1.1 and the profile Process Run Crate: files with size and SHA-256, the
program and its version, the image and the networks that they were made from, and the parameters.
All of it is in the record (``provenance.json``), which is a part of the crate. Results are compared
with their checksums first, so a crate never describes files that are damaged or incomplete. A new
run removes the crate, which would describe results that are gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.images.address import is_url
from terapose.io.images.folders import sample_name
from terapose.io.remote import names_in
from terapose.results.earlier import RECORD
from terapose.results.outputs import LABELS, named
from terapose.results.report.given import record_in
from terapose.results.report.numbers import parameters
from terapose.results.report.own import CRATE, CRATE_SIGN, crate_in
from terapose.results.verify import check

_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_KINDS = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".h5ad": "application/x-hdf5",
    ".geojson": "application/geo+json",
    ".json": "application/json",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}

Entity = dict[str, Any]


def write_crate(folder: Path, licence: str = "") -> Path:
    """Describe results as an RO-Crate.

    Parameters
    ----------
    folder
        With ``provenance.json`` and what that names.
    licence
        URL of the licence under which the results are; empty: the crate names none.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If the results are incomplete or damaged, or there is a crate of others.
    """
    check(folder)
    if CRATE in names_in(folder) and not crate_in(folder):
        raise InputError(
            "would be overwritten, although it was not written by Terapose",
            where=folder / CRATE,
            remedy="move it away",
        )
    record = record_in(folder, "is not a complete record of results")
    document = {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": list(_entities(folder, record, licence)),
    }
    files.write_text(folder / CRATE, json.dumps(document, indent=1) + "\n", "crate")
    return folder / CRATE


def _entities(folder: Path, record: Mapping[str, Any], licence: str) -> Iterator[Entity]:
    parts = list(_parts(folder, record))
    made = datetime.fromtimestamp(int((folder / RECORD).stat().st_mtime), UTC).isoformat()
    sample = sample_name(record["image"]["address"])
    version = record["terapose"]
    how, action = (
        ("segmented", "Segmentation") if "model" in record else ("measured", "Measurement")
    )
    inputs = [_image(record), *_given_labels(record)]
    networks = list(_networks(record))
    values = list(_parameters(record))
    yield {
        "@id": CRATE,
        "@type": "CreativeWork",
        "description": f"{CRATE_SIGN} {version}",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": _PROFILE},
        "name": f"Cells of {sample}",
        "description": f"{record['cells']} cells, {how} with Terapose {version} "
        f"in mode {record['mode']}",
        "datePublished": made,
        **({"license": {"@id": licence}} if licence else {}),
        "hasPart": _all(parts),
        "mentions": {"@id": "#run"},
    }
    yield {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    if licence:
        yield {"@id": licence, "@type": "CreativeWork", "name": licence}
    yield {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"{action} of {sample}",
        "endTime": made,
        "instrument": {"@id": "#terapose"},
        "object": _all([*inputs, *networks, *values]),
        "result": _all(parts),
    }
    yield {
        "@id": "#terapose",
        "@type": "SoftwareApplication",
        "name": "Terapose",
        "version": version,
        "softwareVersion": version,
        "identifier": record["package_digest"],
    }
    yield from (*inputs, *networks, *values, *parts)


def _all(entities: list[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]


def _parts(folder: Path, record: Mapping[str, Any]) -> Iterator[Entity]:
    """The results, and the record."""
    about = {LABELS: "Label images, OME-Zarr", RECORD: "Record of the run"}
    for name in (LABELS, *named(record), RECORD):
        path = folder / name
        described = {"name": about.get(name, name)}
        if path.is_dir():
            yield {"@id": f"{name}/", "@type": "Dataset", **described}
            continue
        kind = _KINDS.get(path.suffix.lower())
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield {
            "@id": name,
            "@type": "File",
            **described,
            "contentSize": str(path.stat().st_size),
            "sha256": digest,
            **({"encodingFormat": kind} if kind else {}),
        }


def _image(record: Mapping[str, Any]) -> Entity:
    return _input("#image", record["image"])


def _given_labels(record: Mapping[str, Any]) -> Iterator[Entity]:
    """The labels that were measured, if no network found them."""
    if "given_labels" in record:
        yield _input("#labels", record["given_labels"])


def _input(name: str, about: Mapping[str, Any]) -> Entity:
    """An image or labels: paths on somebody's disk say nothing to others."""
    address = about["address"]
    return {
        "@id": name,
        "@type": "CreativeWork",
        "name": sample_name(address),
        "identifier": about["identity"],
        "encodingFormat": about["format"],
        **({"url": address} if is_url(address) else {}),
    }


def _networks(record: Mapping[str, Any]) -> Iterator[Entity]:
    # labels that were given were found by no network, cells by one of their own perhaps
    second = record.get("second") or {}
    models = [about["model"] for about in (record, second) if about.get("model")]
    members = [(model, one) for model in models for one in model.get("members") or [model]]
    for number, (model, member) in enumerate(members, 1):
        licence = member.get("licence")
        yield {
            "@id": f"#network-{number}",
            "@type": "CreativeWork",
            "name": str(member.get("name") or member.get("file") or model["name"]),
            "sha256": member["digest"],
            **({"license": licence} if licence else {}),
        }


def _parameters(record: Mapping[str, Any]) -> Iterator[Entity]:
    """All parameters, each once, as a report has them; those of a second network apart."""
    found = parameters(record)
    if second := record.get("second"):
        own = parameters({**second, "stages": {}, "image": {"channels": second["channels"]}})
        found |= {f"second {name}": value for name, value in own.items()}
    for name, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield {
            "@id": f"#{name.replace(' ', '-')}",
            "@type": "PropertyValue",
            "name": name,
            "value": text,
        }
