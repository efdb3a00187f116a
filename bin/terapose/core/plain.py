"""Names in plain letters, for files and tasks that are called after an address."""

from __future__ import annotations

import re


def plain_name(address: str) -> str:
    """The last part of a path or URL, with ``_`` for all but letters, digits, ``.`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", address.rstrip("/").rpartition("/")[2])
