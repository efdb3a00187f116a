"""The code that a stage runs: results of other code must not meet, those of the same code may.

A stage is identified by the source of its module and of everything that imports, directly or not,
in this package: a mended report leaves what the network has done, a mended kernel does not. Found
are the imports that stand in the source, in functions as well. Left out are modules that say
nothing of what comes out: where a stage's own parameters decide, these are part of its key.

What is imported by name at run time is not seen. There is one such place, `terapose.pipeline.job`,
where a stage's own module is looked up.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# parsing the source would take each task half a second
_IMPORT = re.compile(
    r"^[ \t]*(?:from (terapose[\w.]*) import (\([^)]*\)|[^\n]*)|import (terapose\.[\w.]+))", re.M
)
_NAME = re.compile(r"(?<!as )\b[A-Za-z_]\w*")
_SILENT = frozenset(
    {
        *("core.errors", "core.masking", "core.version"),
        *("pipeline.code", "pipeline.estimate", "pipeline.graph", "pipeline.stage"),
        "pipeline.state",
    }
)
"""Modules that decide nothing of what a stage computes."""


@cache
def package_digest() -> str:
    """SHA-256 of all of the package's source, as results tell it."""
    paths = (path.relative_to(_ROOT).with_suffix("") for path in _ROOT.rglob("*.py"))
    return _digest(frozenset(".".join(path.parts).removesuffix(".__init__") for path in paths))


@cache
def code_of(*modules: str) -> str:
    """SHA-256 of modules, such as ``stages.follow``, and of what they import of this package."""
    return _digest(modules_of(*modules))


def modules_of(*modules: str) -> frozenset[str]:
    """Names of the modules whose source `code_of` is made of."""
    seen, waiting = set[str](), list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in _SILENT:
            seen.add(name)
            waiting += _imports(name)
    return frozenset(seen)


def _digest(modules: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(name.encode() + b"\0" + _path_of(name).read_bytes())
    return digest.hexdigest()


def _path_of(module: str) -> Path:
    """Where a module is, or a package."""
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules of this package that stand in a module's imports, and the packages they are in."""
    source = _path_of(module).read_text(encoding="utf-8")
    found = set[str]()
    for package, names, whole in _IMPORT.findall(source):
        found |= {whole} if whole else {f"{package}.{n}" for n in _NAME.findall(names)} | {package}
    parents = {
        ".".join(parts[1:n])
        for parts in (name.split(".") for name in found)
        for n in range(2, len(parts) + 1)
    }
    return frozenset(name for name in parents if _path_of(name).is_file())
