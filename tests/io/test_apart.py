"""Pictures whose decoders crash where they are damaged: one error message, and no more."""

from __future__ import annotations

import faulthandler
import os
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from tests.pictures import read_picture, write_picture

from terapose.core.errors import InputError
from terapose.io.images import apart
from terapose.io.images.apart import Packed, decode_apart

_TILE = np.random.default_rng(1).integers(0, 200, (64, 64), dtype=np.uint8)
_FLIPS = [(145, 22), (145, 109), (145, 142), (145, 185), (150, 185)]
"""Bytes of any JPEG XR of 64 x 64 pixels, of which its decoder crashes in one way or another."""


def _jpeg_xr(place: int = 0, value: int | None = None) -> bytes:
    packed = bytearray(imagecodecs.jpegxr_encode(_TILE, level=1.0))
    if value is not None:
        packed[place] = value
    return bytes(packed)


def _crashes(packed: bytes) -> bool:
    """Whether the decoder ends a fork of this process."""
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        faulthandler.disable()
        with suppress(Exception):
            out: Any = bytearray(2 * 64 * 64 + 2**16)
            imagecodecs.jpegxr_decode(packed, out=out)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("how", [{"tile": (64, 64)}, {"rowsperstrip": 64}], ids=["tile", "strip"])
@pytest.mark.parametrize(("place", "value"), _FLIPS)
def test_crashes_are_refused(tmp_path: Path, place: int, value: int, how: dict[str, Any]) -> None:
    packed = _jpeg_xr(place, value)
    assert _crashes(packed)
    path = write_picture(tmp_path / "a.tif", packed, "jpegxr", 1, **how)
    with pytest.raises(InputError, match=r"tile or strip 0, .* its decoder crashed \(") as fault:
        read_picture(path)
    assert str(path) in str(fault.value)
    write_picture(path, _jpeg_xr(), "jpegxr", 1, **how)
    assert (read_picture(path) == _TILE).all()


_MANY = """
import sys
from pathlib import Path
import imagecodecs, numpy as np
from tests.pictures import read_picture, write_picture
from terapose.core.errors import InputError

kind, rng = sys.argv[2], np.random.default_rng(1)
tile = np.random.default_rng(0).integers(0, 250, (64, 64)).astype("u1")
tile[:32] = 7
whole = bytes(
    imagecodecs.jpegxr_encode(tile)
    if kind == "jpegxr" else imagecodecs.jpeg_encode(tile, lossless=True)
)
refused = 0
for n in range(150):
    damaged = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        damaged[rng.integers(len(whole) if n % 2 else 300)] = rng.integers(256)
    try:
        read_picture(write_picture(Path(sys.argv[1]), bytes(damaged), kind, 1, tile=(64, 64)))
    except InputError:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("kind", ["jpegxr", "jpeg"])
def test_damaged_pictures_do_not_end_the_process(tmp_path: Path, kind: str) -> None:
    words = [sys.executable, "-c", _MANY, str(tmp_path / "a.tif"), kind]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr and int(done.stdout) > 5


def test_lossless_jpegs_are_decoded_apart(tmp_path: Path) -> None:
    apart._end_all()
    packed = bytes(imagecodecs.jpeg_encode(_TILE, lossless=True))
    path = write_picture(tmp_path / "a.tif", packed, "jpeg", 1, tile=(64, 64))
    assert (read_picture(path) == _TILE).all()
    assert len(apart._IDLE) == 1
    write_picture(path, bytes(imagecodecs.jpeg8_encode(_TILE)), "jpeg", 1, tile=(64, 64))
    apart._end_all()
    read_picture(path)
    assert not apart._IDLE


def test_a_process_that_is_gone_is_replaced() -> None:
    decode_apart(Packed("jpegxr", _jpeg_xr(), 2**16))
    for waiting in apart._IDLE:
        waiting._process.kill()
    assert (decode_apart(Packed("jpegxr", _jpeg_xr(), 2**16)) == _TILE).all()


def test_a_process_decodes_many_until_it_refuses_one() -> None:
    apart._end_all()
    for _ in range(3):
        decode_apart(Packed("jpegxr", _jpeg_xr(), 2**16))
    (first,) = apart._IDLE
    with pytest.raises(ValueError, match="JpegxrError"):
        decode_apart(Packed("jpegxr", b"no picture", 2**16))
    assert not apart._IDLE and first._process.poll() is not None


def test_larger_than_it_may_be() -> None:
    with pytest.raises(ValueError, match="buffer is smaller than requested size"):
        decode_apart(Packed("jpegxr", _jpeg_xr(), 1000))


def test_threads_get_their_own_pictures() -> None:
    tiles = [np.full((64, 64), n, np.uint8) for n in range(40)]
    gate = threading.Barrier(4)

    def decode(number: int) -> bool:
        if number < 4:
            gate.wait()
        packed = bytes(imagecodecs.jpegxr_encode(tiles[number], level=1.0))
        return bool((decode_apart(Packed("jpegxr", packed, 2**16)) == number).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(decode, range(40)))
    assert 1 <= len(apart._IDLE) <= 5


def test_forks_do_not_share_a_process() -> None:
    """Answers to one would be read by another."""
    decode_apart(Packed("jpegxr", _jpeg_xr(), 2**16))
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            found = [decode_apart(Packed("jpegxr", _jpeg_xr(), 2**16)) for _ in range(20)]
            os._exit(0 if all((one == _TILE).all() for one in found) else 1)
        children.append(child)
    for _ in range(20):
        assert (decode_apart(Packed("jpegxr", _jpeg_xr(), 2**16)) == _TILE).all()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def test_no_memory_to_start_a_process() -> None:
    """Nothing is said of the picture, which is as it should be."""
    apart._end_all()
    packed, process = Packed("jpegxr", _jpeg_xr(), 2**16), os.fork()
    if not process:
        try:
            # enough for what is there already, and for nothing else to start
            resource.setrlimit(resource.RLIMIT_AS, (2**26, resource.RLIM_INFINITY))
            decode_apart(packed)
        except MemoryError:
            os._exit(3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 3


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Neither a process, nor a core, wherever the reader ends."""
    code = (
        "import sys, os, resource\n"
        "from tests.io.test_apart import _jpeg_xr\n"
        "from terapose.io.images import apart\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "try: apart.decode_apart(apart.Packed('jpegxr', _jpeg_xr(145, 185), 2**17))\n"
        "except ValueError: pass\n"
        "apart.decode_apart(apart.Packed('jpegxr', _jpeg_xr(), 2**17))\n"
        "print(apart._IDLE[0]._process.pid, flush=True)\n"
        "os._exit(0) if len(sys.argv) > 1 else None\n"
    )
    for last in ([], ["at once"]):
        words = [sys.executable, "-c", code, *last]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        process = Path(f"/proc/{int(done.stdout)}/cmdline")
        for _ in range(10_000):
            try:
                if b"decoding" not in process.read_bytes():
                    break
            except OSError:
                break
            threading.Event().wait(0.01)
        else:
            raise AssertionError("it still waits")
        assert not done.stderr and not list(tmp_path.iterdir())
