"""Reports in the workflow: of each sample that asks for one, and of all of these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import numpy as np
from tests.synthetic import write_ome_zarr, write_tiff
from tests.workflow.launch import RAW_TRACE, Launch, results

from terapose.results.report.own import NAMES


def test_reports(launches: Callable[[str], Launch], voxels: np.ndarray) -> None:
    launch = launches("reports")
    write_ome_zarr(launch.path / "volume.zarr", voxels, voxel_size=(1.0, 1.0, 1.0))
    write_tiff(launch.path / "plane.tif", voxels[6:7])
    sheet = launch.path / "sheet.csv"
    rows = "sample,image,report\na b,volume.zarr,true\nplane,plane.tif,true\nnone,plane.tif,false\n"
    sheet.write_text(rows)
    # what is moved away is no input of what comes after it
    given = ("--input", sheet, "--diameter", 12)
    words = (*given, "--publish_mode", "move", "-c", RAW_TRACE)
    run = launch.done(*words)
    assert {"REPORT", "REPORTS"} <= run.submitted
    # what one task does all of asks for what its plan says
    assert launch.asked()["WHOLE"] == launch.planned()["whole"]
    assert len(launch.planned()["whole"]) == 2
    cells = {}
    for name in ("a b", "plane", "none"):
        folder = launch.out / name
        cells[name] = json.loads((folder / "provenance.json").read_text())["cells"]
        assert [n for n in NAMES if (folder / n).exists()] == [*(NAMES if name != "none" else ())]
    moved = {name: results(launch.out / name) for name in cells}
    assert f"Cells: {sum(cells.values())} in 3 samples" in run.said.splitlines()
    took = next(line for line in run.said.splitlines() if line.startswith("Seconds: "))
    assert {"gradients-yx", "masks", "export"} <= {*took.replace(",", "").split()[1::2]}
    samples = json.loads((launch.out / "report.json").read_text())["samples"]
    assert {one["sample"]: one["cells"] for one in samples} == {
        n: cells[n] for n in ("a b", "plane")
    }
    assert 'href="./a%20b/report.html"' in (launch.out / "report.html").read_text()

    # what is cached stays; without a report, those of the run before go, and nothing else
    (launch.out / "report_mqc.json").write_text("mine")
    sheet.write_text(rows.replace("true", "false"))
    again = launch.done(*words, "-resume")
    assert not {"REPORT", "REPORTS", "WHOLE"} & again.submitted
    left = sorted(str(path.relative_to(launch.out)) for path in launch.out.glob("**/report*"))
    assert left == ["pipeline_info/report.html", "report_mqc.json"]
    assert (launch.out / "report_mqc.json").read_text() == "mine"

    # hard links: regular files, which are those of the work folder; labels those of the store
    shutil.rmtree(launch.out)
    launch.done(*given, "--publish_mode", "link", "-resume")
    working = {path.stat().st_ino for path in launch.work.glob("*/*/out*/**/*") if path.is_file()}
    stored = {p.stat().st_ino for store in launch.stores() for p in store.rglob("labels.zarr/**/*")}
    assert {name: results(launch.out / name) for name in cells} == moved
    for name in cells:
        chunks = [p for p in (launch.out / name).rglob("labels.zarr/**/c/**/*") if p.is_file()]
        assert chunks and {path.stat().st_ino for path in chunks} <= stored
        files = [path for path in (launch.out / name).rglob("*") if not path.is_dir()]
        assert {"cells.csv", "provenance.json", "picture.png"} <= {path.name for path in files}
        assert any("labels.zarr" in path.parts for path in files)
        assert not [path for path in files if path.is_symlink()]
        assert {path.stat().st_ino for path in files} <= working
