"""Opens images of every supported format without reading their pixels.

`open_image` is the only way in; what it returns reads any region of any channel as (Z, Y, X).
"""

from __future__ import annotations

from terapose.image.describe import describe
from terapose.image.model import Image, check_channels, check_type
from terapose.image.opening import open_image
from terapose.selection import Selection

__all__ = ["Image", "Selection", "check_channels", "check_type", "describe", "open_image"]
