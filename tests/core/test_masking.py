"""Credentials in addresses are used, and shown nowhere."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff

from terapose.cli import _Masked
from terapose.core.errors import InputError
from terapose.core.masking import masked_all
from terapose.io.images.address import masked
from terapose.stages.check import is_same

HIDDEN = {
    "https://user:secret@host/a.tif": "https://***@host/a.tif",
    "s3://secret:secret@bucket/a.zarr": "s3://***@bucket/a.zarr",
    "https://user:se@cret@host:8080/a?b=1": "https://***@host:8080/a?b=1",
    "ftp://secret@host/a": "ftp://***@host/a",
    "https://h/a?X-Amz-Signature=secret&X-Amz-Date=1&x=2": (
        "https://h/a?X-Amz-Signature=***&X-Amz-Date=***&x=2"
    ),
    "https://h/a?sv=2020&sig=secret%3D&level=3": "https://h/a?sv=***&sig=***&level=3",
    "https://h/a?access_token=secret#sha256=12": "https://h/a?access_token=***#sha256=12",
    "https://h/a?X-Goog-Credential=secret&Signature=secret": (
        "https://h/a?X-Goog-Credential=***&Signature=***"
    ),
    "'https://h/a?api_key=secret', then s3://k:secret@b/c": (
        "'https://h/a?api_key=***', then s3://***@b/c"
    ),
    "simplecache::https://u:secret@h/a": "simplecache::https://***@h/a",
}
PLAIN = [
    "https://host/a@b.tif",
    "/data/user:name@host/a?sig=1.tif",
    "https://host/a?level=1&series=2",
    "s3://bucket/key=1/a.zarr",
    "someone@example.org wrote https://example.org/",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_hidden(text: str) -> None:
    assert masked(text) == HIDDEN[text]
    assert masked(HIDDEN[text]) == HIDDEN[text]
    assert "secret" not in str(InputError(text, where=text, got=text, remedy=text))
    assert "secret" not in json.dumps(masked_all({"a": [text, {"b": text}], "c": (text, 1)}))
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "%s", (text,), None)
    assert "secret" not in _Masked().format(record)


@pytest.mark.parametrize("text", PLAIN)
def test_plain(text: str) -> None:
    assert masked(text) == text


def test_an_image_is_the_same_whoever_opens_it() -> None:
    assert is_same("https://a:b@h/x.tif", "https://***@h/x.tif")
    assert not is_same("https://a:b@h/x.tif", "https://***@h/y.tif")


def test_an_image_at_an_address_with_credentials(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    server: str,
) -> None:
    write_tiff(tmp_path / "image.tif", nuclei((1, 40, 48))[0])
    address = f"{server}/image.tif?X-Amz-Signature=secret"
    command = Terapose(monkeypatch, capsys)
    out, plan = tmp_path / "out", tmp_path / "plan.json"
    for words in (
        ("check", address, "--output", out),
        ("plan", address, "--output", plan),
        ("segment", address, out, "--jobs", 1, "--diameter", 12),
        # the same again: it is the image of these results
        ("check", address, "--output", out),
        ("check", f"{server}/missing.tif?X-Amz-Signature=secret"),
        ("check", address, "--channels", 7),
        ("segment", f"{server}/missing.tif?sig=secret", out, "--jobs", 1),
    ):
        said = command(*words)
        assert said.code == (2 if "missing" in str(words[1]) or 7 in words else 0), said
        assert "secret" not in said.out + said.err
    assert "secret" not in (out / "provenance.json").read_text()
    # it has to be opened again from there
    assert "secret" in plan.read_text()


def test_a_fault_nobody_expected(tmp_path: Path) -> None:
    code = (
        "import click, terapose.cli as cli\n"
        "@cli.group.command('fail')\n"
        "def fail(): raise RuntimeError('at https://u:secret@h/a')\n"
        "cli.Commands.get_command = lambda *_: fail\n"
        "import sys; sys.argv = ['terapose', 'fail']; cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "RuntimeError: at https://***@h/a" in done.stderr
    assert "secret" not in done.stderr
