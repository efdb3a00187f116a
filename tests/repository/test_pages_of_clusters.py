"""Pages for clusters: what they show is what commands print, and their lines can be typed in order.

There is no cluster here: programs of clusters only note how they are called. `test_docs.py` has the
options of all lines.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zarr
from tests.command import Terapose

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hpc.md").read_text()
TUTORIAL = (ROOT / "docs" / "tutorial-slurm.md").read_text()
APPTAINER = re.search(r"^### Apptainer only.*?(?=^### )", PAGE, re.M | re.S)
PROGRAMS = ("apptainer", "git", "make", "module", "nextflow", "rm", "sbatch", "squeue", "terapose")
NOTES = 'printf "%q " "${0##*/}" "$@" >> "$CALLS"; echo >> "$CALLS"'
MAKES = {
    "git": '[ "$1" = clone ] && mkdir -p "$3/.venv/bin" && touch "$3/.venv/bin/activate"',
    "apptainer": '[ "$1" != build ] || touch "${@: -2:1}"',
    "sbatch": '! grep -qs "nextflow run" "$1" || bash "$1"',
}
"""What a program leaves that later lines need."""


def test_the_plan_that_is_shown_is_what_the_command_prints(
    tmp_path: Path, command: Terapose
) -> None:
    found = re.search(r"of ([\d x]+) voxels \(`(.*?)`\).*?\n```text\n(.*?)```", PAGE, re.S)
    assert found
    shape = tuple(map(int, found[1].split(" x ")))
    image = zarr.create_array(
        str(tmp_path / "image.zarr"), shape=shape, chunks=(64, 256, 256), dtype=np.uint16
    )
    assert image.nchunks_initialized == 0
    said = command("plan", tmp_path / "image.zarr", *shlex.split(found[2]))
    assert said.code == 0, said.err
    shown, printed = found[3].splitlines(), said.out.splitlines()
    assert len(shown) > 1 and [line for line in printed if line in shown] == shown
    # "the largest requests"
    stages = [line for line in printed if " requested: " in line]
    assert {line for line in stages if asked(line) >= min(map(asked, shown))} == {
        *shown,
        *(line for line in stages if line.startswith("gradients-")),
    }


def asked(line: str) -> float:
    """Gigabytes that a task requests."""
    found = re.search(r"requested: ([\d.]+) (\w)B", line)
    assert found
    return float(found[1]) * {"M": 1e-3, "G": 1}[found[2]]


def typed(text: str, folder: Path, given: dict[str, str]) -> list[list[str]]:
    """Words of the calls of programs, if all lines of a text are typed in a shell."""
    stubs, calls, place = folder / "bin", folder / "calls", folder / "place"
    stubs.mkdir()
    place.mkdir()
    for name in PROGRAMS:
        (stubs / name).write_text(f"#!/bin/bash\n{NOTES}\n{MAKES.get(name, '')}\n")
        (stubs / name).chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    script = "".join(blocks)
    for name, value in given.items():
        assert name in script
        script = script.replace(name, value)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env={"PATH": f"{stubs}:/usr/bin:/bin", "CALLS": str(calls), "USER": "me"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [shlex.split(line) for line in calls.read_text().splitlines()]


def test_lines_for_apptainer_can_be_typed_in_order(tmp_path: Path) -> None:
    assert APPTAINER
    place = tmp_path / "place"
    calls = typed(APPTAINER[0], tmp_path, {"/shared/me": str(place)})
    clone = place / "terapose"
    assert calls[0] == ["git", "clone", "ADDRESS", str(clone)]
    assert calls[1] == ["module", "load", "nextflow", "apptainer"]
    recipe = (ROOT / "containers" / "terapose.def").read_text()
    arguments = re.search(r"%arguments\n(.*?)\n\n", recipe, re.S)
    assert arguments
    built = [words for words in calls if words[:2] == ["apptainer", "build"]]
    for words in built:
        *options, image, definition = words[2:]
        assert image.endswith(".sif") and (ROOT / definition).is_file()
        given = dict(zip(options, [*options[1:], ""], strict=True)).get("--build-arg", "variant=")
        assert f"    {given.partition('=')[0]}=" in arguments[1]
        assert {word for word in options if word.startswith("-")} <= {"--fakeroot", "--build-arg"}
    assert [("variant=cuda" in words, words[-2]) for words in built] == [
        (False, "terapose.sif"),
        (True, "terapose-cuda.sif"),
    ]
    called = [words[3:5] for words in calls if words[:2] == ["apptainer", "exec"]]
    assert called == [["terapose", name] for name in ("plan", "status", "verify", "clean")]
    runs = [words for words in calls if words[0] == "nextflow"]
    profiles = [words[words.index("-profile") + 1] for words in runs]
    assert profiles == ["slurm,apptainer", "slurm,apptainer,gpu"]
    for words in runs:
        image = words[words.index("--container") + 1]
        cuda = "-cuda" if "gpu" in words[words.index("-profile") + 1] else ""
        assert Path(image) == clone / f"terapose{cuda}.sif" and Path(image).exists()
        for option in ("-c", "--input"):
            assert (clone / words[words.index(option) + 1]).is_file()
    site = (clone / "site.config").read_text()
    assert f"-B {place}" in site and site.count("{") == site.count("}") > 0
    assert (clone / "slides.csv").read_text().startswith("sample,image\nfirst,/data/")


def test_lines_of_the_tutorial_can_be_typed_in_order(tmp_path: Path) -> None:
    place = tmp_path / "place"
    calls = typed(TUTORIAL, tmp_path, {"/shared/me": str(place)})
    names = [words[0] for words in calls]
    assert names[:5] == ["git", "make", "make", "nextflow", "terapose"]
    assert [words[1] for words in calls if words[0] == "terapose"] == [
        *("--version", "verify", "plan", "tune", "status", "verify", "report", "view", "clean"),
    ]
    # what is given to one command is what another one made
    runs = [words for words in calls if words[:2] == ["nextflow", "run"]]
    for option, ends in (("--outdir", ("first", "results")), ("-work-dir", ("work", "work"))):
        found = [words[words.index(option) + 1] for words in runs]
        assert found == [str(place / end) for end in ends]
    assert next(words for words in calls if words[1] == "status")[2] == str(place / "work")


@pytest.mark.parametrize("text", ["terapose plan 'a", "nextflowe run .", "cd nowhere"])
def test_a_line_that_cannot_be_typed_is_noticed(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError):
        typed(f"```sh\n{text}\n```\n", tmp_path, {})
