"""Compressions that more than one format has."""

from __future__ import annotations


def from_zstd(packed: bytes) -> bytes:
    """Bytes that Zstandard packed."""
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(packed))
