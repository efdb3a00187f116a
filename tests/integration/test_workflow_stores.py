"""The workflow with what it can have on an object store without a plugin of Nextflow.

That is the image, the network, and the image that labels are copied into; results and the work
folder are on a disk. S3 also as a web server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests import object_store
from tests.asked import only_if_asked
from tests.integration import emulators
from tests.integration.emulators import CLOUDS, KEY
from tests.object_store import SECRET, client_of
from tests.workflow.conftest import (  # noqa: F401
    Launches,
    image,
    launches,
    uncut,
    undisturbed,
    voxels,
)
from tests.workflow.launch import network, results

from terapose.io.labels.ome_zarr import open_level
from terapose.io.remote import Remote

pytestmark = [
    pytest.mark.slow,
    only_if_asked,
]
CUT = ("--block_shape", "14,40,24", "--max_tasks", 2)


@contextmanager
def serving(name: str, folder: Path) -> Iterator[tuple[Remote, object_store.Server]]:
    """Run a server of a service, with a bucket in it."""
    if name == "s3":
        with object_store.serving(folder) as server:
            # whoever has no key may list it: else what is missing is forbidden
            client_of(server).create_bucket(Bucket="cells", ACL="public-read")
            yield Remote("s3://cells"), server
        return
    cloud = CLOUDS[name]
    if cloud.missing():
        pytest.skip(cloud.missing())
    named = os.environ.get("TERAPOSE_EMULATORS")
    programs = Path(named).resolve() if named else folder / "programs"
    programs.mkdir(parents=True, exist_ok=True)
    with emulators.serving(cloud, programs, folder) as server:
        cloud.make_bucket("cells")
        yield Remote(f"{cloud.scheme}://cells"), server


def public(server: object_store.Server, key: str) -> None:
    """Let a browser read an object of S3."""
    client_of(server).put_object_acl(Bucket="cells", Key=key, ACL="public-read")


@pytest.mark.parametrize("name", ["s3", *CLOUDS])
def test_image_network_and_labels_in_the_image(
    name: str,
    launches: Launches,  # noqa: F811
    image: Path,  # noqa: F811
    undisturbed: tuple[str, bytes],  # noqa: F811
    tmp_path: Path,
) -> None:
    launch = launches(name)
    with serving(name, tmp_path) as (bucket, server):
        rows = [f"there,{bucket}/image.zarr,image,"]
        for path in filter(Path.is_file, image.rglob("*")):
            key = f"image.zarr/{path.relative_to(image)}"
            bucket.send(key, path)
            if name == "s3":
                public(server, key)
        if name == "s3":
            rows.append(f"web,{server.address}/cells/image.zarr,,1")
        bucket.send("own.pth", network())
        sheet = tmp_path / "samples.csv"
        sheet.write_text("\n".join(["sample,image,labels_in,max_tasks", *rows, ""]))
        words = ("--input", sheet, "--model", f"{bucket}/own.pth", "--diameter", 17)
        run = launch.done(*words, *CUT)
        assert {"GRADIENTS_YX", "MASKS"} <= run.submitted
        for row in rows:
            assert results(launch.out / row.partition(",")[0]) == undisturbed
        # the label image is in the image, too
        copied = open_level(f"{bucket}/image.zarr/labels", 0)[:]
        np.testing.assert_array_equal(copied, open_level(f"{launch.out}/there/labels.zarr", 0)[:])
    written = (path for path in launch.path.rglob("*") if path.is_file())
    secrets = [secret.encode() for secret in (SECRET, KEY)]
    assert not [p for p in written if any(secret in p.read_bytes() for secret in secrets)]
