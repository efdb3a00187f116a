"""Local paths and URLs: what exists there, and what identifies its content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from terapose.core.errors import InputError, pass_on
from terapose.core.masking import masked
from terapose.io.documents import MOST_BYTES, refuse_large, refuse_special, too_large
from terapose.io.drivers import driver_of, object_store_options
from terapose.io.images.patterns import is_pattern, matches

__all__ = ["digest", "filesystem", "is_url", "join", "localise", "masked"]


def is_url(address: str) -> bool:
    """Whether the address names something on a server or object store."""
    return "://" in address


def localise(address: str) -> str:
    """Turn a file:// URL and a leading ~ into a plain path; other addresses stay as they are.

    Raises
    ------
    InputError
        If a file:// URL names another machine.
    """
    if address[:7].lower() == "file://":
        place = urlsplit(address)
        if place.netloc.lower() not in ("", "localhost"):
            raise InputError(
                "a file:// URL names a file of this machine, and no other",
                where=address,
                got=f"the host {place.netloc}",
                allowed="file:///PATH, with three slashes, or file://localhost/PATH",
            )
        return unquote(place.path)
    return address if is_url(address) else os.path.expanduser(address)


def join(address: str, *parts: str) -> str:
    """Put path parts after the path of an address; what signs a URL stays behind it."""
    place, query = signed(address)
    return "/".join([place.rstrip("/"), *(part.strip("/") for part in parts)]) + query


def signed(address: str) -> tuple[str, str]:
    """Split a URL of a web server into its place and what signs it, with the question mark."""
    place, mark, query = address.partition("?")
    if mark and address.startswith(("http://", "https://")):
        return place, mark + query
    return address, ""


def filesystem(address: str) -> tuple[Any, str]:
    """Find the file system of an address and the address on it.

    Credentials, regions and endpoints come from the environment, as fsspec reads them
    (AWS_PROFILE, AWS_ENDPOINT_URL, FSSPEC_S3_ANON, GOOGLE_APPLICATION_CREDENTIALS and others).

    Raises
    ------
    InputError
        If the kind of address is unknown or its driver is not installed.
    """
    if not is_url(address):
        from fsspec.implementations.local import LocalFileSystem

        # ``data:1`` and ``a::b`` are names of files, too
        return LocalFileSystem(), os.path.abspath(os.path.expanduser(address))
    return driver_of(address, **options_of(address))


def options_of(address: str) -> dict[str, Any]:
    """What fsspec needs to know to read no more of an address than it is asked for."""
    if not address.startswith(("http://", "https://")):
        return object_store_options(address)
    from terapose.io.images.web import client

    return {"get_client": client}


def read_bytes(address: str, start: int | None = None, end: int | None = None) -> bytes | None:
    """Read a small file or the start of one; None where it does not exist.

    Raises
    ------
    InputError
        If the server or the file system refuses, or a file is too large for a document.
    """
    fs, path = filesystem(address)
    if not is_url(address):
        refuse_special(path)
        if end is None:
            refuse_large(path)
    elif end is None and (start is None or start >= 0):
        start, end = start or 0, (start or 0) + MOST_BYTES + 1
    try:
        content = fs.cat_file(path, start=start, end=end)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except Exception as error:  # every driver has kinds of its own
        pass_on(error)
        raise refused(address, error) from error
    if len(content) > MOST_BYTES:
        raise too_large(address, len(content), MOST_BYTES)
    return bytes(content)


def refused(address: str, error: Exception) -> InputError:
    """The error for what a server or the file system says in place of an answer."""
    return InputError(
        "the address cannot be read",
        where=address,
        got=f"{type(error).__name__}: {error}",
        remedy="check the address, the network and your permissions",
    )


def remedy_of(address: str, damaged: str) -> str:
    """The remedy for what cannot be read, where it may not be the file that is at fault.

    Parameters
    ----------
    address
        A path or a URL.
    damaged
        The remedy if the file is damaged.
    """
    return f"check the network, and run again; or {damaged}" if is_url(address) else damaged


def local_only(what: str, address: str, files: str = "the file") -> InputError:
    """The error for a format that is not read from servers.

    Parameters
    ----------
    what
        The format.
    address
        A URL.
    files
        What has to be copied.
    """
    return InputError(
        f"{what} is read from a local disk only", where=address, remedy=f"copy {files} first"
    )


def digest(*parts: object) -> str:
    """Hex SHA-256 of a sequence of parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def refuse_inputs(outputs: Iterable[Path | None], inputs: Iterable[str]) -> None:
    """Refuse to write in the place of something that is read, inside it, or around it.

    Parameters
    ----------
    outputs
        What will be written, if it is asked for.
    inputs
        Addresses of what is read.

    Raises
    ------
    InputError
        If one of them would be.
    """
    read = {os.path.realpath(one): given for given in inputs for one in _files_of(given)}
    for output in filter(None, outputs):
        path = Path(os.path.realpath(output))
        for real, given in read.items():
            if path.is_relative_to(real) or Path(real).is_relative_to(path):
                raise InputError(
                    "the result would be in the place of an input, or inside it",
                    where=output,
                    got=given,
                    remedy="choose another name",
                )


def _files_of(address: str) -> list[str]:
    """Local paths that an address names: those of a pattern are many, those of a URL none."""
    place = localise(address)
    if is_url(place):
        return []
    return [one.path for one in matches(place)] if is_pattern(place) else [place]
