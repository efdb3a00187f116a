"""Files that a user names replace no result, are in no store, and are what their names say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr, write_zarr

from terapose.api.runner import segment_file
from terapose.core.params import check

RESULT = "would be overwritten, although it is a result of Terapose"
STORE = "would be inside a Zarr store"
PAIR = ("evaluate", "a.labels.zarr", "out/labels.zarr")
PICTURE = ("picture", "a.zarr", "out/labels.zarr")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """An image, labels made by hand, and results with a report."""
    folder = tmp_path_factory.mktemp("over")
    image, labels = nuclei((6, 24, 28))
    write_ome_zarr(folder / "a.zarr", image)
    write_zarr(folder / "a.labels.zarr", labels.astype(np.uint16))
    params = check({"model": str(tiny_model), "diameter": 30, "report": True})
    segment_file(str(folder / "a.zarr"), folder / "out", params)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all of it, the working folder."""
    place = tmp_path / "here"
    shutil.copytree(made, place)
    monkeypatch.chdir(place)
    (place / "link.csv").symlink_to("out/cells.csv")
    (place / "out/mine.txt").write_text("mine")
    return place


def content(folder: Path) -> dict[Path, bytes]:
    """All files."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PAIR, "--json", "out/provenance.json"), RESULT),
        ((*PAIR, "--csv", "out/cells.csv"), RESULT),
        ((*PAIR, "--csv", "link.csv"), RESULT),
        ((*PAIR, "--picture", "a.zarr/p.png"), STORE),
        ((*PAIR, "--json", "a.zarr/zarr.json"), STORE),
        ((*PAIR, "--json", "x", "--csv", "x"), "two results would be written to one file"),
        ((*PAIR, "--csv", "no/x"), "no: there is no such folder"),
        (("profile", "out", "--plot", "out/labels.zarr/cells/0/p.png"), STORE),
        ((*PICTURE, "a.labels.zarr/p.png"), STORE),
        ((*PICTURE, "no/p.png"), "no: there is no such folder"),
        (("profile", "out", "--csv", "out/cells.csv"), RESULT),
        (("profile", "out", "--json", "out/report.json"), RESULT),
        (("profile", "out", "--json", "out/provenance.json"), RESULT),
        (("profile", "out", "--csv", "x", "--json", "out/../x"), "two results would be written"),
        (("view", "out", "--state", "out/cells.csv"), RESULT),
        (("view", "out", "a.zarr", "--state", "a.zarr/zarr.json"), "in the place of an input"),
        (("plan", "a.zarr", "--output", "out/cells.csv"), RESULT),
        (("plan", "a.zarr", "--output", "out/mine.txt"), "although it is not a plan of Terapose"),
        (("npy", "out/labels.zarr", "a.zarr/a_seg.npy"), STORE),
        (("fetch", "nuclei-small", "--output", "out/cells.csv", "--overwrite"), RESULT),
        (("fetch", "nuclei-small", "--output", "out/mine.txt"), "already exists"),
        (("crop", "a.zarr", "out/labels.zarr", "--overwrite"), RESULT),
        (("process", "a.labels.zarr", "out/labels.zarr", "--with", "size", "--overwrite"), RESULT),
        (("simulate", "out/labels.zarr", "--overwrite"), RESULT),
        (("train", ".", "--output", "out/provenance.json", "--overwrite"), RESULT),
    ],
)
def test_what_is_kept_is_not_replaced(
    here: Path, command: Terapose, words: tuple[str, ...], said: str
) -> None:
    before = content(here)
    assert said in command.refuses(*words)
    assert content(here) == before


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ((*PICTURE, "p.tif"), ".png"),
        ((*PAIR, "--picture", "p.jpg"), ".png"),
        (("profile", "out", "--plot", "p"), ".png"),
        (("crop", "a.zarr", "b.tif"), ".zarr or no ending"),
        (("process", "out/labels.zarr", "b.csv", "--with", "size"), ".zarr or no ending"),
        (("spatialdata", "out", "b.h5ad"), ".zarr or no ending"),
    ],
)
def test_names_say_what_is_written(
    here: Path, command: Terapose, words: tuple[str, ...], allowed: str
) -> None:
    before = sorted(here.iterdir())
    said = command.refuses(*words)
    assert "the name has another ending than what is written; allowed: " + allowed in said
    assert sorted(here.iterdir()) == before


def test_new_names_among_results_are_free(here: Path, command: Terapose) -> None:
    assert command(*PAIR, "--json", "out/scores.json", "--csv", "out/scores.csv").code == 0
    assert command(*PICTURE, "out/my.PNG").code == 0
    assert command("profile", "out", "--json", "out/profile.json").code == 0
    # what such a command has written is replaced
    assert command(*PAIR, "--json", "out/scores.json").code == 0
    for _ in range(2):
        assert command("plan", "a.zarr", "--diameter", 30, "--output", "out/plan.json").code == 0
    assert "network_shape" in json.loads(Path("out/plan.json").read_text())
    assert command("verify", "out").code == 0


def test_weights_replace_the_same_weights_alone(
    here: Path, command: Terapose, tiny_model: Path
) -> None:
    words = ("fetch", tiny_model, "--output", "net.pth")
    for _ in range(2):
        assert command(*words).code == 0
    Path("net.pth").write_bytes(b"another")
    assert "net.pth: already exists" in command.refuses(*words)
    assert Path("net.pth").read_bytes() == b"another"
    assert command(*words, "--overwrite").code == 0
    assert Path("net.pth").read_bytes() == tiny_model.read_bytes()
    # a card, too: and then nothing at all is written
    shipped = ("fetch", "nuclei-small", "--output", "small.pth")
    Path("small.md").write_text("notes")
    assert "small.md: already exists" in command.refuses(*shipped)
    assert not Path("small.pth").exists()
