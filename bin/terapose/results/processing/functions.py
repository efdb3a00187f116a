"""A function of labels: built in, or a Python file."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from terapose.core.errors import InputError
from terapose.core.geometry import ZYX, Box, zyx
from terapose.core.near import did_you_mean

Labels = NDArray[Any]
Kind = Literal["ids", "names", "objects", "numbers"]
_RETURNS = ("names", "ids")
_EACH = ("block", "object")


@dataclass(frozen=True)
class Block:
    """Where the labels that a function gets are.

    Attributes
    ----------
    start, stop
        (Z, Y, X) of the first voxel, and of the first one after the last, in the whole image.
    shape
        (Z, Y, X) of the whole image.
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
    """

    name: str
    kind: Kind
    call: Callable[..., Any]
    halo: ZYX = (0, 0, 0)
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    digest: str = ""

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
        try:
            return np.asarray(self.call(*arguments))
        except (InputError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise _failed(self.name, error) from error

    def _wrong(self, got: str, allowed: str) -> InputError:
        return InputError(
            "the function returns something else than it should",
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
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(
            "cannot be read", where=path, got=error.strerror or error, remedy="check the path"
        ) from error
    return made_of(str(path), source)


def made_of(path: str, source: bytes) -> Function:
    """The function in the text of a Python file; ``path`` is what to call that.

    Raises
    ------
    InputError
        If it cannot be run, or what it defines is wrong.
    """
    module = _run(path, source)
    process, renumber = (getattr(module, name, None) for name in ("process", "renumber"))
    if callable(process) == callable(renumber):
        raise InputError(
            "defines no function, or both" if process is None else "defines both functions",
            where=path,
            allowed="process(labels, image, block), or renumber(ids, sizes, options)",
        )
    options = getattr(module, "OPTIONS", {})
    if not isinstance(options, dict) or not all(
        isinstance(name, str) and isinstance(value, (bool, int, float, str))
        for name, value in options.items()
    ):
        raise InputError(
            "OPTIONS is wrong",
            where=path,
            got=options,
            allowed="a dictionary of names with a number, a text, True or False for each",
        )
    return Function(
        name=path,
        kind=_kind(path, module, is_process=callable(process)),
        call=cast(Callable[..., Any], process if callable(process) else renumber),
        halo=as_halo(getattr(module, "HALO", 0), f"{path}: HALO"),
        options=options,
        digest=hashlib.sha256(source).hexdigest(),
    )


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
            "is not a halo", where=where, got=value, allowed="voxels from 0: one number, or Z, Y, X"
        )
    return zyx(values)


def _kind(path: str, module: ModuleType, *, is_process: bool) -> Kind:
    if not is_process:
        return "numbers"
    returns, each = getattr(module, "RETURNS", "names"), getattr(module, "EACH", "block")
    for name, value, allowed in (("RETURNS", returns, _RETURNS), ("EACH", each, _EACH)):
        if value not in allowed:
            raise InputError(
                f"{name} is wrong", where=path, got=repr(value), allowed=" or ".join(allowed)
            )
    if each == "object":
        return "objects"
    return "ids" if returns == "ids" else "names"


def _run(path: str, source: bytes) -> ModuleType:
    """The module that a file makes; no compiled copy of it is left beside the file."""
    module = ModuleType("terapose_function")
    module.__file__ = path
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise _failed(path, error) from error
    return module


def _failed(name: str, error: BaseException) -> InputError:
    """What to say of an error in a function: also the last line that was reached in it."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == name), None)
    return InputError(
        "the function fails",
        where=name if line is None else f"{name}, line {line}",
        got=f"{type(error).__name__}: {error}",
        remedy="correct it, and run again",
    )


def _parsed(name: str, text: str, default: Any) -> Any:
    """A value of the type of the default."""
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise InputError(
            "is of another type", where=name, got=text, allowed=f"a value like {default!r}"
        ) from error
