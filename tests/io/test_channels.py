"""Channels by number and by name, from the image or from a markers file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.synthetic import write_ome_zarr

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.channels import channel_numbers, measured_channels
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image

NAMES = ("DNA 1", "CD3", "DNA 2", "CD3")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    array = np.zeros((4, 6, 7), np.uint16)
    return open_image(
        write_ome_zarr(tmp_path / "slide.zarr", array, axes="cyx", channel_names=NAMES)
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (2, (2,)),
        ("3", (3,)),
        ("3,1", (3, 1)),
        ("3 1", (3, 1)),
        ([1, 2, 4], (1, 2, 4)),
        ("DNA 1", ("DNA 1",)),
        ("DNA 2, CD3", ("DNA 2", "CD3")),
        (["DNA 2", 1], ("DNA 2", 1)),
    ],
)
def test_numbers_and_names_as_they_are_given(given: object, expected: tuple[object, ...]) -> None:
    assert check({"channels": given}).channels == expected


def test_names_become_numbers(image: Image) -> None:
    assert channel_numbers(image, [3, "DNA 1"]) == ((3, 1), NAMES)


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (("2", "1"), "channel 2", 2),
        (("2", "1"), "channel 1", 1),
        (("405", "488"), 405, 1),
        (("405", "488"), "channel 2", 2),
        (("2", "3", "DNA"), 3, None),
        (("2", "3", "DNA"), 2, None),
        (("2", "1"), 1, None),
        (("DNA", "1"), 1, None),
        (("1", "2", "3"), 2, 2),
        (("0", "1", "2"), 1, 1),
        (("0", "1", "2"), "channel 1", 1),
        (("channel 2", "DNA"), "channel 2", 1),
        (("405", "405"), 405, None),
        (("405", "488"), 3, None),
    ],
)
def test_names_that_are_numbers(
    tmp_path: Path, names: tuple[str, ...], wanted: int | str, expected: int | None
) -> None:
    array = np.zeros((len(names), 6, 7), np.uint16)
    path = write_ome_zarr(tmp_path / "a.zarr", array, axes="cyx", channel_names=names)
    (given,) = check({"channels": wanted}).channels
    opened = open_image(path)
    if expected is not None:
        assert channel_numbers(opened, [given])[0] == (expected,)
        assert measured_channels(names, [given]) == (expected,)
        return
    for finds in (
        lambda: channel_numbers(opened, [given]),
        lambda: measured_channels(names, [given]),
    ):
        with pytest.raises(InputError, match=str(wanted)) as caught:
            finds()
        if wanted in range(1, len(names) + 1):
            assert f"'channel {wanted}'" in str(caught.value)
            assert f"channel {names.index(str(wanted)) + 1} called {wanted}" in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("PD1", "there is no such channel; got PD1; allowed: DNA 1, .* check the spelling"),
        ("cd_3", r"there is no such channel; got cd_3; allowed: DNA 1, .* did you mean CD3\?"),
        ("DNA1", r"got DNA1; allowed: DNA 1, CD3, DNA 2, CD3; did you mean DNA 1\?"),
        ("CD3", "several channels have this name; got CD3; .* give a number: 2, 4"),
        (5, "there is no such channel; got 5; allowed: 1 to 4"),
    ],
)
def test_what_there_is_not(image: Image, wanted: int | str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        channel_numbers(image, [wanted])


def test_a_table_of_markers_gives_the_names(image: Image, tmp_path: Path) -> None:
    table = tmp_path / "markers.csv"
    table.write_text("cycle_number,marker_name\n1,nuclei\n1,a\n2,nuclei 2\n2,b\n")
    assert channel_numbers(image, ["nuclei 2"], str(table))[0] == (3,)
    # with numbers, lines may come in any order
    table.write_text("channel_number,marker_name\n3,c\n1,a\n4,d\n2,b\n")
    assert channel_numbers(image, ["d", "a"], str(table)) == ((4, 1), ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("marker_name\na\nb\n", "does not fit the image; got 2 markers; allowed: 4"),
        ("cycle\na\n", "not a table of markers; got 2 lines without a header for 4 channels"),
        ("", "not a table of markers; got columns none"),
        ("channel,marker_name\n1,a\n1,b\n2,c\n3,d\n", "do not run from 1; got 1, 1, 2, 3"),
        ("channel,marker_name\n0,a\n1,b\n2,c\n3,d\n", "do not run from 1; got 0, 1, 2, 3"),
        ("channel,marker_name\n1,a\n2,b\n3,c\n4.5,d\n", "do not run from 1; got 1, 2, 3, 4.5"),
        ("channel,marker_name\n1,a\n2,b\n,c\n4,d\n", "do not run from 1; got 1, 2, , 4"),
        ("marker_name\na\nb\na\nb\n", "several channels have this name; got a; .*: 1, 3"),
        ('marker_name\na\n" "\nc\nd\n', "a marker has no name; got none for 2; allowed"),
    ],
)
def test_a_table_that_does_not_fit(image: Image, tmp_path: Path, text: str, sentence: str) -> None:
    table = tmp_path / "markers.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=sentence):
        channel_numbers(image, ["a"], str(table))
    with pytest.raises(InputError, match="cannot be read"):
        channel_numbers(image, ["a"], str(tmp_path / "none.csv"))


def test_a_table_that_is_no_text(image: Image, tmp_path: Path) -> None:
    table = tmp_path / "markers.csv"
    table.write_bytes("marker_name\na\nä\nb\nc\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"not a table as text; .* a CSV file in UTF-8"):
        channel_numbers(image, ["a"], str(table))
