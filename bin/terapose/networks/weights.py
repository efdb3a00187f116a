"""From what a person calls a model to a weight file on this machine; imports no torch.

1. The name of a network that comes with Terapose (``nuclei-large``, ``nuclei-small``), or ``auto``
   for the first of them.
2. A URL: fetched into a cache, in one piece, and checked against its digest. Without a digest, the
   server is asked for the file's size, and its entity tag or time (`mark_of`): another network
   under the same address must not be taken for one that was fetched before. Each has a file of its
   own in the cache, which never changes: other runs may be reading it. If the server cannot be
   asked, the newest one is used, with a warning. Not noticed is another file of the same size on a
   server that gives neither tag nor time.
3. A path.
4. The name of a model that Cellpose has fetched before (``cpsam``, ``cyto3``).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from pathlib import Path
from typing import IO

import fsspec

from terapose.core.errors import InputError, pass_on, shown
from terapose.core.near import did_you_mean
from terapose.core.plain import plain_name
from terapose.io import files
from terapose.io.homes import expanded
from terapose.io.images.identity import state_of
from terapose.io.shipped import SHIPPED, shipped_file

log = logging.getLogger(__name__)

_CELLPOSE_NAMES = {"cyto": "cytotorch_0", "cyto2": "cyto2torch_0", "nuclei": "nucleitorch_0"}
"""Files of Cellpose 1 to 3 that have another name than their model."""
_MARK = 8
_IS_MARK = re.compile(f"[0-9a-f]{{{_MARK}}}")
"""What distinguishes the files under one URL: so many signs."""
_ENDS = (".pth", ".pt")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def resolve(
    model: str | Path,
    *,
    digest: str | None = None,
    mark: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Find a model's weight file, fetching it if it has to be.

    Parameters
    ----------
    model
        ``auto`` or the name of a network that comes with Terapose, a path, a URL (any that fsspec
        reads: https, s3, ...), or the name of a model in Cellpose's own folder. A URL may end in
        ``#sha256=...``.
    digest
        Expected SHA-256 of the file, hexadecimal; a file that has another is refused.
    mark
        Which file of a URL without a digest is meant (`mark_of`); default: the one there is now.
    cache
        Folder for fetched files; default ``$TERAPOSE_CACHE``, else ``~/.cache/terapose``.

    Returns
    -------
    path
        An existing local file.

    Raises
    ------
    InputError
        There is no such model, it cannot be fetched, or its digest is another one.
    """
    name = str(model)
    if _URL.match(name):
        url, _, given = name.partition("#sha256=")
        return _fetched(url, (digest or given).lower(), mark or "", cache or _cache())
    path = shipped(name) if name in (*SHIPPED, "auto") else expanded(name)
    if not path.is_file():
        path = _cellpose_folder() / _CELLPOSE_NAMES.get(name, name)
    if not path.is_file():
        raise InputError(
            "no such model",
            where=name,
            allowed=f"{', '.join(SHIPPED)}, the path or URL of a weight file, or a file in "
            f"{_cellpose_folder()}",
            remedy=did_you_mean(name, _known_names()),
        )
    if digest is not None:
        _check(path, digest, name)
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped(name: str = "auto") -> Path:
    """Shipped weights: beside bin/ in the repository, in the package when installed."""
    return shipped_file(f"{SHIPPED[0] if name == 'auto' else name}.pth")


def _cache() -> Path:
    return Path(os.environ.get("TERAPOSE_CACHE") or expanded("~/.cache/terapose"))


def _cellpose_folder() -> Path:
    return Path(os.environ.get("CELLPOSE_LOCAL_MODELS_PATH") or expanded("~/.cellpose/models"))


def _known_names() -> list[str]:
    """Names of the networks that are available here."""
    folder = _cellpose_folder()
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [*SHIPPED, *there, *(name for name, file in _CELLPOSE_NAMES.items() if file in there)]


def _fetched(url: str, digest: str, mark: str, cache: Path) -> Path:
    """The cached file of a URL, fetched now if it is not there.

    The file's own name comes last, so that what is in the cache can be recognised; the hash of the
    address before it keeps equal names of different places apart.
    """
    start, there = _in_cache(url, cache)
    # what signs an address is no part of the name
    base = plain_name(re.split("[?#]", url)[0]) or "model"
    which = digest[:_MARK] or mark or _mark_now(url)
    target = cache / (f"{start}{which}-{base}" if which else f"{start}{base}")
    if digest:
        there = [path for path in there if sha256(path) == digest]
    elif which:
        there = [path for path in there if path == target]
    elif there:
        log.warning(
            "%s: the server cannot be asked whether the file has changed; the one that was fetched "
            "before is used",
            shown(url),
        )
    if there:
        return there[-1]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with files.written(target, "weights") as partial:
            with partial.open("wb") as sink:
                _download(url, sink, target)
            if digest:
                _check(partial, digest, url)
            elif which and _mark_now(url) != which:
                raise InputError(
                    "the file of the network has changed, or the server can no longer be asked",
                    where=url,
                    remedy="run again",
                )
    except OSError as error:
        raise InputError(
            "the model cache cannot be written",
            where=cache,
            got=error.strerror,
            remedy="set TERAPOSE_CACHE to a writable folder",
        ) from error
    return target


