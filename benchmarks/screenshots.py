"""The pictures of a report and of the viewer in the documentation, made by a real browser.

1. The volume of `make demo` is simulated (seeded) and segmented in a folder; a run that is there
   goes on.
2. A headless Chromium opens the report on a laptop and on a phone, in light and in dark, and the
   viewer in both widths. All pictures go to the folder, to be looked at.
3. Two of the report, side by side, become docs/report.png, and the viewer docs/view.png.

`PYTHONPATH=bin:. python -m benchmarks.screenshots --folder /demo`
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.browser import Browser, is_colored

import terapose
from terapose.apps.view.opening import open_view

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"laptop": (1280, 1400), "phone": (390, 844)}
"""Width and height of the report; the laptop's is that of two screens."""
VIEWS = {"laptop": (1000, 1000), "phone": (500, 844)}
"""Width and height of the viewer's window; Chromium makes none that is narrower than 500."""
SHOWN = 0.62
"""Of the laptop's report, beside that of the phone."""
COLORS = 96
_SECONDS = 600.0


def demo(folder: Path) -> Path:
    """Results of the simulated volume of `make demo`, with a report."""
    given = json.loads((ROOT / "params.json").read_text())
    image = folder / "nuclei.zarr"
    if not image.exists():
        words = ["simulate", image, "--shape", given["simulate"], "--seed", "7"]
        subprocess.run([sys.executable, ROOT / "bin" / "terapose.py", *words], check=True)
    return terapose.run(image, folder / "demo", diameter=given["diameter"], report=True).folder


def resize(browser: Browser, width: int, height: int, scheme: str, *, mobile: bool) -> None:
    """Make a browser one of a laptop or a phone, in light or dark."""
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=mobile,
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", features=[feature])


def report(browser: Browser, results: Path, folder: Path) -> dict[str, Image.Image]:
    """Pictures of the top of the report, by size and scheme; no page is wider than its screen."""
    found = {}
    for size in SIZES:
        for scheme in ("light", "dark"):
            resize(browser, *SIZES[size], scheme, mobile=size == "phone")
            browser.call("Page.navigate", url=(results / "report.html").as_uri())
            browser.until("document.readyState == 'complete'")
            wide = browser.evaluate("document.documentElement.scrollWidth")
            assert wide <= SIZES[size][0], (size, wide)
            name = f"report-{size}-{scheme}"
            found[name] = Image.fromarray(browser.picture(folder / f"{name}.png"))
    return found


def viewer(results: Path, folder: Path) -> dict[str, Image.Image]:
    """Pictures of the viewer, by size, once they no longer change."""
    found = {}
    with open_view(results, browser=False) as opened:
        for size, shape in VIEWS.items():
            # a window of that size: with an emulated screen, WebGL without a card does not end
            with TemporaryDirectory() as profile, Browser(Path(profile), shape) as browser:
                browser.call("Page.navigate", url=opened.url)
                # a picture of a page that is being loaded may never come
                browser.until("document.readyState == 'complete'")
                found[size] = Image.fromarray(_settled(browser, folder / f"view-{size}.png"))
    return found


def _settled(browser: Browser, path: Path) -> NDArray[Any]:
    """A picture with colours that is the same as the one before."""
    before, end = np.zeros(0), time.monotonic() + _SECONDS
    while True:
        now = browser.picture(path)
        if is_colored(now) and np.array_equal(now, before):
            return now
        assert time.monotonic() < end, browser.errors
        before = now
        time.sleep(2)


def beside(wide: Image.Image, narrow: Image.Image) -> Image.Image:
    """Both in one picture, the first one smaller."""
    shape = (round(wide.width * SHOWN), round(wide.height * SHOWN))
    wide = wide.resize(shape, Image.Resampling.LANCZOS)
    gap = 16
    both = Image.new("RGB", (wide.width + gap + narrow.width, max(wide.height, narrow.height)))
    both.paste("#8a8f99", (0, 0, *both.size))
    both.paste(wide, (0, 0))
    both.paste(narrow, (wide.width + gap, 0))
    return both


def save(picture: Image.Image, path: Path) -> None:
    """Write a small PNG."""
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the run and all pictures")
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = demo(options.folder)
    with TemporaryDirectory() as profile, Browser(Path(profile)) as browser:
        pages = report(browser, results, options.folder)
    views = viewer(results, options.folder)
    both = beside(pages["report-laptop-light"], pages["report-phone-dark"])
    save(both, options.output / "report.png")
    save(views["laptop"], options.output / "view.png")


if __name__ == "__main__":
    main()
