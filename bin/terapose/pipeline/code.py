"""The code that a stage runs: results of different code are never combined.

A stage is identified by its module and everything in this package that the module imports, directly
or not: a change to a report keeps the network's output, a change to a kernel does not. The imports
that are in the source are found, in functions as well. Only what a module does counts
(`terapose.pipeline.normal_form`), so a comment, a docstring or the text of an error may be changed
at any time. Modules that do not affect results are left out: what the parameters are is part of
keys and plans. The readers of image formats, which `terapose.io.images.opening` chooses, are left
out too: a plan names the reader that it needs (`reader_of`), so a mended reader of another format
changes nothing.

What is imported by name at run time alone is not seen, so a stage that looks others' modules up
(`Stage.implementation`) names them (`Stage.includes`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from terapose.core.errors import InputError
from terapose.core.imports import imported, path_of
from terapose.pipeline.normal_form import normal_form

_ROOT = Path(__file__).parents[1]
_SILENT = frozenset(
    {
        *("core.amounts", "core.errors", "core.masking", "core.param_faults", "core.param_types"),
        *("core.params", "core.version", "io.images.opening"),
        *("pipeline.code", "pipeline.estimate", "pipeline.graph", "pipeline.normal_form"),
        *("pipeline.peak", "pipeline.stage", "pipeline.state"),
    }
)
"""Modules that decide nothing of what a stage computes."""


@cache
def package_digest(copy: Path | None = None) -> str:
    """SHA-256 of all source of the package, or of a copy of it, as it is written."""
    root, digest = copy or _ROOT, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def check_same(copy: Path) -> None:
    """Refuse a copy of the package that differs from this one, if it can be seen from here."""
    if copy.is_dir() and package_digest(copy) != package_digest():
        raise InputError(
            "this image was made from another version of Terapose than the workflow",
            where="container",
            remedy="build it again from the folder of the workflow (docs/hpc.md)",
        )


@cache
def code_of(*modules: str) -> str:
    """SHA-256 of modules, such as ``stages.follow``, and of what they import of this package."""
    digest = hashlib.sha256()
    for name in sorted(modules_of(*modules)):
        digest.update(f"{name} {_read(name).digest}\n".encode())
    return digest.hexdigest()


def modules_of(*modules: str) -> frozenset[str]:
    """Names of the modules that `code_of` is made of."""
    seen, waiting = set[str](), list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in _SILENT:
            seen.add(name)
            waiting += _read(name).imports
    return frozenset(seen)


class _Module(NamedTuple):
    """A module of this package: the SHA-256 of what it does, and what it imports of this package.

    Imported are also the packages that the modules are in.
    """

    digest: str
    imports: frozenset[str]


@cache
def _read(module: str) -> _Module:
    form = normal_form(path_of(module, _ROOT).read_text(encoding="utf-8"))
    return _Module(hashlib.sha256(form.encode()).hexdigest(), imported(form, _ROOT))
