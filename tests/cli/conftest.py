"""An image without fault, segmenting what cannot be, and what can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose, finished
from tests.synthetic import nuclei, write_ome_zarr, write_zarr

SHAPE = (6, 24, 28)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small image without fault."""
    return write_ome_zarr(tmp_path_factory.mktemp("good") / "good.zarr", nuclei(SHAPE)[0])


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_model: Path,
) -> Callable[..., str]:
    """Segment what cannot be; returns the sentence, with the image's folder left out."""
    command = Terapose(monkeypatch, capsys)

    def run(image: Path | str, *words: object, out: Path = tmp_path / "out") -> str:
        if "--model" not in words:
            words = (*words, "--model", tiny_model)
        said = command.refuses("segment", image, out, "--jobs", 1, *words)
        assert not finished(out)
        return said.replace(f"{Path(image).parent}/", "")

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0].astype(np.uint16))


@pytest.fixture
def segment(command: Terapose, image: Path, tiny_model: Path) -> Callable[..., Path]:
    """Run `terapose segment`; returns the store."""

    def run(out: Path, *words: object) -> Path:
        said = command("segment", image, out, "--model", tiny_model, "--jobs", 1, *words)
        assert said.code == 0, said.err
        record = json.loads((out / "provenance.json").read_text())
        return out / ".terapose" / str(record["plan_digest"])

    return run
