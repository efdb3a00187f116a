"""Damage to an input: of its bytes, of its fields, or of what it is in the file system."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NUMBERS = (0, 1, 2, 3, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40)
_TEXTS = (
    "",
    " ",
    "\0",
    "\ufeff",
    "ä\u0308",
    "\u202egnp.exe",
    "😀" * 40,
    "../../x",
    "a\nb",
    "=1+1",
    "'\"`$(x)",
    "x" * 70000,
    "NaN",
    "inf",
    "-1",
    "1e308",
    "1e-308",
    "1" * 5000,
    "0:0,0:0",
    "nan,nan",
    "%s%n{0}{}",
    "[link](x) [/red]",
)
_RAW = {
    "@digits": "9" * 5000,
    "@deep": "[" * 100_000 + "]" * 100_000,
    "@objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "@huge": "1e999",
    "@nan": "NaN",
    "@surrogate": '"\\ud800"',
    "@long": "[" + "1," * 20_000 + "1]",
}
"""What stands for what `json.dumps` does not write."""


def mutate(path: Path, rng: random.Random, others: list[Path]) -> str:
    """Damage an input in place.

    Parameters
    ----------
    path
        A file, or a folder of them.
    rng
        Decides everything.
    others
        Other inputs of this kind, to take pieces from.

    Returns
    -------
    str
        What was done, for a person.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        # documents rather than chunks: there are more of these
        documents = [p for p in files if p.name.endswith(("json", ".zarray", ".zattrs", ".zgroup"))]
        path = rng.choice(documents if documents and rng.random() < 0.8 else files)
    if rng.random() < 0.03:
        return f"{path.name}: {_replace(path, rng)}"
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        done.append(_mutate_file(path, rng, others))
    return f"{path.name}: {', '.join(done)}"


def _mutate_file(path: Path, rng: random.Random, others: list[Path]) -> str:
    data = path.read_bytes()
    by_field = _fields_of(path, data)
    if by_field is not None and rng.random() < 0.6:
        changed = by_field(data, rng)
        if changed is not None:
            path.write_bytes(changed)
            return "field"
    change = rng.choice(_BYTES)
    other = rng.choice(others) if others else path
    if other.is_dir():
        other = rng.choice(sorted(p for p in other.rglob("*") if p.is_file()))
    path.write_bytes(change(data, rng, other.read_bytes() if change is _splice else b""))
    return change.__name__.strip("_")


def _replace(path: Path, rng: random.Random) -> str:
    """Another thing under the name of a file."""
    kind = rng.choice(("folder", "loop", "dangling", "pipe", "zeros", "empty", "gone", "device"))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nothing-here")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "zeros":
        path.symlink_to("/dev/zero")
    elif kind == "device":
        path.symlink_to("/dev/null")
    elif kind == "empty":
        path.touch()
    return kind


# -- bytes ---------------------------------------------------------------------------------------


def _place(data: bytes, rng: random.Random) -> int:
    """A place, in every second case near the start, where most formats say what follows."""
    limit = max(len(data), 1)
    return rng.randrange(min(limit, 512) if rng.random() < 0.5 else limit)


def _bits(data: bytes, rng: random.Random, _: bytes) -> bytes:
    changed = bytearray(data)
    for _n in range(rng.choice((1, 1, 2, 16)) if changed else 0):
        changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _number(data: bytes, rng: random.Random, _: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    value: int = rng.choice(_NUMBERS) % 256**size
    at = _place(data, rng)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _truncate(data: bytes, rng: random.Random, _: bytes) -> bytes:
    return data[: _place(data, rng)]


def _zeros(data: bytes, rng: random.Random, _: bytes) -> bytes:
    at, size = _place(data, rng), rng.randrange(1, 200)
    return data[:at] + bytes([rng.choice((0, 255))]) * size + data[at + size :]


def _insert(data: bytes, rng: random.Random, _: bytes) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:]


def _delete(data: bytes, rng: random.Random, _: bytes) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.randrange(1, 60) :]


def _repeat(data: bytes, rng: random.Random, _: bytes) -> bytes:
    at, size = _place(data, rng), rng.randrange(1, 300)
    return data[:at] + data[at : at + size] * rng.randrange(2, 9) + data[at + size :]


def _splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    size = rng.randrange(1, 400)
    at, source = _place(data, rng), _place(other, rng)
    return data[:at] + other[source : source + size] + data[at + size * rng.randrange(2) :]


_Change = Callable[[bytes, random.Random, bytes], bytes]
_BYTES: tuple[_Change, ...] = (
    _bits,
    _number,
    _truncate,
    _zeros,
    _insert,
    _delete,
    _repeat,
    _splice,
)


# -- fields --------------------------------------------------------------------------------------

_ByField = Callable[[bytes, random.Random], bytes | None]


