"""Examples for Python: the notebook in a kernel of Jupyter, and the page of documentation."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import terapose

PACKAGE = Path(terapose.__file__).parents[1]
NOTEBOOK = PACKAGE.parent / "docs" / "notebooks" / "first-volume.ipynb"


def outputs(cell: Any, kind: str) -> list[str]:
    """Outputs of a cell of one type."""
    return ["".join(out["data"][kind]) for out in cell["outputs"] if kind in out.get("data", {})]


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.thorough(shorter="tests/api/test_notebook.py::test_the_examples_of_the_page_run")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("nbclient", reason="needs Jupyter (make setup installs it)")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    paths = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=place).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [out for cell in code for out in cell.outputs if out.get("name") == "stderr"]
    by_text = {cell.source.splitlines()[0].partition(" ")[0]: cell for cell in code}
    # what was displayed while stages ran is one line by now
    progress, shown = outputs(by_text["result"], "text/html")
    assert re.fullmatch(r"<div>\d\d stages in \d+ s</div>", progress)
    assert "<img src=" in shown and "nuclei.zarr" in shown
    assert re.search(r"<LabelArray cells: 20 x 72 x 80, uint32", str(by_text["result.labels"]))
    assert [outputs(cell, "image/png") != [] for cell in code].count(True) == 2
    (counts,) = [text for text in outputs(by_text["larger"], "text/plain") if "(" in text]
    large, every = map(int, re.findall(r"\d+", counts))
    assert 0 < large < every
    pages = list(tmp_path.glob("first-volume-*/results/report.html"))
    assert len(pages) == 1


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (PACKAGE.parent / "docs" / "python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    names: dict[str, Any] = {}
    for block in blocks:
        one = block.replace("diameter=18)", "diameter=18, workers=1)")
        exec(compile(one, "python.md", "exec"), names)
    result = names["result"]
    (said,) = re.findall(r"# (<Result: .*>)$", page, re.MULTILINE)
    assert repr(result) == said and result.cells == len(names["table"]) > 10
    assert names["page"].is_file() and 0 < names["covered"] < 1
    # the same image from memory: its cells, whatever else is in the file
    assert names["labels"].shape == result.labels.shape and names["labels"].max() == result.cells
