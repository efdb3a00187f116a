"""The README's own lines: they work on images of these names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff

import terapose
from terapose.cli import GROUPS

PAGE = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.M | re.S)
SMALLER = {"48,160,160": "8,48,48", "600,600": "128,128"}
"""What is given in place of the sizes in the page."""


def images(folder: Path) -> np.ndarray:
    """Images of the page's names in a folder; the volume."""
    volume = nuclei((6, 40, 48))[0]
    for name in ("my.tif", "stack.tif"):
        write_tiff(folder / name, volume)
    write_tiff(folder / "plane.tif", volume[2:3])
    write_tiff(folder / "slide.ome.tif", volume[2:4], kind="ome", axes="CYX")
    (folder / "markers.csv").write_text("channel_number,marker_name\n1,DNA_1\n2,CD45\n")
    return volume


@pytest.mark.slow
def test_every_line_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Terapose
) -> None:
    done: list[str] = []
    for n, (kind, block) in enumerate(BLOCKS):
        folder = tmp_path / str(n)
        folder.mkdir()
        monkeypatch.chdir(folder)
        # what makes its images itself has no others
        given = {} if "terapose simulate" in block else {"volume": images(folder)}
        if kind == "python":
            exec(compile(block, "README.md", "exec"), given)
            assert (folder / "results" / "cells.csv").is_file()
        lines = block.replace("\\\n", " ").splitlines() if kind == "sh" else []
        for line in lines:
            program, *words = (SMALLER.get(w, w) for w in shlex.split(line, comments=True) or [""])
            if program != "terapose":
                continue
            words += ["--jobs", "1"] if words[0] == "segment" else []
            words = [f"{word}-{len(done)}" if word == "out" else word for word in words]
            said = command(*words)
            assert said.code == 0, (line, said.err)
            done.append(words[0])
    assert len(done) > 12 and {"simulate", "segment", "tune", "report"} <= {*done}


def test_the_first_screen_has_a_picture_two_commands_a_diagram_and_an_index() -> None:
    top = "\n".join(PAGE.splitlines()[:60])
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", top)
    assert "docs/stages.svg" in pictures and len(pictures) > 1
    assert "make demo" in top and "nextflow run" in top
    assert top.index("| documentation |") > top.index("docs/stages.svg")


def test_names_that_scripts_depend_on_stay() -> None:
    """To take one away is for a release that says so, and for this list."""
    assert set(terapose.__all__) >= {"Result", "measure", "open_result", "run", "segment"}
    commands = {name for names in GROUPS.values() for name in names}
    assert commands >= {
        *("segment", "check", "plan", "status", "view", "report", "picture", "evaluate", "tune"),
        *("verify", "simulate", "crop", "measure", "process", "cut", "attach", "pack", "crate"),
        *("spatialdata", "npy", "train", "fetch", "profile", "clean", "stage"),
    }
