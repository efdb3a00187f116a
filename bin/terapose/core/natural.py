"""Names in the order in which people number them: image 2 before image 10.

`modules/paths.nf` has the same order for the workflow.
"""

from __future__ import annotations

import re

_DIGITS = 20


def natural_key(name: str) -> tuple[str, str]:
    """Sort key of a name: the numbers in it by their value; of equal ones the name as it is."""
    return re.sub(r"\d+", lambda number: number[0].zfill(_DIGITS), name), name
