"""Decodes pictures in another process, where those that are damaged may end the decoder.

Such a decoder writes where it should not before it crashes, so its process is given up with the
first picture that it refuses. A picture whose decoder crashes is decoded once more by a new one:
another picture may be to blame. The second crash is that of this picture.

Threads have a process each, if they decode at the same time; so has a process that was forked.
"""

from __future__ import annotations

import atexit
import errno
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from terapose.io.images import decoding
from terapose.io.images.decoding import ANSWER, FAULT, NO_MEMORY, REQUEST

Picture = np.ndarray[Any, Any]

_LONGEST_TEXT = 2**16


class Packed(NamedTuple):
    """A picture that is to be decoded.

    Attributes
    ----------
    codec
        Name of a codec of imagecodecs.
    data
        The picture.
    most
        Bytes that it may have, which the codec is to stop at; 0 for a codec that cannot.
    tables
        Of a JPEG, where they are not in the picture.
    options
        Other parameters of the codec.
    """

    codec: str
    data: bytes
    most: int = 0
    tables: bytes = b""
    options: dict[str, Any] = {}  # noqa: RUF012


class _CrashError(Exception):
    """The process has ended, with this status."""


class _Decoder:
    """A process that decodes one picture after another."""

    def __init__(self) -> None:
        # the same packages as here, and one thread: each would take memory
        found = os.pathsep.join(filter(None, sys.path))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", decoding.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders print what they think of a picture
                env={**os.environ, "PYTHONPATH": found, "OPENBLAS_NUM_THREADS": "1"},
            )
            self._receive()
        except (_CrashError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENOMEM:
                raise
            raise MemoryError("to start a process that decodes pictures") from error

    def decode(self, packed: Packed) -> Picture:
        """Decode a picture; `_CrashError` where the process has ended."""
        asked = {"codec": packed.codec, "most": packed.most, "options": packed.options}
        self._send(json.dumps(asked).encode(), packed.tables, packed.data)
        kind, text, pixels = self._receive()
        if kind == NO_MEMORY:
            raise MemoryError(f"to decode a picture ({packed.codec})")
        if kind == FAULT:
            raise ValueError(text)
        dtype, *edges = text.split()
        shape = tuple(map(int, edges))
        if len(pixels) != np.dtype(dtype).itemsize * math.prod(shape):
            raise ValueError(f"its decoder gave {len(pixels)} bytes for {text}")
        return np.frombuffer(pixels, dtype).reshape(shape)

    def _send(self, *parts: bytes) -> None:
        send = self._process.stdin
        assert send is not None
        with suppress(BrokenPipeError):  # no answer will come, which says the same
            send.write(REQUEST.pack(*map(len, parts)))
            for part in parts:
                send.write(part)
            send.flush()

    def _receive(self) -> tuple[int, str, bytearray]:
        kind, length, size = ANSWER.unpack(self._exactly(ANSWER.size))
        text = self._exactly(min(length, _LONGEST_TEXT)).decode(errors="replace")
        return kind, text, bytearray(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        receive = self._process.stdout
        assert receive is not None
        found = receive.read(size)
        if len(found) < size:
            raise _CrashError(self._process.wait())
        return found

    def end(self) -> None:
        """End the process; a fork of this one may hold its input open, so it is not waited for."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()


_IDLE: list[_Decoder] = []
os.register_at_fork(after_in_child=_IDLE.clear)


@atexit.register
def _end_all() -> None:
    while _IDLE:
        _IDLE.pop().end()


def decode_apart(packed: Packed) -> Picture:
    """Decode a picture in another process.

    Raises
    ------
    ValueError
        If it cannot be decoded, is larger than it may be, or its decoder crashes.
    MemoryError
        If there is too little memory for it.
    """
    try:
        return _decode(_idle() or _Decoder(), packed)
    except _CrashError:
        pass
    try:
        return _decode(_Decoder(), packed)
    except _CrashError as error:
        (status,) = error.args
        if status == -signal.SIGKILL:  # so the system ends who takes too much
            raise MemoryError(f"to decode a picture ({packed.codec})") from None
        how = f"exit status {status}" if status >= 0 else signal.strsignal(-status)
        raise ValueError(f"its decoder crashed ({how})") from None


def _idle() -> _Decoder | None:
    """A process that waits; None if there is none, also if another thread has just taken it."""
    with suppress(IndexError):
        return _IDLE.pop()
    return None


def _decode(decoder: _Decoder, packed: Packed) -> Picture:
    """Decode a picture; who has decoded one may decode more."""
    try:
        picture = decoder.decode(packed)
    except BaseException:
        decoder.end()
        raise
    _IDLE.append(decoder)
    return picture
