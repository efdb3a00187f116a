"""check: find everything that can be wrong with a run, before anything is computed.

It runs first, and every time: it costs seconds, so that nothing is found out after hours. It checks
all parameters together, opens the image, looks at the network's file and at the folder for the
results. What it prints is the line from which the workflow starts a sample: the identity of the
image and of the network (a changed file must not meet cached tasks), and for each stage its
parameters as words of a command line, and the plan (`terapose.pipeline.handover`). The plan
contains the address of the image, and perhaps others (of a mask, a table of markers), so it is
passed to a task on its standard input: Nextflow shows scripts.
"""

from __future__ import annotations

import math
import os
import resource
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from terapose.core.amounts import in_bytes
from terapose.core.errors import InputError, shown
from terapose.core.masking import has_credentials, masked
from terapose.core.param_types import refuse_odd_name
from terapose.core.params import Parameters
from terapose.core.plain import plain_name
from terapose.io.images.channels import channel_numbers
from terapose.io.images.describe import describe
from terapose.io.images.model import Image
from terapose.io.listing import FILES
from terapose.io.remote import Remote
from terapose.io.samples import samples_of
from terapose.pipeline.arguments import arguments
from terapose.pipeline.around import PLACING, asked
from terapose.pipeline.checked import mode_of, open_checked, without_use
from terapose.pipeline.constant import refuse_constant
from terapose.pipeline.graph import AFTER, BEFORE, GATHERED, GRAPH, OF_GATHERS, commands
from terapose.pipeline.handover import Draft, Handed, identities
from terapose.pipeline.needs import memory_given
from terapose.pipeline.plan import key_of
from terapose.pipeline.planning import check_channels_of, make_plan
from terapose.pipeline.sized import is_sought
from terapose.pipeline.tissue import share_of
from terapose.pipeline.upscale import full_image
from terapose.results.destination import check_output
from terapose.results.earlier import stale
from terapose.results.in_image.attaching import check_image
from terapose.results.outputs import result_names
from terapose.results.processing.chosen import packed
from terapose.results.report.own import crate_in, refuse_others, reports_in
from terapose.results.thumbnails.files import MOST_BYTES

if TYPE_CHECKING:
    from terapose.networks.files import ModelInfo
    from terapose.pipeline.plan import Plan


_OPEN, _OF_PROCESS = 64, 2
"""Files open at once: of a process, and for each process of a pool in the one that started it."""


