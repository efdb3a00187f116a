"""Drivers of object stores: their options, and what they say, in one sentence.

Drivers differ in what they raise for faults that no run can put right: no permission, no network,
no such bucket. `asked` turns all that into a `RefusedError`. An object that is not there is no such
fault: where one may be missing, `FileNotFoundError` stays what it is.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from terapose.core.errors import InputError, pass_on

_NO_BUCKET = re.compile(
    r"(?i)no ?such ?bucket|bucket does not exist|container ?not ?found|container does not exist"
)
_UNKNOWN = "Protocol not known"
_ZONAL = "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"


class RefusedError(InputError):
    """A fault of a store as a whole, which no task can make good by running again."""


def object_store_options(address: str) -> dict[str, Any]:
    """Options of fsspec for an address; none for a path, or for what is no object store."""
    if address.startswith(("s3://", "s3a://")):
        # where an object may be read in several parts, its size is asked for first: two requests
        # for each chunk
        return {"max_concurrency": 1}
    return {}


def driver_of(address: str, **options: Any) -> tuple[Any, str]:
    """Find the file system of an address and the address on it.

    Parameters
    ----------
    address
        URL.
    **options
        Of the driver.

    Raises
    ------
    InputError
        If the kind of address is unknown, its driver is not installed, or it refuses to start.
    """
    from fsspec.core import url_to_fs

    _quieten()
    with asked(address):
        try:
            fs, path = url_to_fs(address, **options)
        except (ValueError, ImportError) as error:
            if isinstance(error, ValueError) and _UNKNOWN not in str(error):
                raise  # such as a driver without credentials
            raise InputError(
                "addresses of this type cannot be read",
                where=address,
                got=str(error),
                allowed="a local path, file://, s3://, gs://, http:// or https://",
                remedy="install the fsspec driver it names, or copy the image to a local disk",
            ) from error
    return fs, str(path)


def _quieten() -> None:
    """Before drivers are loaded: nothing is printed or asked for but what was called for.

    What they raise is said in one sentence, and what they write to their logs, tracebacks too, is
    the same. That of Google otherwise asks what kind of bucket there is: where it is not allowed
    to, before each object, with a warning.
    """
    os.environ.setdefault(_ZONAL, "false")
    for name in ("gcsfs", "google", "adlfs", "azure"):
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def asked(where: object, *, may_lack: bool = False) -> Iterator[None]:
    """Say in one sentence what a driver says.

    Parameters
    ----------
    where
        The address that it is about.
    may_lack
        Whether what is asked for may be missing: then `FileNotFoundError` is let through, but for
        a bucket that is missing.

    Raises
    ------
    RefusedError
        If the store refuses, cannot be reached, or has no such bucket.
    FileNotFoundError, FileExistsError
        As drivers raise them of an object.
    """
    try:
        yield
    except (InputError, FileExistsError):
        raise
    except FileNotFoundError as error:
        if may_lack and not _NO_BUCKET.search(f"{error} {error.__cause__!r}"):
            raise
        raise _no_bucket(where, error) from error
    except Exception as error:  # every driver has kinds of its own
        pass_on(error)
        if _NO_BUCKET.search(str(error)):
            raise _no_bucket(where, error) from error
        raise RefusedError(
            "the object store refuses, or cannot be reached",
            where=where,
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            remedy="check the address, the network and your permissions (docs/cloud.md)",
        ) from error


def _no_bucket(where: object, error: Exception) -> RefusedError:
    return RefusedError(
        "there is no such bucket, or it cannot be seen",
        where=where,
        got=str(error).partition("\n")[0],
        remedy="check the address and your permissions",
    )


def is_marker(key: str, size: int | None) -> bool:
    """Whether an object is only the marker of a folder, as consoles of S3 and Hadoop make them."""
    return key.endswith("/") and not size


class Driver:
    """The methods of a driver that a store needs; whatever it says is one sentence (`asked`).

    Parameters
    ----------
    address
        URL of the store.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        # other processes write to an object store: what a listing has said is soon wrong
        options = {"use_listings_cache": False} | object_store_options(address)
        self._fs, self.root = driver_of(address, **options)

    def cat_file(self, path: str) -> bytes:
        """Read an object; `FileNotFoundError` where there is none."""
        with asked(self._address, may_lack=True):
            return cast(bytes, self._fs.cat_file(path))

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write an object."""
        with asked(self._address):
            self._fs.pipe_file(path, data)

    def get(self, path: str, target: str) -> None:
        """Copy a folder to a local disk."""
        with asked(self._address):
            self._fs.get(path, target, recursive=True)

    def exists(self, path: str) -> bool:
        """Whether an object is there."""
        with asked(self._address, may_lack=True):
            return bool(self._fs.exists(path))

    def ls(self, path: str) -> list[str]:
        """Paths of what is in a folder; `FileNotFoundError` where there is none."""
        with asked(self._address, may_lack=True):
            found = map(str, self._fs.ls(path, detail=False))
        # a marker of the folder (`is_marker`) is listed as if it were in it
        return [one for one in found if one.rstrip("/") != path.rstrip("/")]

    def rm(self, path: str, *, recursive: bool = False) -> None:
        """Remove an object, or all in a folder; `FileNotFoundError` where there is nothing."""
        with asked(self._address, may_lack=True):
            # `rm` takes names for patterns, and looks first whether it is a folder
            self._fs.rm(path, recursive=True) if recursive else self._fs.rm_file(path)
