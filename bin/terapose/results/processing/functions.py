"""A function of labels: built in, or a Python file."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.near import did_you_mean
from terapose.io.documents import read_document

Labels = NDArray[Any]
Kind = Literal["ids", "names", "objects", "numbers"]
_RETURNS = ("names", "ids")
_EACH = ("block", "object")
_CALLS = ("process", "renumber")
_LARGEST = 2**64
"""Of whole numbers in options: all that readers of JSON and arrays know is smaller."""


@dataclass(frozen=True)
class Block:
    """Where the labels that a function gets are.

    Attributes
    ----------
    start, stop
        (Z, Y, X) of the first voxel, and of the first one after the last, in what is segmented: the
        image, or a region of it.
    shape
        (Z, Y, X) of what is segmented.
    voxel_size
        (z, y, x) in micrometres, or None.
    options
        Options of the function, by name.
    """

    start: ZYX
    stop: ZYX
    shape: ZYX
    voxel_size: tuple[float, float, float] | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Function:
    """A function and what it says about itself.

    Attributes
    ----------
    name
        Of the built-in function, or path of the file.
    kind
        What it gets and returns (see `terapose.results.processing`).
    call
        ``process(labels, image, block)``, or ``renumber(ids, sizes, options)``.
    halo
        (Z, Y, X) voxels.
    options
        With values of the type of their defaults.
    digest
        Of the source of a file.
    folder
        Working folder when a file was loaded.
    """

    name: str
    kind: Kind
    call: Callable[..., Any]
    halo: ZYX = (0, 0, 0)
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    digest: str = ""
    folder: str = ""

    def with_options(self, given: Mapping[str, str]) -> Function:
        """The function with other values of options, given as text.

        Raises
        ------
        InputError
            If it has no such option, or a value is of another type.
        """
        values = dict(self.options)
        for name, text in given.items():
            if name not in values:
                raise InputError(
                    f"the function has no option {name}",
                    where=self.name,
                    allowed=", ".join(values) or "none",
                    remedy=did_you_mean(name, values),
                )
            values[name] = _parsed(name, text, values[name])
        return replace(self, options=values)

    def process(self, labels: Labels, image: Labels | None, block: Block) -> Labels:
        """Call a function of blocks or objects; what it returns is checked.

        Raises
        ------
        InputError
            If it fails, or returns something else than labels of this shape.
        """
        shape = labels.shape
        found = self._called(labels, image, block)
        if found.shape != shape:
            raise self._wrong(f"an array of shape {found.shape}", f"the shape of labels, {shape}")
        if found.dtype.kind not in "biu" or (found.dtype.kind == "i" and found.min(initial=0) < 0):
            raise self._wrong(f"values of type {found.dtype}", "whole numbers from 0")
        return found

    def renumber(self, ids: Labels, sizes: Labels) -> Labels:
        """Call a function of numbers; what it returns is checked."""
        found = self._called(ids.copy(), sizes.copy(), dict(self.options))
        if found.shape != ids.shape or found.dtype.kind not in "iu" or found.min(initial=0) < 0:
            raise self._wrong(
                f"an array of shape {found.shape} and type {found.dtype}",
                "a whole number from 0 for each ID",
            )
        return found.astype(np.uint64)

    def _called(self, *arguments: Any) -> Labels:
        with _guarded(self.name, self.folder):
            found = self.call(*arguments)
            if not isinstance(found, np.ma.MaskedArray):
                return np.asarray(found)
        # what is below the mask would count
        raise self._wrong("an array with a mask", "an array without one (its method filled)")

    def _wrong(self, got: str, allowed: str) -> InputError:
        return InputError(
            "the function does not return what it should",
            where=self.name,
            got=got,
            allowed=allowed,
            remedy="correct the function",
        )

    def of(self, box: Box, shape: ZYX, voxel_size: tuple[float, float, float] | None) -> Block:
        """What the function gets to know of a box."""
        return Block(box.start, box.stop, shape, voxel_size, MappingProxyType(dict(self.options)))


def load(path: Path) -> Function:
    """Load the function in a Python file.

    Raises
    ------
    InputError
        If it cannot be read or run, or what it defines is wrong.
    """
    return made_of(str(path), read_document(path))


def made_of(path: str, source: bytes) -> Function:
    """The function in the text of a Python file; ``path`` is what to call that.

    Raises
    ------
    InputError
        If it cannot be run, or what it defines is wrong.
    """
    digest = hashlib.sha256(source).hexdigest()
    folder = _working_folder()
    defined = vars(_run(path, source, digest, folder))
    calls = [defined[name] for name in _CALLS if callable(defined.get(name))]
    if len(calls) != 1:
        raise InputError(
            "defines both functions" if calls else "defines no function",
            where=path,
            allowed="process(labels, image, block), or renumber(ids, sizes, options)",
        )
    options = defined.get("OPTIONS", {})
    if not isinstance(options, dict) or not all(map(_is_option, options.items())):
        raise InputError(
            "OPTIONS is wrong",
            where=path,
            got=_written(options),
            allowed="a dictionary of names with a number, a text, True or False for each",
        )
    return Function(
        name=path,
        kind=_kind(path, defined, is_process=callable(defined.get(_CALLS[0]))),
        call=cast(Callable[..., Any], calls[0]),
        halo=as_halo(defined.get("HALO", 0), f"{path}: HALO"),
        options=options,
        digest=digest,
        folder=folder,
    )


def _is_option(one: tuple[Any, Any]) -> bool:
    """Whether a name and a value can be written into a record, and be given as a text."""
    name, value = one
    if isinstance(value, int) and abs(value) > _LARGEST:
        return False
    return isinstance(name, str) and isinstance(value, (bool, int, float, str))


def as_halo(value: Any, where: str) -> ZYX:
    """A halo as three numbers; one counts for all axes.

    Raises
    ------
    InputError
        If it is something else.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * 3
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or not all(type(v) is int and v >= 0 for v in values):
        raise InputError(
            "is not a halo",
            where=where,
            got=_written(value),
            allowed="voxels from 0: one number, or Z, Y, X",
        )
    return zyx(values)


