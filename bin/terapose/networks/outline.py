"""Names and shapes of the arrays in a torch weight file, read without torch.

A file of ``torch.save`` is a zip archive: ``data.pkl`` describes the arrays, one member each holds
their bytes. Before torch 1.6, when most files of Cellpose 1 were written, it was a stream of the
same description and bytes. The description is unpickled with everything forbidden that plain
weights do not need, so that reading a file from elsewhere runs no code from it.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np

DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged weight file may raise: the bytes decide how far its parsers come."""
_MAGIC = 0x1950A86A20F9469CFC6C
_HALF_OF_FLOAT = "BFloat16Storage"
"""The upper 16 bits of a float32; NumPy has no such type."""
_TYPES = {
    _HALF_OF_FLOAT: np.dtype("<u2"),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "ShortStorage": np.dtype("<i2"),
}


class OtherContentError(pickle.UnpicklingError):
    """A whole file that holds something else than plain weights."""


@dataclass(frozen=True)
class Array:
    """An array in a weight file: its shape, and its value where it is a single number."""

    shape: tuple[int, ...]
    value: float | None = None


class _Tensor(NamedTuple):
    """A tensor's description: where its numbers are, and its shape."""

    kind: str
    key: str
    offset: int
    shape: tuple[int, ...]


def outline(path: Path) -> dict[str, Array]:
    """Arrays of a weight file by name.

    Raises
    ------
    OtherContentError
        It holds more than plain weights.
    Exception
        One of `DAMAGED`: it is a file of another kind, or damaged.
    """
    return _archive(path) if zipfile.is_zipfile(path) else _stream(path)


def _archive(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        (listing,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        folder = listing.removesuffix("data.pkl") + "data/"
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if sum(sizes.values()) > path.stat().st_size:
            # torch packs without compression
            raise zipfile.BadZipFile("says that it holds more than it does")

        def number(key: str, start: int, size: int) -> bytes:
            with archive.open(folder + key) as file:
                file.seek(start)
                return file.read(size)

        held = {name.removeprefix(folder): size for name, size in sizes.items()}
        return _arrays(_load(io.BytesIO(archive.read(listing))), number, held)


def _stream(path: Path) -> dict[str, Array]:
    """Arrays of a file written before torch 1.6.

    Pickles follow each other: a magic number, the version, the machine, the description and the
    keys of the storages. Then comes each storage in this order: its length (int64) and its bytes.
    """
    # a read of a mapped file ends with it, however many bytes the pickle says it has
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as file:
        if file.read(2) != b"\x80\x02":
            raise pickle.UnpicklingError("neither an archive nor a pickle")
        file.seek(0)
        if _load(file) != _MAGIC:
            raise pickle.UnpicklingError("a pickle of something else")
        _load(file)
        _load(file)
        kinds: dict[str, str] = {}
        state = _load(file, kinds)
        places, held = {}, {}
        for key in _load(file):
            length = int.from_bytes(file.read(8), "little")
            places[key] = file.tell()
            held[key] = length * _TYPES[kinds[key]].itemsize
            end = places[key] + held[key]
            if not length or end > len(file):
                raise EOFError("the file is cut short")
            file.seek(end)

        def number(key: str, start: int, size: int) -> bytes:
            file.seek(places[key] + start)
            return file.read(size)

        return _arrays(state, number, held)


def _arrays(
    state: Any, number: Callable[[str, int, int], bytes], held: Mapping[str, int]
) -> dict[str, Array]:
    """Names and shapes.

    ``number`` reads a storage, from a byte on, so many bytes; ``held`` says how many each has.
    """
    plain = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in state.items()
    )
    if not plain:
        raise OtherContentError("more than plain weights")
    arrays = {}
    for name, tensor in state.items():
        if not all(type(n) is int and n >= 0 for n in tensor.shape):
            raise pickle.UnpicklingError("a shape is none")
        size = _TYPES[tensor.kind].itemsize
        if math.prod(tensor.shape) * size > held[tensor.key]:
            raise pickle.UnpicklingError("an array is larger than what is stored of it")
        value = None
        if tensor.shape in ((), (1,)):
            value = _value(tensor.kind, number(tensor.key, size * tensor.offset, size))
        arrays[name] = Array(tensor.shape, value)
    return arrays


def _value(kind: str, content: bytes) -> float:
    """The number that these bytes are."""
    (number,) = np.frombuffer(content, _TYPES[kind])
    if kind == _HALF_OF_FLOAT:
        number = np.left_shift(number, 16, dtype=np.uint32).view(np.float32)
    return float(number)


def _tensor(storage: tuple[str, str], offset: int, shape: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(*storage, offset, tuple(shape))


def _load(file: Any, kinds: dict[str, str] | None = None) -> Any:
    """Read the next pickle of a file; ``kinds`` gets the kinds of storages met, by key.

    A pickle keeps what it will need again under numbers, and memory is taken up to the largest of
    them: so they are looked at first.
    """
    start = file.tell()
    for opcode, number, position in pickletools.genops(file):
        if "PUT" in opcode.name and number is not None and number > position:
            raise pickle.UnpicklingError("keeps more than it holds")
    file.seek(start)
    reader = _Reader(file)
    value = reader.load()
    if kinds is not None:
        kinds |= reader.kinds
    return value


class _Reader(pickle.Unpickler):
    """Unpickles plain values and tensors; ``kinds`` has the kinds of storages met, by key."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    }

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.kinds: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Allow tensors and nothing else."""
        if module == "torch" and name.endswith("Storage"):
            return name
        if (module, name) not in self._KNOWN:
            raise OtherContentError(f"{module}.{name}")
        return self._KNOWN[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        """Kind and key of a tensor's bytes."""
        _, kind, key, *_ = pid
        self.kinds[key] = kind
        return kind, key
