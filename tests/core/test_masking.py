"""Credentials in addresses are used, and shown nowhere."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff

from terapose.cli import _Masked
from terapose.core.errors import InputError, shown
from terapose.core.masking import masked_all
from terapose.io.images.address import masked
from terapose.results.destination import is_same

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
    # quotes, and names that say what they are
    "https://user:it's secret@h/a": "https://***@h/a",
    "https://us'er:sec\"ret@h/a": "https://***@h/a",
    'https://h/a?pwd=secret&pass=it\'s;"secret"&level=1': 'https://h/a?pwd=***&pass=***"&level=1',
    "https://h/a?user=secret&PassPhrase=secret": "https://h/a?user=***&PassPhrase=***",
    "https://h/a?%74oken=secret&x=1": "https://h/a?%74oken=***&x=1",
    "https://h/a?token=a&b;c#secret": "https://h/a?token=***",
    "https://h/a?jwt=eyJsecret&data=eyJsecret.secret": "https://h/a?jwt=***&data=***",
    "https://h/a;jsessionid=secret?level=1": "https://h/a;jsessionid=***",
    "https://h/a?x=1&amp;token=secret": "https://h/a?x=1&amp;token=***",
    # fragments
    "https://h/a#access_token=secret&level=1": "https://h/a#access_token=***&level=1",
    # addresses in addresses
    "https://proxy/https://u:secret@h/a": "https://proxy/https://***@h/a",
    "zip://inner::s3://u:a::secret@b/c.zip": "zip://inner::s3://***@b/c.zip",
    "https://h/a?url=https%3A%2F%2Fu%3Asecret%40k&level=1": "https://h/a?url=***&level=1",
    "https://h/a?u=https%253A%252F%252Fk%253Ftoken%253Dsecret": "https://h/a?u=***",
    "['https://h/a?sig=secret','https://u:secret@h/b?level=1']": (
        "['https://h/a?sig=***','https://***@h/b?level=1']"
    ),
    # malformed
    "https://user:se/secret@h/a": "https://***@h/a",
    "https://user:se?cr#secret@h/a": "https://***@h/a",
    "at https:/user:secret@h/a": "at ***@h/a",
    "https:user:secret@h/a": "***@h/a",
    "got //user:secret@h/a": "got //***@h/a",
    "https://user:secret": "https://***",
    # what drivers say
    'Invalid bucket name "key:secret@bucket": Bucket name must match': (
        'Invalid bucket name "***@bucket": Bucket name must match'
    ),
    "Max retries exceeded with url: /a.tif?X-Amz-Signature=secret (Caused by": (
        "Max retries exceeded with url: /a.tif?X-Amz-Signature=*** (Caused by"
    ),
    "Authorization: AWS4-HMAC-SHA256 Credential=secret/20200101/s3, Signature=secret": (
        "Authorization: AWS4-HMAC-SHA256 ***, Signature=***"
    ),
    "{'Authorization': 'Bearer secret', 'a': 1}": "{'Authorization': 'Bearer ***', 'a': 1}",
    "<AWSAccessKeyId>secret</AWSAccessKeyId><Code>a</Code>": (
        "<AWSAccessKeyId>***</AWSAccessKeyId><Code>a</Code>"
    ),
    "aws_access_key_id=secret in the file": "aws_access_key_id=*** in the file",
    "no key ASIAIOSFODNN7EXAMPLE": "no key ***",
}
PLAIN = [
    "https://host/a@b.tif",
    "http://host:8080/a@b.tif, http://[::1]:80/a b@c",
    "/data/user:name@host/a.tif",
    "/data/img@2x.tif",
    "memory://x::y",
    "see https://example.org:443.",
    'File "/a/b.py", line 3, in open: key 1',
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


def test_paths_on_a_disk_are_recorded_as_they_are() -> None:
    for path in ("/data/a?sig=1.tif", "/my data:1@2x.tif"):
        assert masked_all([path]) == [path]


SECRET = "S3CR"
"""Which begins and ends what is planted: nothing else has it."""
PARTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]))
PLACES = (
    "{scheme}://{user}:{secret}@{host}/a/b.tif",
    "{scheme}://{secret}@{host}/a/b.tif?level=1",
    "{scheme}://{secret}:{user}@{host}",
    "{scheme}://{host}/a.tif?{name}={secret}",
    "{scheme}://{host}/a.tif?level=1&{name}={secret}&series=2",
    "{scheme}://{host}/a.tif#{name}={secret}",
    "{scheme}://{host}/a;{name}={secret}",
    "simplecache::{scheme}://{user}:{secret}@{host}/a",
)
AROUND = ("{}", "cannot open {}: no such file", "'{}', then https://h/b", '["{}"]', "({})")


@given(
    place=st.sampled_from(PLACES),
    around=st.sampled_from(AROUND),
    scheme=st.sampled_from(["https", "s3", "GS", "abfs+x"]),
    host=st.sampled_from(["h", "host.org:8080", "[::1]:80", "127.0.0.1"]),
    user=st.sampled_from(["u", "a.b", "user%40mail"]),
    name=st.sampled_from(["token", "PWD", "X-Amz-Date", "my_pass", "%73ig", "sp", "apikey"]),
    middle=PARTS,
    is_quoted=st.booleans(),
)
@settings(max_examples=300)
def test_no_secret_survives(
    place: str,
    around: str,
    scheme: str,
    host: str,
    user: str,
    name: str,
    middle: str,
    is_quoted: bool,
) -> None:
    secret = SECRET + (quote(middle, safe="") if is_quoted else middle)
    if "://{secret}" in place:  # without a user before them they are signs of a host and a path
        secret = re.sub(r"[:/?#]", "", secret)
    address = place.format(scheme=scheme, host=host, user=user, name=name, secret=secret + SECRET)
    text = around.format(address)
    assert SECRET not in masked(text)
    assert SECRET not in str(InputError("bad", where=address, got=f"key {secret + SECRET} of it"))


def test_what_repeats_a_part_of_the_address_is_masked() -> None:
    address = "s3://key1:hush%2Fhush@bucket/a?sig=whisper%3D"
    said = "no bucket hush/hush or hush%2Fhush, key1, whisper= and whisper%3D, in bucket"
    fault = InputError("bad", where=address, got=said, remedy=said, allowed=said)
    for part in ("key1", "hush", "whisper"):
        assert part not in str(fault)
    assert "in bucket" in str(fault)


def test_an_address_that_is_cut_off_is_masked() -> None:
    for length in range(940, 1010, 3):
        text = f"{'a' * length} https://user:secret@host/a"
        assert "secret" not in shown(text) and "user" not in shown(text)
        assert len(shown(text)) < 1050


def test_options_are_shown_without_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "https://u:secret@h/a.json"
    command = Terapose(monkeypatch, capsys)
    for words in (("check", "a.tif", "--params-file", address), ("check", "a.tif", address)):
        assert "secret" not in command.refuses(*words)


def test_an_image_is_the_same_whoever_opens_it() -> None:
    assert is_same("https://a:b@h/x.tif", "https://***@h/x.tif")
    assert not is_same("https://a:b@h/x.tif", "https://***@h/y.tif")


def test_an_image_at_an_address_with_credentials(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
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
        if words[0] in ("check", "segment") and not said.code:
            text = said.out if words[0] == "check" else caplog.text
            assert "credentials in the address of the image: plans and work folders" in text
        assert said.code == (2 if "missing" in str(words[1]) or 7 in words else 0), said
        assert "secret" not in said.out + said.err
    assert "secret" not in (out / "provenance.json").read_text()
    # others see the words of a command
    picture = ("picture", "-", str(out / "labels.zarr"), str(tmp_path / "picture.png"))
    for called in (("check", "-", "--region", "0:1,0:40,0:48"), picture):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{address}\n{{}}"))
        assert command(*called).code == 0
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
