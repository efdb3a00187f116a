"""check: all that can be wrong with a run, before anything is computed.

It runs first, and every time: it costs seconds, so that nothing is found out after hours. It
checks all parameters together, opens the image, looks at the network's file and at the folder for
the results. What it prints is the line from which the workflow starts a sample: the identity of
the image and of the network (a changed file must not meet cached tasks), and for each stage its
parameters as words of a command line.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

from terapose.channels import channel_numbers
from terapose.errors import InputError
from terapose.image import Image
from terapose.params import STAGES, Parameters, arguments
from terapose.plan import flow_threshold, key_of, package_digest
from terapose.stages.plan import make_plan, mode_of, open_checked


def check_output(folder: Path, address: str, mask: str = "") -> None:
    """Refuse a result folder that cannot be used.

    Raises
    ------
    InputError
        If it cannot be written to, holds the results of another image, or a result would take the
        place of the image.
    """
    for name in filter(None, ("labels.zarr", "cells.csv", "cells.parquet", mask)):
        result, image = (Path(os.path.realpath(x)) for x in (folder / name, address))
        if "://" not in address and image.is_relative_to(result):
            raise InputError(
                "would be overwritten by the results",
                where=address,
                got=f"a result of the name {folder / name}",
                remedy="choose another folder or another name",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    probe = folder / ".terapose-probe"
    try:
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error
    record = folder / "provenance.json"
    if record.exists():
        try:
            other = json.loads(record.read_text())["image"]["address"]
        except (json.JSONDecodeError, KeyError, TypeError):
            other = "something that is not readable"
        if not _same(other, address):
            raise InputError(
                "holds the results of another image",
                where=folder,
                got=other,
                allowed=address,
                remedy="choose another folder, or remove this one",
            )


def _same(one: str, other: str) -> bool:
    """Whether two addresses name the same image."""
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        "results cannot be written",
        where=folder,
        got=error.strerror or str(error),
        remedy="choose a folder you may write to, on a disk with room",
    )


def check_readable(image: Image, params: Parameters) -> None:
    """Decode a little of each channel: what cannot be read should not be found out after hours.

    Raises
    ------
    InputError
        If it cannot be decoded.
    """
    numbers, _ = channel_numbers(image, params.channels, params.markers)
    for channel in numbers:
        image.read((slice(0, 1),) * 3, channel)


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
            "no room for the results",
            where=folder,
            got=f"{free / 1e6:.1f} MB free",
            allowed=f"{needed / 1e6:.1f} MB or more",
            remedy="choose a folder on a larger disk",
        )


def _check_model(params: Parameters, image: Image) -> str:
    """Refuse a network that will not do; returns what tells its file from another one.

    A URL is downloaded only once, later: then it is the plan that checks the file.
    """
    if "://" in params.model:
        return params.model + params.model_digest
    from terapose.networks import identify
    from terapose.networks.weights import resolve

    info = identify(resolve(params.model, digest=params.model_digest or None))
    make_plan(image, info, params)
    return info.digest


def _digest_option(params: Parameters) -> list[str]:
    return ["--digest", params.model_digest] if params.model_digest else []


def run(sample: str, address: str, params: Parameters, output: Path | None) -> str:
    """Check one sample; returns the line (tab-separated, with a header) that starts it.

    Raises
    ------
    InputError
        For the first thing that is wrong; faults of parameters are named all at once.
    """
    image = open_checked(address, params)
    check_readable(image, params)
    model = _check_model(params, image)
    if output is not None:
        check_output(output, address, params.mask_tiff)
        check_room(output, image.shape[0] * image.shape[1] * image.shape[2])
    # the numbers that names stand for: another table of markers is another run
    channels = channel_numbers(image, params.channels, params.markers)
    threshold = flow_threshold(mode_of(image, params), params.flow_threshold)
    row = {
        "sample": sample,
        "address": address,
        "identity": key_of(image.identity, model, package_digest(), channels),
        "fetch": shlex.join([params.model, *_digest_option(params)]),
        # whether the errors of flows are wanted at all
        "errors": "yes" if threshold else "",
        **{stage: arguments(params, names) for stage, names in STAGES.items()},
    }
    return "\t".join(row) + "\n" + "\t".join(row.values()) + "\n"
