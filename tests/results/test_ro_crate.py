"""Results described as an RO-Crate."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr

NAME = "ro-crate-metadata.json"


@pytest.fixture
def results(tmp_path: Path, command: Terapose, tiny_model: Path) -> Path:
    image = write_ome_zarr(tmp_path / "a.zarr", nuclei((1, 48, 48))[0][0], axes="yx")
    out = tmp_path / "out"
    words = ("segment", image, out, "--model", tiny_model, "--table", "csv", "--jobs", 1)
    said = command(*words)
    assert said.code == 0, said.err
    return out


def _references(value: Any) -> list[str]:
    """All entities that a value refers to."""
    if isinstance(value, list):
        return [name for one in value for name in _references(one)]
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else _references([*value.values()])
    return []


def test_a_crate_describes_what_is_there(results: Path, command: Terapose) -> None:
    licence = "https://creativecommons.org/licenses/by/4.0/"
    assert command("crate", results, "--license", licence).code == 0
    document = json.loads((results / NAME).read_text())
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    known = {*entities, "https://w3id.org/ro/crate/1.1"}
    assert set(_references(document["@graph"])) <= known
    root, run = entities["./"], entities["#run"]
    parts = [part["@id"] for part in root["hasPart"]]
    assert parts == ["labels.zarr/", "cells.csv", "provenance.json"] and run["result"]
    for name in parts[1:]:
        content = (results / name).read_bytes()
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert entities[name]["contentSize"] == str(len(content))
    record = json.loads((results / "provenance.json").read_text())
    assert entities["#terapose"]["version"] == record["terapose"]
    assert entities["#network-1"]["sha256"] == record["model"]["digest"]
    assert entities["#min_size"]["value"] == "15" and entities["#image"]["name"] == "a"
    # paths on this disk are nobody else's business
    assert str(results.parent) not in (results / NAME).read_text()
    assert root["license"] == {"@id": licence}
    for odd in ("CC-BY", "s3://bucket/a", "file://a", "https://", "https://a b", "http://a\n"):
        assert "is not the URL" in command.refuses("crate", results, "--license", odd)


def test_all_that_went_in(tmp_path: Path, command: Terapose, tiny_model: Path) -> None:
    """What the plan decides, a second network, and labels that were given."""
    planes = nuclei((6, 48, 48))[0][2:4]
    image = write_ome_zarr(tmp_path / "a.zarr", planes, axes="cyx")
    own = (
        "--model",
        tiny_model,
        "--diameter",
        18,
        "--percentiles",
        "2,98",
        "--region",
        "4:40,0:48",
    )
    second = ("--cell-model", tiny_model, "--cell-channels", 2)
    words = ("--mode", "2d", "--table", "csv", "--jobs", 1)
    assert command("segment", image, tmp_path / "out", *own, *second, *words).code == 0
    labels = tmp_path / "out" / "labels.zarr" / "cells"
    given = ("--renumber", "--allow-pieces", "--region", "4:40,0:48", *words)
    said = command("measure", image, labels, tmp_path / "measured", *given)
    assert said.code == 0, said.err
    found = {}
    for name in ("out", "measured"):
        assert command("crate", tmp_path / name).code == 0
        graph = json.loads((tmp_path / name / NAME).read_text())["@graph"]
        found[name] = {entity["@id"]: entity for entity in graph}
        run = found[name]["#run"]
        assert {one["@id"] for one in run["object"]} <= set(found[name])
        assert len(found[name]) == len(graph)
    values = {one: about.get("value") for one, about in found["out"].items()}
    expected = {"#diameter": "18.0", "#mode": "2d", "#channels": "[1]", "#level": "0"}
    expected |= {"#percentiles": "[2.0, 98.0]", "#normalize_mode": "global"}
    expected |= {"#region": "0:1,4:40,0:48", "#second-channels": "[2]", "#min_size": "15"}
    assert {one: values.get(one) for one in expected} == expected
    assert {"#network-1", "#network-2"} <= set(found["out"])
    assert {"@id": "#network-2"} in found["out"]["#run"]["object"]
    measured = found["measured"]
    assert {"@id": "#labels"} in measured["#run"]["object"] and "#network-1" not in measured
    record = json.loads((tmp_path / "measured" / "provenance.json").read_text())
    assert measured["#labels"]["identifier"] == record["given_labels"]["identity"]
    assert str(tmp_path) not in json.dumps([*found.values()])


def test_damaged_results_and_crates_of_others(results: Path, command: Terapose) -> None:
    (results / NAME).write_text('{"@context": [], "@graph": []}')
    assert "not written by Terapose" in command.refuses("crate", results)
    (results / NAME).unlink()
    with (results / "cells.csv").open("a") as file:
        file.write("5,5\n")
    assert "cells.csv has another checksum" in command.refuses("crate", results)
    (results / "provenance.json").unlink()
    assert "there are no results" in command.refuses("crate", results)
    assert not (results / NAME).exists()


def test_a_new_run_removes_it(results: Path, command: Terapose, tiny_model: Path) -> None:
    assert command("crate", results).code == 0
    image = results.parent / "a.zarr"
    words = ("segment", image, results, "--model", tiny_model, "--table", "csv", "--jobs", 1)
    said = command("check", image, "--output", results, "--model", tiny_model)
    assert said.code == 0, said.err
    assert command(*words, "--min-size", 20).code == 0
    assert not (results / NAME).exists()
