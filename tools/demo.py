"""`make demo`: simulate a volume, or take one's own image, and run the whole workflow on it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import ROOT, Command

# A few hundred nuclei, minutes on two cores.
SHAPE = "48,160,160"
SEED = "7"


def main() -> None:
    """Run the steps one after the other and say where everything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", type=Path, help="an image of one's own (default: simulate one)")
    parser.add_argument("--outdir", type=Path, default=Path("demo"))
    options, parameters = parser.parse_known_args()
    outdir: Path = options.outdir.resolve()
    outdir.mkdir(parents=True, exist_ok=True)

    image = options.input.resolve() if options.input else outdir / "nuclei.zarr"
    reference = None if options.input else outdir / "nuclei.labels.zarr"
    if reference and not reference.exists():
        _step("simulate", ["terapose", "simulate", image, "--shape", SHAPE, "--seed", SEED])
    results = outdir / "results"
    _step("segment", _nextflow(image, results, outdir / "work", parameters))

    sample = _newest(results)
    labels = sample / "labels.zarr"
    scores = outdir / "scores.json"
    if reference:
        _step("evaluate", ["terapose", "evaluate", reference, labels, "--json", scores])
    picture = sample.with_suffix(".png")
    _step("picture", ["terapose", "picture", image, labels, picture])

    print(f"\nlabels:  {labels}\ntable:   {sample / 'cells.csv'}\npicture: {picture}")
    if reference:
        told = json.loads(scores.read_text())
        precision = dict(zip(told["thresholds"], told["average_precision"], strict=True))
        print(f"score:   average precision {precision[0.5]:.3f} at IoU 0.5 ({scores})")


def _nextflow(image: Path, results: Path, work: Path, parameters: list[str]) -> Command:
    """Return the command line of the workflow; finished tasks of an earlier demo are reused."""
    run: Command = ["nextflow", "run", ROOT, "-params-file", ROOT / "params.json"]
    where: Command = ["--input", image, "--outdir", results, "-work-dir", work, "-resume"]
    return [*run, *where, *parameters]


def _newest(results: Path) -> Path:
    """Return the sample's folder that the workflow has just written."""
    return max(results.glob("*/labels.zarr"), key=lambda path: path.stat().st_mtime).parent


def _step(name: str, command: Command) -> None:
    """Run one step on the terminal; its failure ends the demo with its exit code."""
    print(f"\n== {name}", flush=True)
    code = subprocess.run([str(word) for word in command]).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
