"""Documents that are none: each ends in one sentence, whatever is in their place."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_ome_zarr, write_tiff
from tests.waiting import PATIENCE

from terapose.core.errors import InputError, shown
from terapose.io.documents import parse_json
from terapose.io.images.model import names_of

DEEP = "[" * 200_000 + "]" * 200_000


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """What waits for ever fails."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a command that has to end in one sentence of bearable length."""
    command = Terapose(monkeypatch, capsys)

    def run(*words: object) -> str:
        said = command.refuses(*words)
        assert len(said) < 4000
        return said

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A plane."""
    path = tmp_path / "image.tif"
    write_tiff(path, nuclei((1, 24, 28))[0])
    return path


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


PLACES: dict[str, Callable[[Path], object]] = {
    "pipe": _pipe,
    "loop": _loop,
    "zeros": _zeros,
    "folder": Path.mkdir,
    "huge": _huge,
}
"""What may stand in the place of a file."""

PARAMS: dict[str, bytes] = {
    "not UTF-8": b'{"series": "\xff\xfe"}',
    "latin": '{"series": "Übersicht"}'.encode("latin-1"),
    "deep list": DEEP.encode(),
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep value": b'{"series": ' + DEEP.encode() + b"}",
    "long number": b'{"diameter": ' + b"9" * 5000 + b"}",
    "long list": b'{"table": [' + b"1," * 20_000 + b"1]}",
    "long text": b'{"time": "' + b"x" * 70_000 + b'"}',
    "infinite": b'{"diameter": 1e999}',
    "half a character": b'{"time": "\\ud800"}',
    "cut off": b'{"diameter": ',
    "key twice": b'{"diameter": 14, "min_size": 3, "diameter": 41}',
    "nothing": b"",
    "zeros": bytes(4000),
}


NO_WORD = {"not UTF-8", "latin", "zeros", "nothing", "deep list", "deep objects", "deep value"}
"""What cannot be a word of a command: no text, too long, or nothing at all."""


@pytest.mark.parametrize("kind", PARAMS)
def test_params(refused: Callable[..., str], image: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "params.json"
    path.write_bytes(PARAMS[kind])
    said = refused("check", image, "--params-file", path)
    assert str(path) in said or said.startswith("parameters")
    if kind == "key twice":
        assert "has the same key several times; got diameter; allowed: each key once" in said


@pytest.mark.parametrize("kind", [kind for kind in PARAMS if kind not in NO_WORD])
def test_own_params(refused: Callable[..., str], image: Path, kind: str) -> None:
    said = refused("check", image, "--sample", "one", "--own", PARAMS[kind].decode())
    assert said.startswith("parameters of one")
    if kind == "key twice":
        assert "has the same key several times; got diameter; allowed: each key once" in said


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("what", ["image", "params", "markers", "model", "mask", "labels"])
def test_another_thing_in_the_place_of_a_file(
    refused: Callable[..., str], image: Path, tmp_path: Path, kind: str, what: str
) -> None:
    other = tmp_path / f"other{'.csv' if what == 'markers' else '.tif'}"
    PLACES[kind](other)
    words: dict[str, tuple[object, ...]] = {
        "image": ("check", other),
        "params": ("check", image, "--params-file", other),
        "markers": ("check", image, "--markers", other),
        "model": ("check", image, "--model", other),
        "mask": ("check", image, "--region", other),
        "labels": ("evaluate", image, other),
    }
    assert str(other) in refused(*words[what])


@pytest.mark.parametrize("kind", [*PLACES, "binary", "deep", "list", "other"])
def test_a_record_of_results_that_is_none(
    refused: Callable[..., str], image: Path, tmp_path: Path, kind: str
) -> None:
    record = tmp_path / "out" / "provenance.json"
    record.parent.mkdir()
    content = {"binary": bytes(range(256)), "deep": DEEP.encode(), "list": b"[]"}
    if kind in PLACES:
        PLACES[kind](record)
    else:
        record.write_bytes(content.get(kind, json.dumps({"image": {"address": [1]}}).encode()))
    said = refused("check", image, "--output", record.parent)
    words = "holds the results of another image" if kind == "other" else "is not as it was written"
    assert f"{words}; got " in said


def test_a_folder_named_by_a_dot(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    image: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert Terapose(monkeypatch, capsys)("check", image, "--output", ".").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--diameter", "1e-308"),
        ("--diameter", "5e-324"),
        ("--diameter", "1e308"),
        ("--model", "x" * 5000),
        ("--markers", "x" * 5000),
        ("--region", "0:9" * 5000),
        ("--channels", "9" * 4000),
        ("--series", "\u202e"),
    ],
)
def test_values_beyond_all_measure(
    refused: Callable[..., str], image: Path, words: tuple[str, str]
) -> None:
    assert refused("check", image, *words)


@pytest.mark.parametrize("name", ["zarr.json", ".zarray", ".zattrs"])
@pytest.mark.parametrize("content", [DEEP, '{"a": ' + DEEP + "}", "\udcff", "9" * 5000, "[1]"])
def test_metadata_of_zarr(
    refused: Callable[..., str], tmp_path: Path, name: str, content: str
) -> None:
    folder = tmp_path / "image.zarr"
    folder.mkdir()
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    for command in (("check", folder), ("evaluate", folder, folder)):
        assert str(folder) in refused(*command)


@pytest.mark.parametrize("kind", ["pipe", "zeros", "loop"])
@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json", "0/c/0/0/0"])
def test_files_of_zarr(refused: Callable[..., str], tmp_path: Path, name: str, kind: str) -> None:
    image = write_ome_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0])
    (image / name).unlink()
    PLACES[kind](image / name)
    for command in (("check", image), ("evaluate", image, image)):
        assert str(image) in refused(*command)


def test_pairs_of_halves_are_characters() -> None:
    assert parse_json('"\\ud83d\\ude00"') == parse_json('"😀"'.encode("utf-16")) == "😀"
    assert parse_json(b'"\\\\ud800"') == "\\ud800"


def test_halves_of_characters_are_no_names_of_channels(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    image = write_ome_zarr(tmp_path / "image.zarr", nuclei((6, 24, 28))[0])
    document = image / "zarr.json"
    content = json.loads(document.read_text())
    content["attributes"]["ome"]["omero"] = {"channels": [{"label": "a\ud800"}]}
    document.write_text(json.dumps(content))
    assert "surrogates not allowed" in refused("check", image)
    # HDF5 and TIFF have other texts
    assert names_of(["a\udcff", None], 2) == ("a?", "channel 2")


HALVES = ['{"\\uDC00": 1}', b'["\xed\xa0\x80"]', '"\udcff"']


@pytest.mark.parametrize("text", [DEEP, "9" * 5000, "nul", "{", b"\xff", *HALVES])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_sentence_is_one_line_that_a_terminal_can_show() -> None:
    error = InputError("wrong", where="a\nb", got="\x1b[2J\u202e\ud800\u2028", remedy="x\ty")
    assert str(error) == "a\\nb: wrong; got \\x1b[2J\\u202e\\ud800\\u2028; x\\ty"
    assert shown("é 中 😀 µ") == "é 中 😀 µ"
    assert shown("x" * 5000).endswith("... (5000 characters)")
    assert shown(10**5000) == "a number of thousands of digits"


@pytest.mark.parametrize("text", ["[" + "[]," * 2_000_000 + "0]", b'{"a":' * 2_000_001])
def test_a_document_of_millions_of_parts_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="more than 2,000,000 lists and objects"):
        parse_json(text)
