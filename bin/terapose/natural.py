"""Names in the order in which people number them: image 2 before image 10."""

from __future__ import annotations

import re

Key = tuple[list[int | str], str]


def natural_key(name: str) -> Key:
    """Sort key of a name: the numbers in it by their value; of equal ones the name as it is."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], name
