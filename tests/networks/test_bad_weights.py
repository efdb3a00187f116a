"""Weight files with odd streams and numbers: one sentence, at once, and little memory."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff
from tests.unets import random_unet

from terapose.core.errors import InputError
from terapose.networks.loading import load

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
OTHER = "the file holds more than the weights of a network"
STREAMS: dict[str, bytes] = {
    "a text of terabytes": b"\x80\x02\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "bytes of terabytes": MAGIC + b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "a number of gigabytes": MAGIC + b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
    "kept under a huge number": MAGIC + b"\x80\x02K\x01r" + struct.pack("<I", 2**32 - 1) + b".",
    "kept under a number in text": MAGIC + b"\x80\x02K\x01p99999999999\n.",
    "nested": MAGIC + b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "no end": MAGIC + b"\x80\x02(((((",
    "marks that are missing": MAGIC + b"\x80\x02t.",
    "nothing to take": MAGIC + b"\x80\x02\x85\x86\x87.",
    "a call": MAGIC + b"cos\nsystem\n(S'true'\ntR.",
    "only the magic number": MAGIC,
}


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[[Path], str]:
    """Check an image with a model that cannot be used."""
    image = tmp_path / "image.tif"
    write_tiff(image, nuclei((1, 24, 28))[0])
    command = Terapose(monkeypatch, capsys)
    return lambda model: command.refuses("check", image, "--model", model)


def _archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name.replace('__', '/').replace('_pkl', '.pkl')}", content)
    return path


@pytest.mark.parametrize("kind", STREAMS)
def test_streams(refused: Callable[[Path], str], tmp_path: Path, kind: str) -> None:
    plain = tmp_path / "plain.pth"
    plain.write_bytes(STREAMS[kind])
    packed = _archive(tmp_path / "packed.pth", data_pkl=STREAMS[kind].removeprefix(MAGIC))
    for path in (plain, packed):
        # these are whole, and hold something else
        whole = kind == "a call" or (kind == "nested" and path == packed)
        words = OTHER if whole else "not a torch weight file, or a damaged one"
        assert refused(path).startswith(f"{path}: {words}; got ")
        with pytest.raises(InputError, match=words):
            load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -17.0, 0.0, 1e-30, 1e30])
@pytest.mark.parametrize("legacy", [False, True])
def test_diameters(
    refused: Callable[[Path], str], tmp_path: Path, value: float, legacy: bool
) -> None:
    state = random_unet((1, 2)).state_dict()
    state["diam_mean"] = torch.tensor([value])
    path = tmp_path / "odd.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    assert refused(path).startswith(f"{path}: the network's diameter is implausible; got diam_mean")
    with pytest.raises(InputError, match="is implausible"):
        load(path)


@pytest.mark.parametrize(
    ("factor", "bias", "precision"),
    [(1e38, 1, "float32"), (1, float("inf"), "float32"), (1, 1e5, "float16")],
)
def test_an_output_that_is_not_finite_names_the_network(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    factor: float,
    bias: float,
    precision: str,
) -> None:
    state = random_unet((1, 2)).state_dict()
    state["output.2.bias"].fill_(bias)
    for name, weights in state.items():
        if weights.is_floating_point() and not name.startswith("diam_"):
            weights.mul_(factor)
    model = tmp_path / "huge.pth"
    torch.save(state, model)
    image = tmp_path / "image.tif"
    write_tiff(image, nuclei((1, 24, 28))[0])
    command = Terapose(monkeypatch, capsys)
    words = ("--jobs", 1, "--model", model, "--flow-precision", precision)
    said = command.refuses("segment", image, tmp_path / "out", *words)
    assert said.startswith(f"{model}: the network's output is not finite; got values that are")
    assert ("give flow_precision float32" in said) == (precision == "float16")


def test_values_that_are_no_arrays(refused: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    for content in ({"a": 1}, {1: torch.zeros(2)}, [torch.zeros(2)], torch.zeros(2), "text"):
        torch.save(content, path)
        assert OTHER in refused(path)


def test_arrays_that_are_larger_than_what_is_stored(
    refused: Callable[[Path], str], tmp_path: Path
) -> None:
    state = random_unet((1, 2)).state_dict()
    state["output.2.weight"] = torch.zeros(1).expand(3, 10**6, 10**3, 10**3)
    for legacy in (False, True):
        path = tmp_path / f"{legacy}.pth"
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
        assert "not a torch weight file" in refused(path)


def test_a_bomb(refused: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    assert "not a torch weight file" in refused(path)


def test_archives_that_are_others(refused: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    buffer = io.BytesIO()
    torch.save(random_unet((1, 2)).state_dict(), buffer)
    whole = buffer.getvalue()
    # the archive's directory stands at its end
    at = whole.rindex(b"PK\x01\x02")
    places: dict[str, tuple[int, bytes]] = {
        "encrypted": (at + 8, b"\x01\x00"),
        "a method nobody knows": (at + 10, b"\x63\x00"),
        "beyond its end": (at + 42, b"\xff\xff\xff\x7f"),
        "a length of gigabytes": (at + 24, b"\xff\xff\xff\x7f"),
    }
    for start, changed in places.values():
        damaged = bytearray(whole)
        for first in range(len(whole)):
            if whole.startswith(b"PK\x01\x02", first):
                place = first + start - at
                damaged[place : place + len(changed)] = changed
        path.write_bytes(damaged)
        assert str(path) in refused(path)
