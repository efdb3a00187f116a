"""`make demo`: the workflow on a simulated volume, or on one's own image, and where it all is."""

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
    parser.add_argument("--input", type=Path, help="an image of one's own (default: simulate one)")
    parser.add_argument("--outdir", type=Path, default=Path("demo"))
    options, parameters = parser.parse_known_args()
    outdir: Path = options.outdir.resolve()

    run: Command = ["nextflow", "run", ROOT, "-params-file", ROOT / "params.json", "-resume"]
    where: Command = ["--outdir", outdir, "-work-dir", outdir / "work"]
    image: Command = ["--input", options.input.resolve()] if options.input else []
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


def _newest(outdir: Path) -> Path:
    """Return the sample's folder that the workflow has just written."""
    records = outdir.glob("*/provenance.json")
    return max(records, key=lambda path: path.stat().st_mtime).parent


if __name__ == "__main__":
    main()
