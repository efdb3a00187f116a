"""Images on an object store that breaks off, answers with other bytes, or is overloaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.object_store import Fault, Gateway, before, serving
from tests.synthetic import voxels, write_ome_zarr

from terapose.io.images.opening import open_image
from terapose.io.remote import Remote

ARRAY = voxels(2, 24, 40)
IMAGE = "s3://broken/image.zarr"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("server")
    path = write_ome_zarr(folder / "image.zarr", ARRAY)
    with serving(folder) as server:
        bucket = Remote("s3://broken")
        bucket._fs.mkdir("broken")
        for file in path.rglob("*"):
            if file.is_file():
                bucket.send(str(file.relative_to(folder)), file)
        with before(server) as running:
            yield running


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        *(("0/zarr.json", fault) for fault in Fault),
        *((what, Fault.SHORT) for what in ("image.zarr/zarr.json", "/c/", "list-type")),
    ],
)
def test_one_sentence_and_no_result(
    gateway: Gateway,
    tmp_path: Path,
    tiny_model: Path,
    command: Terapose,
    what: str,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails: Callable[[str, str], bool] = lambda method, path: method == "GET" and what in path  # noqa: E731
    monkeypatch.setattr(
        gateway, "fault", lambda method, path: fault if fails(method, path) else None
    )
    out = tmp_path / "out"
    said = command.refuses("segment", IMAGE, out, "--model", tiny_model, "--jobs", 1)
    assert re.match(rf"{IMAGE}\S*: ", said), said
    assert "check the" in said and "network" in said, said
    assert not list(out.glob("labels*")) and not list(out.glob("cells*"))
    monkeypatch.undo()
    image = open_image(IMAGE)
    everything = (slice(0, 2), slice(0, 24), slice(0, 40))
    np.testing.assert_array_equal(image.read(everything, 1), ARRAY)
