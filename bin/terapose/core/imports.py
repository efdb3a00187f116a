"""What a module of this package imports of it, as its source says: nothing is run."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(
    r"^ *(?:from (terapose[\w.]*) import (?:\(([^)]*)\)|([^\n]*))|import (terapose\.[\w.]+))", re.M
)
_NAME = re.compile(r"(?<!as )\b[A-Za-z_]\w*")


def path_of(module: str, root: Path) -> Path:
    """Where a module would be, or a package.

    Parameters
    ----------
    module
        Such as ``stages.follow``.
    root
        Folder of the package that it is in.
    """
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(source: str, root: Path) -> frozenset[str]:
    """Modules that a source imports, in functions as well, and the packages that they are in.

    Parameters
    ----------
    source
        Of a module.
    root
        Folder of the package.
    """
    found = set[str]()
    for package, together, names, whole in _IMPORT.findall(source):
        named = _NAME.findall(together or names)
        found |= {whole} if whole else {f"{package}.{name}" for name in named} | {package}
    parents = {
        ".".join(parts[1:n])
        for parts in (name.split(".") for name in found)
        for n in range(2, len(parts) + 1)
    }
    return frozenset(name for name in parents if path_of(name, root).is_file())