def _fields_of(path: Path, data: bytes) -> _ByField | None:
    if path.name.endswith(("json", ".zarray", ".zattrs", ".zgroup")):
        return _json
    if path.suffix == ".csv":
        return _csv
    if data[:4] in (b"II*\0", b"II+\0"):
        return _tiff
    return _archive if path.suffix == ".pth" and data[:2] == b"PK" else None


def _json(data: bytes, rng: random.Random) -> bytes | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    holders: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        keys: Any = list(node) if isinstance(node, dict) else range(len(node))
        holders += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    if not holders:
        return None
    holder, key = rng.choice(holders)
    kind = rng.choice(("value", "value", "value", "drop", "rename", "raw", "twice"))
    if kind == "drop":
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        holder[rng.choice(_TEXTS)] = holder.pop(key)
    elif kind == "twice" and isinstance(holder, list):
        holder += [holder[key]] * rng.randrange(1, 200)
    elif kind == "raw":
        holder[key] = rng.choice(list(_RAW))
    else:
        holder[key] = _value(holder[key], rng)
    text = json.dumps(document)
    for token, raw in _RAW.items():
        text = text.replace(f'"{token}"', raw)
    return text.encode("utf-8", "surrogatepass")


def _value(before: Any, rng: random.Random) -> Any:
    """Another value: of another type, out of any bounds, or next to the one before."""
    odd: list[Any] = [None, True, False, -1, 0, 1, 2.5, 1e-308, 1e308, 10**12, 2**63, 2**64, [], {}]
    odd += [[[]], [None], [before, before], {"a": before}, [1e308] * 3, *_TEXTS]
    if isinstance(before, int | float):
        odd += [before + 1, -before, before * 1000, str(before)]
    return rng.choice(odd)


def _csv(data: bytes, rng: random.Random) -> bytes | None:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        lines = data.decode(encoding).split("\n")
    except UnicodeDecodeError:
        return None
    separator = ";" if ";" in data.decode(encoding) else ","
    row = rng.randrange(len(lines))
    cells = lines[row].split(separator)
    cell = rng.randrange(len(cells))
    kind = rng.choice(("cell", "cell", "quoted", "drop", "more", "lines", "shuffle", "encoding"))
    if kind in ("cell", "quoted"):
        value = rng.choice((*_TEXTS, '""', '"', "1.5", "0", "99", "1e9", "*"))
        cells[cell] = f'"{value}"' if kind == "quoted" else value
    elif kind == "drop":
        del cells[cell]
    elif kind == "more":
        cells += [rng.choice(("", "x", '""'))] * rng.randrange(1, 40)
    elif kind == "shuffle":
        rng.shuffle(cells)
    lines[row] = separator.join(cells)
    if kind == "lines":
        lines += [lines[row]] * rng.randrange(1, 500)
    target = rng.choice(("latin-1", "utf-16", "utf-32", "utf-8-sig", "cp1252"))
    text = "\n".join(lines)
    return text.encode(target if kind == "encoding" else encoding, "replace")


def _tiff(data: bytes, rng: random.Random) -> bytes | None:
    """Change one entry of one directory: its tag, type, count or value."""
    big = data[2] == 43
    first, form, size = (8, "<Q", 20) if big else (4, "<I", 12)
    entries = []
    try:
        (offset,) = struct.unpack_from(form, data, first)
        for _ in range(20):
            (count,) = struct.unpack_from("<Q" if big else "<H", data, offset)
            start = offset + (8 if big else 2)
            entries += [start + n * size for n in range(min(count, 40))]
            (offset,) = struct.unpack_from(form, data, start + count * size)
            if not offset:
                break
    except (struct.error, OverflowError):
        pass
    entries = [place for place in entries if place + size <= len(data)]
    if not entries:
        return None
    place = rng.choice(entries)
    width = 8 if big else 4
    at, length = rng.choice(((0, 2), (2, 2), (4, width), (4 + width, width), (4 + width, 2)))
    now = int.from_bytes(data[place + at : place + at + length], "little")
    value = rng.choice((*_NUMBERS, now + 1, now * 2, now - 1, 2**62)) % 256**length
    changed = bytearray(data)
    changed[place + at : place + at + length] = value.to_bytes(length, "little")
    return bytes(changed)


def _archive(data: bytes, rng: random.Random) -> bytes | None:
    """Change bytes of one member of a weight file, in an archive that is whole."""
    import io

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError):
        return None
    names = [name for name in members if name.endswith("data.pkl")]
    name = rng.choice(names if names and rng.random() < 0.8 else sorted(members))
    change: _Change = rng.choice(_BYTES)
    members[name] = change(members[name], rng, members[name])
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, content in members.items():
            # always the same file
            archive.writestr(zipfile.ZipInfo(name), content)
    return result.getvalue()


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
