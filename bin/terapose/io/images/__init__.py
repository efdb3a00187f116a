"""Opens images of every supported format without reading their pixels.

`open_image` is the only way in; what it returns reads any region of any channel as (Z, Y, X).
"""

from __future__ import annotations

from terapose.core.selection import Selection
from terapose.io.images.model import Image, check_channels, check_type
from terapose.io.images.opening import open_image

__all__ = ["Image", "Selection", "check_channels", "check_type", "open_image"]
