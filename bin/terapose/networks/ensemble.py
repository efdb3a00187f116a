"""Several networks as one: their outputs are averaged, as Cellpose's old ``net_avg`` did.

1. A model with commas names several networks, in the order in which their outputs are added.
2. They have to do the same work: one family, size of tiles, number of channels and diameter. Then
   all that comes before and after the network is the same as with one.
3. A folder that holds several has a numbered folder for each, because their files may have one
   name.

Imports no torch; what runs them is `terapose.networks.loading.load_all`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io.homes import expanded
from terapose.networks.files import ModelInfo, identify
from terapose.networks.weights import copy, resolve, weight_file

_ALIKE = {
    "family": "family",
    "tile": "edge of tiles",
    "channels": "number of channels",
    "diam_mean": "diameter",
}
"""What networks must have in common, by attribute."""


def named(model: str) -> list[str]:
    """Names, paths or URLs of the networks of a model.

    Raises
    ------
    InputError
        There is nothing between two commas.
    """
    if expanded(model).is_file():
        return [model]
    names = [name.strip() for name in model.split(",")]
    if not all(names):
        raise InputError(
            "a network has no name",
            where="model",
            got=model,
            allowed="a name, path or URL, or several with a comma between them",
        )
    return names


def resolve_all(model: str, *, digest: str = "", marks: str = "") -> list[Path]:
    """Find the weight files of a model, fetching them if need be.

    Parameters
    ----------
    model
        See `named` and `terapose.networks.weights.resolve`.
    digest
        SHA-256 of each file, in their order, with commas between them; "" for any.
    marks
        Likewise which file of each URL is meant (`terapose.networks.weights.mark_of`).

    Raises
    ------
    InputError
        A file cannot be found, or digests do not match the networks.
    """
    return _resolved(named(model), digest, marks)


def check_number(what: str, given: Sequence[str], names: Sequence[object], *, where: str) -> None:
    """Refuse what is not given once for each network.

    Raises
    ------
    InputError
        If it is not.
    """
    if len(given) != len(names):
        raise InputError(
            f"{what} do not match the networks",
            where=where,
            got=f"{len(given)} for {len(names)} networks",
            allowed="one for each network, in their order",
        )


def _resolved(names: Sequence[str | Path], digest: str, marks: str) -> list[Path]:
    digests = digest.split(",") if digest else [""] * len(names)
    check_number("digests", digests, names, where="model_digest")
    meant = dict(enumerate(marks.split(",")))
    return [
        resolve(name, digest=wanted or None, mark=meant.get(number))
        for number, (name, wanted) in enumerate(zip(names, digests, strict=True))
    ]


def identify_all(paths: Sequence[Path]) -> ModelInfo:
    """Find out what one network is, or several that are to be averaged.

    Of several the digest is that of their digests in order, and the licence names each one's.

    Raises
    ------
    InputError
        A file is no network, or networks do not do the same work.
    """
    infos = [identify(path) for path in paths]
    first = infos[0]
    if len(infos) == 1:
        return first
    for info in infos[1:]:
        odd = [name for name in _ALIKE if getattr(info, name) != getattr(first, name)]
        if odd:
            raise InputError(
                "networks that differ cannot be averaged",
                where=info.path,
                got=", ".join(f"{_ALIKE[name]} {getattr(info, name)}" for name in odd),
                allowed=", ".join(f"{_ALIKE[name]} {getattr(first, name)}" for name in odd)
                + f", as {first.path.name}",
            )
    digests = "\n".join(info.digest for info in infos)
    licences = dict.fromkeys(info.licence for info in infos)
    known = ", ".join(licence or "not stated" for licence in licences)
    return replace(
        first,
        digest=hashlib.sha256(digests.encode()).hexdigest(),
        size=sum(info.size for info in infos),
        licence=known if any(licences) else None,
        members=tuple(infos),
    )


def copy_all(paths: Sequence[Path], output: Path, *, overwrite: bool = False) -> list[Path]:
    """Copy weight files with their cards; several of them into numbered folders of a folder.

    Parameters
    ----------
    paths
        The files, in their order.
    output
        File or folder.
    overwrite
        As of `terapose.networks.weights.copy`.

    Raises
    ------
    InputError
        Several files are to become one, another file is in the place of a copy, or one cannot be
        written.
    """
    if len(paths) == 1:
        return [copy(paths[0], output, overwrite=overwrite)]
    if not output.is_dir():
        raise InputError(
            "several networks need a folder",
            where=output,
            remedy="end the name of a new folder with /",
        )
    copies = []
    for number, path in enumerate(paths, start=1):
        folder = output / str(number)
        folder.mkdir(exist_ok=True)
        copies.append(copy(path, folder, overwrite=overwrite))
    return copies


def weight_files(path: Path, *, digest: str = "") -> list[Path]:
    """Weight files, in their order, where a file, or the folder that `copy_all` filled, is given.

    Parameters
    ----------
    path
        File or folder.
    digest
        See `resolve_all`.

    Raises
    ------
    InputError
        A folder contains no weight file, or several, or digests do not match the files.
    """
    folders: list[Path] = []
    if path.is_dir():
        folders = [p for p in path.iterdir() if p.is_dir() and p.name.isdecimal()]
    files = [weight_file(p) for p in sorted(folders, key=lambda p: int(p.name)) or [path]]
    return _resolved(files, digest, "") if digest else files
