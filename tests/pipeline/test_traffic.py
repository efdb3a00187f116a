"""Requests that are projected are those that a server is asked for."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from tests.object_store import serving
from tests.synthetic import nuclei, write_zarr

from terapose.api.runner import segment_file
from terapose.core.params import check
from terapose.io.remote import Remote
from terapose.networks.files import identify
from terapose.pipeline.checked import open_checked
from terapose.pipeline.planning import make_plan
from terapose.pipeline.price import requests_of
from terapose.pipeline.traffic import OF_TASK, reads_of

_CHUNK = re.compile(r"/\.terapose/\w+/([a-z_-]+?)(?:-[0-9a-f]{16})?/\w*/?c/")


def test_a_run_asks_for_what_is_projected(tmp_path: Path, tiny_model: Path) -> None:
    image = write_zarr(
        tmp_path / "image.zarr", nuclei((24, 64, 64))[0].astype(np.uint16), chunks=(16, 32, 32)
    )
    params = check(
        {
            **{"model": str(tiny_model), "block_shape": "12,32,32", "slab_planes": 16},
            **{"max_tasks": 2, "cellprob_threshold": -0.5},
        }
    )
    with serving(tmp_path) as server:
        Remote("s3://bucket")._fs.mkdir("bucket")
        for path in filter(Path.is_file, image.rglob("*")):
            Remote("s3://bucket").send(str(path.relative_to(tmp_path)), path)
        opened = open_checked("s3://bucket/image.zarr", params)
        plan = make_plan(opened, identify(tiny_model), params)
        server.asked()
        segment_file("s3://bucket/image.zarr", "s3://bucket/out", params)
        asked = server.asked()
    found = requests_of(plan, params.model_dump(), opened.chunks)
    sent = Counter(
        place[1] for method, path in asked if method == "PUT" and (place := _CHUNK.search(path))
    )
    for stage in ("gradients-yx", "gradients-zx", "gradients-zy", "follow", "peaks", "masks"):
        assert sent[stage] == found[stage].puts - OF_TASK * len(plan.tasks[stage]) > 0, stage
    # of the others, and of what is read, about as many
    puts = sum(method in ("PUT", "POST") for method, _ in asked)
    gets = sum(method in ("GET", "HEAD") for method, _ in asked)
    runs = [requests for stage, requests in found.items() if stage != "outlines"]
    assert 0.6 < sum(one.puts for one in runs) / puts < 1.6
    assert 0.6 < sum(one.gets for one in runs) / gets < 1.6


def test_chunks_that_blocks_read() -> None:
    # 4 blocks of 2 chunks; a margin takes one more on each side that has one
    assert reads_of((1, 1, 64), (1, 1, 8), (1, 1, 16), (0, 0, 0)) == 8
    assert reads_of((1, 1, 64), (1, 1, 8), (1, 1, 16), (0, 0, 3)) == 8 + 6
    # blocks of 20: [0, 20), [20, 40), [40, 60), [60, 64)
    assert reads_of((1, 1, 64), (1, 1, 8), (1, 1, 20), (0, 0, 0)) == 3 + 3 + 3 + 1
    assert reads_of((3, 64, 64), (3, 8, 8), (1, 16, 16), (0, 3, 0)) == 3 * 14 * 8
