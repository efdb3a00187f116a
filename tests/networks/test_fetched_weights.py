"""Weight files from a URL: fetched once each, and no other taken for them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from terapose.core.errors import InputError
from terapose.networks.weights import mark_of, resolve, sha256


def test_url_is_fetched_once(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TERAPOSE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source.pth"
    source.write_bytes(weights.read_bytes())
    url = f"file://{source}"
    fetched = resolve(url)
    assert fetched.parent == tmp_path / "cache" and sha256(fetched) == sha256(weights)
    before = fetched.stat()
    assert resolve(url) == fetched and fetched.stat() == before
    source.unlink()
    assert resolve(f"{url}#sha256={sha256(weights)}") == fetched and not caplog.text
    assert resolve(url) == fetched and "was fetched before is used" in caplog.text
    assert fetched.stat() == before
    assert list(fetched.parent.iterdir()) == [fetched]


@pytest.mark.parametrize("kind", ["file", "http"])
def test_another_file_under_the_same_url_is_fetched(
    kind: str, weights: Path, tmp_path: Path, server: str
) -> None:
    source, cache = tmp_path / "net.pth", tmp_path / "cache"
    url = f"file://{source}" if kind == "file" else f"{server}/net.pth"
    source.write_bytes(weights.read_bytes())
    mark = mark_of(url, cache=cache)
    first = resolve(url, cache=cache)
    assert mark_of(url, cache=cache) == mark and sha256(first) == sha256(weights)
    # the second is fetched later, but perhaps in the same tick of the clock
    os.utime(first, (5e8, 5e8))
    # of the same size; servers give times in seconds
    source.write_bytes(weights.read_bytes()[::-1])
    os.utime(source, (1e9, 1e9))
    other = mark_of(url, cache=cache)
    assert other not in ("", mark) and not mark_of(url, "00") and not mark_of(f"{url}#sha256=00")
    second = resolve(url, cache=cache)
    # who reads the first one goes on to do so
    assert sha256(second) == sha256(source) != sha256(first) == sha256(weights)
    # the one that is meant, whatever there is by now
    assert resolve(url, mark=mark, cache=cache) == first
    source.unlink()
    assert resolve(url, mark=mark, cache=cache) == first
    assert mark_of(url, cache=cache) == other and resolve(url, cache=cache) == second
    with pytest.raises(InputError, match="cannot be fetched"):
        resolve(url, mark="0123abcd", cache=cache)
    source.write_bytes(weights.read_bytes())
    with pytest.raises(InputError, match="has changed, or the server can no longer be asked"):
        resolve(url, mark="0123abcd", cache=cache)


def test_wrong_digest_leaves_nothing(weights: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match="does not match its digest"):
        resolve(f"file://{weights}#sha256={'0' * 64}", cache=cache)
    assert not list(cache.iterdir())


def test_what_signs_an_address_is_no_name(weights: Path, tmp_path: Path, server: str) -> None:
    shutil.copy2(weights, tmp_path / "net.pth")
    fetched = resolve(f"{server}/net.pth?sig=secret&x='a b'/c", cache=tmp_path / "cache")
    assert fetched.name.endswith("-net.pth") and sha256(fetched) == sha256(weights)


def test_damaged_cache_is_fetched_again(weights: Path, tmp_path: Path) -> None:
    url = f"file://{weights}#sha256={sha256(weights)}"
    fetched = resolve(url, cache=tmp_path)
    fetched.write_bytes(b"half a file")
    assert sha256(resolve(url, cache=tmp_path)) == sha256(weights)


def test_offline_says_where_to_put_the_file(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/model.pth"
    with pytest.raises(InputError) as error:
        resolve(url, cache=tmp_path)
    message = str(error.value)
    assert f"{url}: the model cannot be fetched" in message
    assert f"terapose fetch {url} --output FILE" in message
    place = Path(message.rsplit(" ", 1)[-1])
    place.write_bytes(b"put here by hand")
    assert resolve(url, cache=tmp_path) == place
