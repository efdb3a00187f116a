"""Filters of HDF5 datasets: what chunks are compressed with, and whether it can be decoded."""

from __future__ import annotations

import importlib
from typing import Any

from terapose.core.errors import InputError

SHUFFLE, CHECKSUM, NBIT, SCALE = 2, 3, 5, 6
"""Numbers of the filters of HDF5 that do not compress, or only by leaving out bits."""
_REORDER = (SHUFFLE, CHECKSUM, NBIT, SCALE)
_FILTERS = {
    1: "deflate",
    4: "szip",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}


def filters_of(dataset: Any) -> list[int]:
    """Numbers of the filters that compress."""
    return [code for code in pipeline(dataset) if code not in _REORDER]


def pipeline(dataset: Any) -> list[int]:
    """Numbers of all filters, in the order in which they are applied to write."""
    settings = dataset.id.get_create_plist()
    return [settings.get_filter(n)[0] for n in range(settings.get_nfilters())]


def check_filters(address: str, dataset: Any) -> None:
    """Refuse a dataset whose chunks nothing here can decode.

    Raises
    ------
    InputError
        If a filter is not installed, or chunks are compressed twice: a few bytes may become
        anything then.
    """
    if len(filters_of(dataset)) > 1:
        raise InputError(
            "is compressed more than once",
            where=address,
            got=f"HDF5 filters {filters_of(dataset)}",
            remedy="write the file again with gzip (h5repack -f GZIP=4)",
        )
    settings = dataset.id.get_create_plist()
    for number in range(settings.get_nfilters()):
        code, _, _, name = settings.get_filter(number)
        if not _is_installed(code):
            known = _FILTERS.get(code) or name.decode(errors="replace") or "unknown"
            raise InputError(
                "is compressed with a filter that is not installed",
                where=address,
                got=f"{known} (HDF5 filter {code})",
                remedy="install it (pip install hdf5plugin), or write the file again with gzip "
                "(h5repack -f GZIP=4)",
            )


def _is_installed(code: int) -> bool:
    from h5py import h5z

    if h5z.filter_avail(code):
        return True
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return bool(h5z.filter_avail(code))
