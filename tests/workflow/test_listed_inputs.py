"""What an input names: images, folders, patterns and samplesheets in the forms that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.listing_cases import ANSWERS, write_inputs
from tests.workflow.launch import answers_of, needs_engine

from terapose.io import listing
from terapose.io.images import folders

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is listed for each case, with paths from the folder of launch, and lists of names."""
    needs_engine()
    folder = tmp_path_factory.mktemp("listing")
    write_inputs(folder)
    lines = [f"{name}{n},https://server/{n}.zarr" for n in range(5_000) for name in "sS"]
    (folder / "many.csv").write_text("\n".join(["sample,image", *lines]))
    cases = [*(case[:2] for case in ANSWERS), ["many.csv", False]]
    (folder / "cases.json").write_text(json.dumps(cases))
    script = Path(__file__).with_name("listing.nf")
    said, text = answers_of(script, folder, "--cases", "cases.json")
    assert "scan: 2 images; skipped, not images: notes.txt, thumb.png\n" in said
    answered: dict[str, Any] = json.loads(text.replace(f"{folder}/", ""))
    return answered


@pytest.mark.parametrize("case", range(len(ANSWERS)), ids=[f"{a}-{b}" for a, b, _ in ANSWERS])
def test_listing(found: dict[str, Any], case: int) -> None:
    wanted = ANSWERS[case][2]
    assert found["answers"][case] == (f"terapose: {wanted}" if isinstance(wanted, str) else wanted)


def test_a_long_list_of_doubled_names_is_cut_off(found: dict[str, Any]) -> None:
    said = found["answers"][-1]
    assert said.startswith("terapose: many.csv: several samples have the same name; got s0, S0, s1")
    assert said.endswith(" ... (67778 characters); name each in a samplesheet")
    assert len(said) < 1200


def test_lists_of_names_are_those_of_python(found: dict[str, Any]) -> None:
    assert found["file_parameters"] == list(listing.FILES)
    assert found["marks"] == list(folders.MARKS)
