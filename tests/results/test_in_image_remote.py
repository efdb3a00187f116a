"""Label images that are copied into an image on an object store."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.command import Terapose
from tests.in_image import DOCUMENT, Killed, labels_of, placed, segmented, tree
from tests.object_store import Server, serving

from terapose.core.errors import InputError
from terapose.io import files, remote_lock
from terapose.io.images.opening import open_image
from terapose.io.remote import Remote, at_once
from terapose.results.in_image.attaching import attach
from terapose.results.in_image.on_store import NOTE
from terapose.results.upload import upload

BUCKET = "images"
VERSION = {"0.5": "one", "0.4": "older"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        Remote(f"s3://{BUCKET}")._fs.mkdir(BUCKET)
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with an image of each version, and results; of one of them others that differ."""
    folder = tmp_path_factory.mktemp("made")
    for version, name in VERSION.items():
        image = placed(folder / f"{version}.zarr", version)
        segmented(tiny_model, image, folder / name, ome_zarr_version=version)
    segmented(tiny_model, folder / "0.5.zarr", folder / "two", diameter=12)
    return folder


@pytest.fixture
def there(server: Server, request: pytest.FixtureRequest) -> Remote:
    """A folder in the bucket that no other test has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    return Remote(f"s3://{BUCKET}/{name}")


def sent(folder: Path, there: Remote) -> Remote:
    """A copy of a folder on the object store."""
    at_once(lambda key: there.write(key, (folder / key).read_bytes()), tree(folder))
    return there


def listed(image: Remote, version: str = "0.5") -> list[str]:
    """The label images that an image lists."""
    content = image.read(f"labels/{DOCUMENT[version]}")
    if content is None:
        return []
    document = json.loads(content)
    found: list[str] = (document["attributes"]["ome"] if version == "0.5" else document)["labels"]
    return found


def voxels(image: Remote, name: str = "cells") -> np.ndarray:
    """The finest level of a label image in an image."""
    return np.asarray(zarr.open_array(f"{image}/labels/{name}/0", mode="r")[:])


@pytest.mark.parametrize("version", VERSION)
def test_the_same_files_as_on_a_disk(made: Path, there: Remote, version: str) -> None:
    image = sent(made / f"{version}.zarr", there / "image.zarr")
    known = open_image(str(image)).find_identity().digest
    out = made / VERSION[version]
    assert attach(out, str(image)) == image / "labels"
    local = placed(made / f"local-{version}.zarr", version)
    attach(out, str(local))
    found = {key: image.read(f"labels/{key}") for key in (image / "labels").files()}
    assert found == tree(local / "labels")
    assert listed(image, version) == ["cells"]
    np.testing.assert_array_equal(voxels(image), labels_of(out / "labels.zarr/cells"))
    assert open_image(str(image)).find_identity().digest == known


def test_results_may_be_on_a_store_too(
    made: Path, there: Remote, server: Server, tmp_path: Path, command: Terapose
) -> None:
    upload(made / "one", there / "out", lambda: None)
    image = sent(made / "0.5.zarr", there / "image.zarr")
    said = command("attach", there / "out", image)
    assert (said.code, said.out) == (0, f"labels: {image}/labels\n"), said
    np.testing.assert_array_equal(voxels(image), labels_of(made / "one/labels.zarr/cells"))
    local = placed(tmp_path / "local.zarr")
    assert command("attach", there / "out", local).code == 0
    assert tree(local / "labels") == {
        key: image.read(f"labels/{key}") for key in (image / "labels").files()
    }

    # again: nothing but the lock is written
    server.asked()
    assert command("attach", there / "out", image).code == 0
    assert not [
        path for way, path in server.asked() if way in ("PUT", "DELETE") and "/." not in path
    ]


def test_a_whole_run(made: Path, there: Remote, tiny_model: Path, command: Terapose) -> None:
    image = sent(made / "0.5.zarr", there / "image.zarr")
    given = ("--model", tiny_model, "--cellprob-threshold", "-0.5", "--labels-in", "image")
    for _ in range(2):
        said = command("segment", image, there / "out", *given, "--jobs", 1)
        assert said.code == 0, said.err
        assert listed(image) == ["cells"]
    assert command("verify", there / "out").code == 0
    assert NOTE not in (image / "labels").files()


def test_refused_before_anything_is_computed(
    made: Path, there: Remote, server: Server, command: Terapose
) -> None:
    image = sent(made / "0.5.zarr", there / "image.zarr")
    image.write("labels/cells/zarr.json", b'{"attributes": {"mine": 1}}')
    given = ("--labels-in", "image")
    said = command.refuses("check", image, *given)
    assert "attributes without the key terapose in its zarr.json; move it away" in said
    said = command.refuses("check", image, *given, "--ome-zarr-version", "0.4")
    assert "give ome_zarr_version 0.5" in said


def test_one_run_at_a_time(made: Path, there: Remote) -> None:
    image = sent(made / "0.5.zarr", there / "image.zarr")
    with (
        remote_lock.held(image / "labels"),
        pytest.raises(InputError, match="another run is writing"),
    ):
        attach(made / "one", str(image))
    assert not (image / "labels").files()


def test_whoever_reads_sees_complete_label_images_only(
    made: Path, there: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each point a reader looks, and a run is killed; another completes it."""
    image = sent(made / "0.5.zarr", there / "image.zarr")
    by_hand = {"zarr_format": 3, "node_type": "group"}
    by_hand["attributes"] = {"ome": {"version": "0.5", "labels": ["by_hand"]}, "mine": 1}
    image.write("labels/zarr.json", json.dumps(by_hand).encode())
    image.write("labels/by_hand/zarr.json", b"{}")
    one, two = made / "one", made / "two"
    known = [labels_of(out / "labels.zarr/cells") for out in (one, two)]
    points: list[str] = []
    stop: int | None = None

    counting = threading.Lock()

    def at_point(name: str) -> None:
        with counting:
            points.append(name)
            ended = len(points) == stop
        if not ended:
            return
        if "cells" in listed(image):
            assert any(np.array_equal(voxels(image), truth) for truth in known)
        raise Killed

    attach(one, str(image))
    with monkeypatch.context() as patch:
        patch.setattr(files, "at_point", at_point)
        attach(two, str(image))
    whole = [*points]
    assert {"label image: before it is sent", "note of label images: before it is removed"} <= {
        *whole
    }
    # of many that are alike the first and the last
    places = {n: whole.index(n) for n in whole} | {f"last {n}": i for i, n in enumerate(whole)}
    for stop in sorted({1 + place for place in places.values()}):
        if whole[stop - 1].startswith("remote lock"):
            continue
        attach(one, str(image))
        points.clear()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(files, "at_point", at_point)
            attach(two, str(image))
        attach(two, str(image))
        assert listed(image) == ["by_hand", "cells"]
        np.testing.assert_array_equal(voxels(image), known[1])
        names = {key.partition("/")[0] for key in (image / "labels").files()}
        assert names == {"zarr.json", "by_hand", "cells"}
    assert json.loads(image.read("labels/zarr.json") or b"")["attributes"]["mine"] == 1


@pytest.mark.parametrize("version", VERSION)
def test_readers_that_use_consolidated_metadata(made: Path, there: Remote, version: str) -> None:
    image = sent(made / f"{version}.zarr", there / "image.zarr")
    attach(made / VERSION[version], str(image))
    zarr.consolidate_metadata(f"{image}/labels")
    # somebody removes it, and the metadata describe what is no longer there
    (image / "labels").remove(
        [key for key in (image / "labels").files() if key.startswith("cells")]
    )
    attach(made / VERSION[version], str(image))
    assert not (image / "labels").read(".zmetadata")
    assert b"consolidated" not in ((image / "labels").read(DOCUMENT[version]) or b"")
    np.testing.assert_array_equal(
        zarr.open_group(f"{image}/labels", mode="r")["cells/0"][:],  # type: ignore[index]
        labels_of(made / VERSION[version] / "labels.zarr/cells"),
    )