def check_open_files(workers: int = 1) -> None:
    """Refuse a limit of open files that is too low for a run, which would fail late otherwise.

    Parameters
    ----------
    workers
        Processes.

    Raises
    ------
    InputError
        If the limit (``ulimit -n``) is below what a run of so many processes may need.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OPEN + _OF_PROCESS * workers
    if most != resource.RLIM_INFINITY and most < needed:
        raise InputError(
            "too few files may be open at once",
            got=f"a limit of {most}",
            allowed=f"{needed} or more",
            remedy=f"raise the limit (ulimit -n {max(1024, needed)}), and run again",
        )


def check_readable(
    image: Image, params: Parameters, full: Image | None = None, *, has_network: bool = True
) -> None:
    """Decode a little of each channel: what cannot be read should not be found out after hours.

    Of an image with a file for each plane all files are opened. A small image is read until two
    voxels differ (`terapose.pipeline.constant`); of a region it is the whole image that counts, as
    intensities do.

    Parameters
    ----------
    image
        The image.
    params
        All parameters.
    full
        Where the results are brought to, if that is known (`full_image`).
    has_network
        Whether a network sees the image: only then what it has to have matters.

    Raises
    ------
    InputError
        If it cannot be decoded, or a channel of a small image that a network sees is constant.
    """
    numbers, _ = channel_numbers(image, params.channels, params.markers)
    if image.check_files is not None:
        image.check_files()
    for level in (image, full or full_image(image, params)) if params.upscale else (image,):
        for channel in numbers:
            level.read((slice(0, 1),) * 3, channel)
    if has_network:
        refuse_constant(image.whole, numbers)


def check_thumbnails(image: Image, params: Parameters) -> None:
    """Refuse thumbnails that are too large to be written; they are cut out at the end of a run.

    Parameters
    ----------
    image
        What they are cut out of: the image, or where the results are brought to (`full_image`).
    params
        All parameters.

    Raises
    ------
    InputError
        If one thumbnail, of all channels, takes more than `MOST_BYTES`.
    """
    if not params.thumbnails:
        return
    axes = 3 if image.shape[0] > 1 else 2
    voxel = image.channels * image.dtype.itemsize
    if voxel * params.thumbnails**axes > MOST_BYTES:
        raise InputError(
            "one thumbnail would be too large",
            where="thumbnails",
            got=f"{params.thumbnails} pixels along {axes} axes, {image.channels} channels",
            allowed=f"up to {int((MOST_BYTES / voxel) ** (1 / axes))}",
            remedy="give fewer pixels, or 0: wide enough for the largest cell",
        )


def exposed(address: str, params: Parameters) -> list[str]:
    """What to say of credentials in addresses that a run was given: they work, but are kept."""
    given = {
        "the image": address,
        **{name: getattr(params, name) for name in FILES},
    }
    names = [name for name, value in given.items() if has_credentials(str(value or ""))]
    if not names:
        return []
    return [
        f"credentials in the address of {', '.join(names)}: plans and work folders contain them "
        "unmasked; pass credentials in environment variables instead (docs/formats.md)"
    ]


def check_room(folder: Path, voxels: int) -> None:
    """Refuse a disk that cannot hold the labels (at most 4 bytes a voxel; mostly far less).

    Raises
    ------
    InputError
        If not even a hundredth of that is free.
    """
    free = shutil.disk_usage(folder).free
    needed = max(10**6, voxels * 4 // 100)
    if free < needed:
        raise InputError(
            "not enough space for the results",
            where=folder,
            got=f"{in_bytes(free)} free",
            allowed=f"{in_bytes(needed)} or more",
            remedy="choose a folder on a larger disk",
        )


class _Network(NamedTuple):
    """What identifies a network's file, and what it is; None: not fetched yet.

    Of URLs also which of their files are meant.
    """

    identity: str
    info: ModelInfo | None
    marks: str = ""


def _find_network(params: Parameters) -> _Network:
    """Look at the network's file.

    A URL is downloaded only once, later: then it is **plan** that checks the file.
    """
    from terapose.networks.ensemble import identify_all, named, resolve_all
    from terapose.networks.weights import mark_of, resolve, sha256

    names = named(params.model)
    if any("://" in name for name in names):
        marks = [mark_of(name, params.model_digest) for name in names]
        known = [name if "://" in name else sha256(resolve(name)) for name in names]
        identity = ",".join((*known, *marks, params.model_digest))
        return _Network(identity, None, ",".join(marks) if any(marks) else "")
    info = identify_all(resolve_all(params.model, digest=params.model_digest))
    return _Network(info.digest, info)


def _fetch_options(params: Parameters, network: _Network) -> list[str]:
    given = {"--digest": params.model_digest, "--mark": network.marks}
    return [word for name, value in given.items() if value for word in (name, value)]


class Checked(NamedTuple):
    """What is known of the samples of one image.

    Attributes
    ----------
    lines
        Tab-separated, with a header: the lines that start the samples in the workflow.
    said
        What was understood of each, for a person.
    """

    lines: str
    said: str


def run(
    sample: str,
    address: str,
    params: Parameters,
    output: Path | Remote | None,
    *,
    second: bool = False,
) -> Checked:
    """Check one sample, or each time point of it.

    With ``second`` the lines are those that start the run of the second network.

    Raises
    ------
    InputError
        For the first thing that is wrong; faults of parameters are named all at once.
    """
    check_open_files()
    for what, text in (("sample", sample), ("image", address)):
        refuse_odd_name(text, what)
    params = packed(params)
    rows, said = [], []
    network = None
    for suffix, own in samples_of(address, params.second if second else params):
        folder = _folder(output, suffix)
        image = open_checked(address, own)
        # time points are of one shape and have one network: its file may be large
        network = network or _find_network(own)
        row, about = _check_one(address, image, network, own, folder)
        rows.append({"sample": sample + suffix, "source": sample, **row})
        said += [f"sample    {sample + suffix}", *about]
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    return Checked("\n".join(lines) + "\n", "\n".join(said))


def _folder(output: Path | Remote | None, suffix: str) -> Path | Remote | None:
    """The folder of a time point, beside which are those of others."""
    if isinstance(output, Remote):
        return Remote(output.address + suffix)
    return Path(os.path.abspath(output) + suffix) if output is not None else None


def _words(params: Parameters) -> dict[str, str]:
    """What processes say to each stage; its code is among it: edited code is run again."""
    words = {}
    for name, stage in commands().items():
        if stage.phase == "plan":
            continue
        code = f"--code {stage.code}"
        taken = stage.parameters + PLACING * (stage.phase == "before")
        words[name] = " ".join([*filter(None, [arguments(params, taken)]), code])
        if stage.over and stage.name not in GATHERED:
            own = [name for name in OF_GATHERS if name in stage.parameters]
            words[f"gather-{name}"] = " ".join([*filter(None, [arguments(params, own)]), code])
    # commands of people are not told what their code has to be
    return words | {stage.name: stage.code for stage in AFTER if stage.calls}


def _check_one(
    address: str, image: Image, network: _Network, params: Parameters, output: Path | Remote | None
) -> tuple[dict[str, str], list[str]]:
    """The line of one sample, and what was understood of the image."""
    mode, plan = mode_of(image, params), None
    if network.info is not None:
        check_channels_of(network.info, params)
        if not asked(BEFORE, mode, params) and not is_sought(network.info, params):
            plan = make_plan(image, network.info, params)
    # the voxels of the results
    result = full_image(image, params) if params.upscale else image
    check_readable(image, params, result)
    check_thumbnails(result, params)
    check_image(image, params)
    names = result_names(params)
    if output is not None:
        check_output(output, address, names, (params.tissue, params.markers))
        if params.report:
            refuse_others(output)
        if isinstance(output, Path):
            check_room(output, math.prod(result.shape))
    # the numbers that names stand for: another table of markers is another run
    channels = channel_numbers(image, params.channels, params.markers)
    seen = identities(image, params)
    # the networks' files are fetched by then: their addresses are but names
    shown_as = {name: masked(getattr(params, name)) for name in ("model", "cell_model")}
    told = params.model_copy(update=shown_as)
    fetch = shlex.join([params.model, *_fetch_options(params, network)])
    row = {
        "address": address,
        "identity": key_of(*seen, network.identity, channels),
        # of a task: not the address, and short
        "network": f"{plain_name(told.model)[:40]}-{key_of(network.identity, fetch)[:8]}",
        "fetch": fetch,
        # not of the plan: another limit may leave it as it is
        "max_memory": repr(params.max_memory),
        # of later stages, whose parameters the plan's tables of tasks do not know
        "memory": _projected(plan, params) if plan else "",
        "runs": " ".join(s.name for s in (*BEFORE, *GRAPH, *AFTER) if s.is_asked(mode, params)),
        **_words(told),
        "plan": Handed(work=plan or Draft.of(address, told, seen)).text,
        # results of an earlier run that would stay beside labels that are not theirs
        "stale": " ".join(_stale(output, names, params)) if isinstance(output, Path) else "",
    }
    numbers, called = channels
    segmented = ", ".join(f"{n} ({shown(called[n - 1])})" for n in numbers)
    about = [*describe(image, called), f"segments  channel {segmented}"]
    if params.tissue:
        about.append(f"tissue    {share_of(params.tissue):.1%} of {shown(params.tissue)}")
    notes = [
        f"note      {note}" for note in (*without_use(image, params), *exposed(address, params))
    ]
    return row, about + notes


def _projected(plan: Plan, params: Parameters) -> str:
    """What tasks of some stages ask for: 'stage=bytes' of each."""
    return " ".join(f"{stage}={size}" for stage, size in memory_given(plan, params).items())


def _stale(output: Path, names: list[str], params: Parameters) -> list[str]:
    """Results of an earlier run that would stay, its report and its crate."""
    reports = [] if params.report else reports_in(output)
    return [*stale(output, names), *reports, *crate_in(output)]
