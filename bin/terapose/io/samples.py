"""The samples of one image: itself, or each time point in it (`time: all`).

Several images are gone through one by one; one that fails does not keep the others from their
results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.io.images.opening import open_image
from terapose.io.listing import Listing

_OF_TIME = re.compile(r"-t\d{3,}$")
Work = Callable[[str, str, Parameters], None]
"""Does one sample: its name (empty for the only one), its address, its parameters."""
Say = Callable[[str, Exception], None]
"""Called with the sample that failed, and why."""


class Sample(NamedTuple):
    """One image to segment.

    Attributes
    ----------
    suffix
        What distinguishes it from others of the image, "-t003"; empty where there are no others.
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


def one_image(params: Parameters, fault: str = "only one image can be segmented") -> Parameters:
    """Parameters of what works on a single image.

    Parameters
    ----------
    params
        All parameters.
    fault
        What to say otherwise.

    Raises
    ------
    InputError
        If all time points are meant: each is an image.
    """
    if params.time == "all":
        raise InputError(fault, where="time", got="all", allowed="a number")
    return params


def for_each(listing: Listing, given: Mapping[str, Any], work: Work, say: Say) -> None:
    """Do the work for each sample of a listing, whatever becomes of the others.

    Parameters
    ----------
    listing
        Images, and parameters of their own.
    given
        Parameters of all, as from a command line; those of a sample come before them.
    work
        Called for each sample.
    say
        Called for one of several that failed.

    Raises
    ------
    InputError
        For wrong parameters of any sample, or several of one name, before anything is done; and at
        the end, if some of several samples failed. An only sample fails as itself.
    """
    todo = [
        (name, address, check({**given, **own}, f"parameters of {name}" if own else "parameters"))
        for name, address, own in listing.samples
    ]
    if not listing.are_several:
        ((_, address, params),) = todo
        for suffix, own_params in samples_of(address, params):
            work(suffix.lstrip("-"), address, own_params)
        return
    _refuse_doubled({name: params.time == "all" for name, _, params in todo})
    failed = [name for one in todo for name in _failures(*one, work, say)]
    if failed:
        raise InputError(
            f"{len(failed)} of the samples failed, the others are finished",
            got=", ".join(failed),
            remedy="see the messages above; running again does not repeat finished work",
        )


def _refuse_doubled(samples: Mapping[str, bool]) -> None:
    """Refuse samples with names of time points of another one: their results are one folder.

    ``samples`` are their names, and whether each means all its time points. How many these are
    is not looked up.
    """
    doubled = [
        name
        for name, is_all in samples.items()
        if not is_all and samples.get(_OF_TIME.sub("", name), False)
    ]
    if doubled:
        raise InputError(
            "several samples have the same name",
            where="input",
            got=", ".join(doubled),
            remedy="with time all, NAME-t001 and so on are time points of NAME: give other names "
            "in a samplesheet",
        )


def _failures(name: str, address: str, params: Parameters, work: Work, say: Say) -> list[str]:
    """Do all samples of one image; names of those that failed."""
    failed = []
    try:
        samples = samples_of(address, params)
    except Exception as error:
        say(name, error)
        return [name]
    for suffix, own in samples:
        try:
            work(name + suffix, address, own)
        except Exception as error:
            say(name + suffix, error)
            failed.append(name + suffix)
    return failed