def _kind(path: str, defined: Mapping[str, Any], *, is_process: bool) -> Kind:
    if not is_process:
        return "numbers"
    returns, each = defined.get("RETURNS", "names"), defined.get("EACH", "block")
    for name, value, allowed in (("RETURNS", returns, _RETURNS), ("EACH", each, _EACH)):
        # of arrays, whether they are in a tuple is no question
        if not isinstance(value, str) or value not in allowed:
            raise InputError(
                f"{name} is wrong", where=path, got=_written(value), allowed=" or ".join(allowed)
            )
    if each == "object":
        return "objects"
    return "ids" if returns == "ids" else "names"


def _run(path: str, source: bytes, digest: str, folder: str) -> ModuleType:
    """The module that a file makes; no compiled copy of it is left beside the file."""
    module = ModuleType(f"terapose_function_{digest[:16]}")
    module.__file__ = path
    # dataclasses look for the module of their class there
    sys.modules[module.__name__] = module
    with _guarded(path, folder):
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module


@contextmanager
def _guarded(name: str, folder: str) -> Iterator[None]:
    """Run code of the user's: whatever it raises is one sentence.

    A process that it forks ends here, because there is one that goes on with the work. A working
    folder that it changes is changed back and refused: relative paths would lead elsewhere.
    """
    process = os.getpid()
    try:
        yield
    except (InputError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _failed(name, error) from error
    finally:
        if os.getpid() != process:
            os._exit(0)
        is_moved = bool(folder) and _working_folder() != folder
        if is_moved:
            os.chdir(folder)
    if is_moved:
        raise InputError(
            "the function changes the working folder",
            where=name,
            remedy="use absolute paths in it (os.path.abspath), and run again",
        )


def _working_folder() -> str:
    """The working folder; nothing if it has been removed."""
    with suppress(OSError):
        return os.getcwd()
    return ""


def _failed(name: str, error: BaseException) -> InputError:
    """What to say of an error in a function: also the last line that was reached in it."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == name), None)
    return InputError(
        "the function fails",
        where=name if line is None else f"{name}, line {line}",
        got=f"{type(error).__name__}: {_written(error, str)}",
        remedy="correct it, and run again",
    )


def _written(value: Any, write: Callable[[Any], str] = repr) -> str:
    """A value of the user's as text, if it has one: writing it is code of the user's, too."""
    try:
        return write(value)
    except Exception as error:
        return f"{type(value).__name__}, which cannot be shown ({type(error).__name__})"


def _parsed(name: str, text: str, default: Any) -> Any:
    """A value of the type of the default."""
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value = kind(text)
        if not _is_option((name, value)) or (kind is float and math.isnan(value)):
            raise ValueError(text)
        return value
    except (ValueError, KeyError) as error:
        raise InputError(
            "is of another type", where=name, got=text, allowed=f"a value like {default!r}"
        ) from error
