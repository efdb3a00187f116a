"""`make demo`: the workflow on a simulated volume, or on one's own image, and where it all is.

params.json describes the simulated volume, and says how large its nuclei are. An image of one's own
is segmented with the defaults of all parameters, or those given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import ROOT, Command


def main() -> None:
    """Run the workflow and say where everything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", help="an image of one's own (default: simulate one)")
    parser.add_argument("--outdir", type=Path, default=Path("demo"))
    options, parameters = parser.parse_known_args()
    outdir: Path = options.outdir.resolve()

    run: Command = ["nextflow", "run", ROOT, "-resume"]
    where: Command = ["--outdir", outdir, "-work-dir", outdir / "work"]
    image: Command = ["-params-file", ROOT / "params.json"]
    if options.input:
        image = ["--input", _absolute(options.input)]
        if not any(word.partition("=")[0] == "--diameter" for word in parameters):
            print(_NO_DIAMETER, flush=True)
    code = subprocess.run([str(word) for word in (*run, *where, *image, *parameters)]).returncode
    if code:
        sys.exit(code)

    sample = _newest(outdir)
    print(f"\nlabels:  {sample / 'labels.zarr'}\ntable:   {sample / 'cells.csv'}")
    print(f"picture: {sample / 'picture.png'}")
    scores = sample / "scores.json"
    if scores.exists():
        told = json.loads(scores.read_text())
        precision = dict(zip(told["thresholds"], told["average_precision"], strict=True))
        print(f"score:   average precision {precision[0.5]:.3f} at IoU 0.5 ({scores})")


_NO_DIAMETER = (
    "no diameter is given: it is looked for in the image; "
    'if you know how many pixels wide cells are, say so, as in ARGS="--diameter 12"'
)


def _absolute(image: str) -> str:
    """An image's path (or a pattern of paths) from any folder; a URL as it is."""
    return image if "://" in image else str(Path(image).absolute())


def _newest(outdir: Path) -> Path:
    """Return the sample's folder that the workflow has just written."""
    records = outdir.glob("*/provenance.json")
    return max(records, key=lambda path: path.stat().st_mtime).parent


if __name__ == "__main__":
    main()
