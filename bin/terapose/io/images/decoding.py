"""What the process does in which pictures are decoded that may end it (`terapose.io.images.apart`).

It is started by the path of this file and imports nothing of the package, so that it takes little
time and memory. It reads requests, and answers each, until nobody is there to ask.

- A request: `REQUEST` with the lengths of what follows; then what is asked for, as JSON: the codec,
  its options, and how many bytes the picture may have (0 if its header was looked at); then the
  tables of a JPEG, if it has some; then the picture.
- An answer: `ANSWER` with its kind and the lengths of what follows; then a text, which is the type
  and the shape of the pixels, or what was wrong; then the pixels.

First it says that it is ready, with an answer without a text.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from typing import Any, BinaryIO

REQUEST, ANSWER = struct.Struct("<3Q"), struct.Struct("<B2Q")
PIXELS, FAULT, NO_MEMORY = range(3)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    import imagecodecs  # noqa: F401

    _send(answers, PIXELS)
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        asked, tables, packed = (requests.read(size) for size in REQUEST.unpack(head))
        _send(answers, *_answer(json.loads(asked), tables, packed))


def _send(answers: BinaryIO, kind: int, text: bytes = b"", pixels: bytes = b"") -> None:
    answers.write(ANSWER.pack(kind, len(text), len(pixels)) + text)
    answers.write(pixels)
    answers.flush()


def _answer(asked: dict[str, Any], tables: bytes, packed: bytes) -> tuple[int, bytes, bytes]:
    """What is said of a picture, and its pixels."""
    import imagecodecs

    options = asked["options"]
    if asked["most"]:
        options["out"] = bytearray(asked["most"])
    if tables:
        options["tables"] = tables
    try:
        found: Any = getattr(imagecodecs, f"{asked['codec']}_decode")(packed, **options)
    except MemoryError:
        return NO_MEMORY, b"", b""
    except Exception as error:  # each codec raises a kind of its own
        return FAULT, f"{type(error).__name__}: {error}".encode(), b""
    return PIXELS, " ".join(map(str, (found.dtype.str, *found.shape))).encode(), found.tobytes()


if __name__ == "__main__":
    # it is expected to crash: what it had in its memory is of no use to anybody
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)
