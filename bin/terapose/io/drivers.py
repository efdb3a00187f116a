"""Options of the drivers of object stores."""

from __future__ import annotations

from typing import Any


def object_store_options(address: str) -> dict[str, Any]:
    """Options of fsspec for an address; none for a path, or for what is no object store."""
    if address.startswith(("s3://", "s3a://")):
        # where an object may be read in several parts, its size is asked for first: two requests
        # for each chunk
        return {"max_concurrency": 1}
    return {}
