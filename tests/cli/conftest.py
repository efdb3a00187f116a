"""An image without fault, and segmenting what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import Terapose, finished
from tests.synthetic import nuclei, write_ome_zarr

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
