"""What a person sees: the viewer in a browser, with colours compared pixel by pixel."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pandas as pd
import pytest
from tests import browser
from tests.asked import only_if_asked

from terapose.apps.view import colors
from terapose.apps.view.derived import MISSING
from terapose.apps.view.folder import write_view
from terapose.apps.view.opening import Viewer, open_view
from terapose.apps.view.results import open_results
from terapose.apps.view.table import Cells
from terapose.core.geometry import Box

pytestmark = [
    # a browser without a graphics card takes longer than patience allows beside other tests
    only_if_asked,
    pytest.mark.skipif(not browser.FOUND, reason="Chromium is missing"),
    pytest.mark.skipif(
        find_spec("neuroglancer") is None, reason="neuroglancer (terapose[view]) is missing"
    ),
]
PAGE = "v/view/index.html"
NEAR = 6
_SECONDS = 180.0


@pytest.fixture
def page(tmp_path: Path) -> Iterator[browser.Browser]:
    """A browser."""
    with browser.Browser(tmp_path) as opened:
        yield opened


def alone(viewer: Viewer, name: str, at: Mapping[str, Any] = {}, **changes: Any) -> str:
    """Address at which one layer is shown, and one view, without lines over it."""
    state = deepcopy(viewer.state)
    for layer in state["layers"]:
        layer["visible"] = layer["name"] == name
        layer |= changes if layer["visible"] else {}
    state |= {"layout": "xy", "showAxisLines": False, "crossSectionScale": 0.1, **at}
    return f"{viewer.url}{PAGE}#!{quote(json.dumps(state))}"


def middle(picture: np.ndarray) -> np.ndarray:
    """Colour in the middle of the view, which begins below the bars."""
    top = 49
    at = top + (len(picture) - top) // 2 + 3, picture.shape[1] // 2 + 3
    return np.asarray(picture[at], int)


def wait(page: browser.Browser, is_right: Any) -> np.ndarray:
    """The picture, once it is as it should be."""
    end = time.monotonic() + _SECONDS
    while True:
        picture = page.picture()
        if is_right(picture):
            return picture
        assert time.monotonic() < end, (page.errors, page.requests[-5:], middle(picture))
        time.sleep(0.5)


def near(expected: str) -> Any:
    """Whether the middle of a picture has a colour."""
    wanted = np.array([*bytes.fromhex(expected.removeprefix("#"))], int)
    return lambda picture: bool((abs(middle(picture) - wanted) <= NEAR).all())


def cell_in_the_middle(results: Path) -> tuple[int, str]:
    """Number and colour of the cell that a viewer begins with."""
    opened = open_results(results)
    table = Cells(results / "cells.csv", int(opened.record["cells"]))
    center = table.near([n / 2 for n in opened.shape])
    assert center is not None
    z, y, x = (slice(round(n), round(n) + 1) for n in center)
    number = int(opened.labels["cells"][0].read((z, y, x))[0, 0, 0])
    assert number
    column = table.column(table.chosen(None))
    value = column.values[number : number + 1]
    return number, colors.of_values(value, column.low, column.high, MISSING)[0]


@pytest.mark.parametrize("name", ["volume", "plane"])
def test_cells_have_the_colors_of_their_values(
    viewed: Path, page: browser.Browser, name: str
) -> None:
    number, color = cell_in_the_middle(viewed / name)
    with open_view(viewed / name, browser=False) as viewer:
        (cells,) = (one for one in viewer.state["layers"] if one["name"] == "cells")
        assert cells["segmentColors"][str(number)] == color
        page.call("Page.navigate", url=viewer.url)
        # cells over the image, in all views; the only one of a plane is small on the page
        part = 0.05 if name == "volume" else 0.02
        wait(page, lambda picture: browser.is_colored(picture, part))
        assert any(request.endswith("data/table/info") for request in page.requests)
        page.call("Page.navigate", url="about:blank")
        page.call("Page.navigate", url=alone(viewer, "cells", selectedAlpha=1))
        wait(page, near(color))
        page.call("Page.navigate", url="about:blank")
        page.call("Page.navigate", url=alone(viewer, viewer.state["layers"][0]["name"]))
        grey = middle(wait(page, lambda picture: middle(picture).min() > 60))
        assert np.ptp(grey) == 0
        # nothing comes from elsewhere
        here = urlsplit(viewer.url).netloc
        pages = [one for one in page.requests if one.startswith("http")]
        assert pages and {urlsplit(one).netloc for one in pages} == {here}


def test_more_cells_than_colors_in_a_state(
    viewed: Path, page: browser.Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("site", "state"):
        monkeypatch.setattr(f"terapose.apps.view.{module}.MOST_COLORS", 2)
    _, color = cell_in_the_middle(viewed / "volume")
    with open_view(viewed / "volume", browser=False) as viewer:
        assert "segmentColors" not in json.dumps(viewer.state)
        page.call("Page.navigate", url=alone(viewer, "values", opacity=1))
        wait(page, near(color))


def test_cells_are_filtered_by_columns(viewed: Path, page: browser.Browser) -> None:
    table = pd.read_csv(viewed / "volume" / "cells.csv")
    least = int(table["Volume"].median())
    right = int(((table["Volume"] > least) & (table["X_centroid"] < 40)).sum())
    assert 0 < right < len(table)
    with open_view(viewed / "volume", browser=False) as viewer:
        state = deepcopy(viewer.state)
        (cells,) = (one for one in state["layers"] if one["name"] == "cells")
        cells |= {"segmentQuery": f"Volume>{least} X_centroid<40", "tab": "segments"}
        state["selectedLayer"] = {"layer": "cells", "visible": True}
        page.call("Page.navigate", url=f"{viewer.url}{PAGE}#!{quote(json.dumps(state))}")
        said = json.dumps(f"{right} match /{len(table)} total ids")
        page.until(f"document.body.textContent.includes({said})", _SECONDS)


def test_outlines_are_white(viewed: Path, page: browser.Browser) -> None:
    with open_view(viewed / "plane", browser=False) as viewer:
        page.call("Page.navigate", url=alone(viewer, "outlines"))

        def is_right(picture: np.ndarray) -> bool:
            white = (picture[60:] == 255).all(2).mean()
            return bool(0.02 < white < 0.5 and middle(picture).max() < 200)

        wait(page, is_right)


def single_edges(labels: np.ndarray, axis: int) -> np.ndarray:
    """(N, 3) voxels within cells that differ from a neighbour along one axis alone."""
    found = np.zeros(labels.shape, bool)
    found[1:-1, 1:-1, 1:-1] = labels[1:-1, 1:-1, 1:-1] > 0
    for along in range(labels.ndim):
        differ = sum(np.roll(labels, step, along) != labels for step in (1, -1)) > 0
        found &= differ if along == axis else ~differ
    return np.argwhere(found)


@pytest.mark.parametrize("axis", range(3))
def test_outlines_are_those_of_the_section(viewed: Path, page: browser.Browser, axis: int) -> None:
    """A voxel at the top of a cell is within it from above, and on its outline from the side."""
    opened = open_results(viewed / "volume")
    labels = opened.labels["cells"][0].read(Box.whole(opened.shape).slices)
    edges = single_edges(labels, axis)
    level = opened.levels[0]
    shifts = np.divide(level.origin, level.scale)
    position = (edges[len(edges) // 2] + shifts)[::-1].tolist()
    with open_view(viewed / "volume", browser=False) as viewer:
        for across, layout in enumerate(("xy", "xz", "yz")):
            page.call("Page.navigate", url="about:blank")
            address = alone(viewer, "outlines", at={"position": position, "layout": layout})
            page.call("Page.navigate", url=address)
            picture = wait(page, lambda picture: (picture[60:] == 255).all(2).mean() > 0.01)
            assert (middle(picture).min() == 255) == (across != axis), layout


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_a_folder_on_a_plain_web_server(
    viewed: Path, page: browser.Browser, tmp_path: Path
) -> None:
    write_view(viewed / "volume", tmp_path / "sites" / "brain")
    assert not [*tmp_path.glob("sites/*/client/*.map")]
    handler = partial(_Files, directory=str(tmp_path / "sites"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/brain/"
        page.call("Page.navigate", url=url)
        wait(page, lambda picture: browser.is_colored(picture))
        requests = [one for one in page.requests if one.startswith("http")]
        assert requests and all(one.startswith(url) for one in requests)
        server.shutdown()
