"""The samples that one image stands for: itself, or each of its time points (`time: all`)."""

from __future__ import annotations

from typing import NamedTuple

from terapose.image import open_image
from terapose.params import Parameters


class Sample(NamedTuple):
    """One image to segment.

    Attributes
    ----------
    suffix
        What tells it from others of the same image, "-t003"; empty where there are no others.
    params
        All parameters, with its own time point.
    """

    suffix: str
    params: Parameters


def samples_of(address: str, params: Parameters) -> list[Sample]:
    """Find the samples of an image.

    Parameters
    ----------
    address
        Path or URL.
    params
        All parameters; with ``time`` ``all`` the image is opened to count its time points.

    Raises
    ------
    InputError
        If the image cannot be opened.
    """
    if params.time != "all":
        return [Sample("", params)]
    first = {**params.selection.options, "time": 1}
    times = open_image(address, **first).times
    digits = max(3, len(str(times)))
    return [
        Sample(f"-t{time:0{digits}}", params.model_copy(update={"time": time}))
        for time in range(1, times + 1)
    ]
