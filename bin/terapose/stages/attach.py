"""attach: the label images, copied into the image itself (``labels_in: image``).

It runs after the results are complete, leaves them unchanged, and makes no files of its own. What
it does in an image, and what readers of the image can rely on, is described in
`terapose.results.in_image.attaching`.
"""

from __future__ import annotations

from pathlib import Path

from terapose.results.in_image.attaching import attach


def look(results: Path, output: Path) -> None:
    """Copy the label images of results into the image that they are of."""
    attach(results)