def _in_cache(url: str, cache: Path) -> tuple[str, list[Path]]:
    """How the names of a URL's files in the cache begin, and those there are, the newest last."""
    start = f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-"
    there = [path for path in cache.glob(f"{start}*") if path.is_file()]
    return start, sorted(there, key=lambda path: path.stat().st_mtime_ns)


def mark_of(name: str, digest: str = "", cache: Path | None = None) -> str:
    """Which file a URL leads to, without fetching it.

    Parameters
    ----------
    name
        As for `resolve`.
    digest
        Expected SHA-256, or nothing.
    cache
        As for `resolve`.

    Returns
    -------
    str
        Of what the server says; of the newest file that was fetched if it cannot be asked. Empty
        if there is none, and of what a digest identifies or is no URL.
    """
    if not _URL.match(name) or digest or "#sha256=" in name:
        return ""
    _, there = _in_cache(name, cache or _cache())
    parts = there[-1].name.split("-") if there else []
    return _mark_now(name) or (parts[1] if len(parts) > 2 and _IS_MARK.fullmatch(parts[1]) else "")


def _mark_now(url: str) -> str:
    """What a server says of a file, in short; empty if it cannot be asked, or says nothing."""
    try:
        state = state_of(url)
    except InputError:
        return ""
    return hashlib.sha256(repr(state).encode()).hexdigest()[:_MARK] if any(state) else ""


def _download(url: str, sink: IO[bytes], target: Path) -> None:
    try:
        with fsspec.open(url, "rb") as source:
            shutil.copyfileobj(source, sink, 1 << 20)
    except Exception as error:  # each kind of storage raises its own errors
        pass_on(error)
        raise InputError(
            "the model cannot be fetched",
            where=url,
            got=f"{type(error).__name__}: {error}",
            remedy=f"on a machine with access run 'terapose fetch {url} --output FILE' and give "
            f"FILE as the model, or put the file at {target}",
        ) from error


def _check(path: Path, digest: str, origin: str) -> None:
    found = sha256(path)
    if found != digest.lower():
        raise InputError(
            "the file does not match its digest",
            where=origin,
            got=f"sha256 {found}",
            allowed=f"sha256 {digest}",
            remedy="correct the digest, or find out why the file has changed",
        )


def beside(weights: Path, end: str) -> Path:
    """A file that belongs to weights, and is beside them: cells.md is the card of cells.pth.

    Of other names than those that end as weights do, nothing is taken away: cells.fold1 and
    cells.fold2 are two networks.

    Parameters
    ----------
    weights
        File of the weights.
    end
        Of the name of the other file.
    """
    is_end = weights.suffix.lower() in _ENDS
    return weights.with_name(f"{weights.stem if is_end else weights.name}{end}")


def weight_file(path: Path) -> Path:
    """The weight file itself, also where the folder that `copy` put it into is given.

    Raises
    ------
    InputError
        A folder contains no weight file, or several.
    """
    if not path.is_dir():
        return path
    found = [p for p in sorted(path.iterdir()) if p.suffix != ".md" and not p.name.startswith(".")]
    if len(found) != 1:
        raise InputError(
            "contains no weight file, or several",
            where=path,
            got=", ".join(p.name for p in found) or "nothing",
            remedy="give the file itself",
        )
    return found[0]


def copy(path: Path, output: Path, *, overwrite: bool = False) -> Path:
    """Copy a weight file, each file in one piece, and its model card if it has one.

    Parameters
    ----------
    path
        The file.
    output
        Name of the copy. A folder keeps the file's name, which can say what its weights do not (see
        `terapose.networks.files`).
    overwrite
        Whether a file with another content is replaced.

    Returns
    -------
    path
        The copy.

    Raises
    ------
    InputError
        Another file is in the place of the copy, or it cannot be written.
    """
    target = output / path.name if output.is_dir() else output
    pairs = [(path, target), (beside(path, ".md"), beside(target, ".md"))]
    pairs = [(source, place) for source, place in pairs if place == target or source.is_file()]
    # both, before one of them is written
    for source, place in pairs:
        is_same = place.is_file() and sha256(place) == sha256(source)
        files.refuse_present(place, overwrite=overwrite or is_same)
    for source, place in pairs:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.written(place, "weights") as partial:
                shutil.copyfile(source, partial)
        except OSError as error:
            raise InputError("cannot be written", where=place, got=error.strerror) from error
    return target
