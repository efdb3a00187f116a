"""All data of one training: which files, which are held out, and how many items they gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from terapose.apps.train.data import Item, items_of
from terapose.apps.train.files import Pair, find_pairs, matches, split
from terapose.apps.train.plausible import check_cells, warn_of_data
from terapose.core.errors import InputError, few
from terapose.core.near import did_you_mean
from terapose.io.documents import parse_json, read_document

_Part = tuple[list[Pair], list[Pair]]
"""Pairs of images and labels to train on, and held out."""


@dataclass
class Dataset:
    """Items to train on and items held out, with what they came from.

    Attributes
    ----------
    training, held_out
        Items; the held-out ones never meet the optimiser.
    sources
        Per data folder: its name, files and items trained on, files held out, its licence.
    """

    training: list[Item] = field(default_factory=list)
    held_out: list[Item] = field(default_factory=list)
    sources: list[dict[str, str | int]] = field(default_factory=list)


def read_dataset(
    folders: Sequence[Path],
    *,
    holdout: Sequence[str] = (),
    exclude: Sequence[str] = (),
    every: int = 0,
    voxel_size: Sequence[float] | None = None,
    plane_step: int = 4,
    channels: Sequence[int] = (),
    limit: int = 1,
    licences: Sequence[str] = (),
    simulated: int = 0,
    slides: int = 0,
    seed: int = 0,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Read data folders and, if asked for, simulate volumes and slides as further sources.

    Parameters
    ----------
    folders
        See :mod:`terapose.apps.train.files` for their layouts. A folder that is named again is
        another source of the same training items, so crops come from it more often.
    holdout, exclude
        Shell patterns of file names, or ``@FILE`` for a file with one on each line (or a JSON
        list): to hold out; to leave out of training and held-out data alike.
    every
        Hold out every n-th file, by sorted name, of each folder in which no pattern of ``holdout``
        matches; 0 for none.
    voxel_size
        Z, Y, X of volumes that do not state their own.
    plane_step
        Every n-th plane of volumes is used.
    channels, limit
        See :func:`terapose.apps.train.files.read_pair`.
    licences
        Of the data: one for all folders, or one for each; none is "unstated".
    simulated, slides
        Numbers of simulated volumes and of simulated slides to add to the training items.
    seed
        Seed of what is simulated.
    show
        Called with files read and files to read.

    Raises
    ------
    InputError
        A folder holds no pairs, a pattern matches no image, no training images are left or none of
        them has a cell, or licences do not match folders.
    """
    stated = _licences(licences, len(folders))
    found = [find_pairs(folder) for folder in folders]
    images = [image for pairs in found for image, _ in pairs]
    patterns, dropped = _patterns(holdout, images, "holdout"), _patterns(exclude, images, "exclude")
    divide = partial(split, holdout=patterns, exclude=dropped, every=every)
    parts = _parts(folders, [divide(pairs) for pairs in found])
    read = partial(
        items_of, voxel_size=voxel_size, plane_step=plane_step, channels=channels, limit=limit
    )
    dataset = Dataset()
    done, total = 0, sum(len(kept) + len(held) for kept, held in parts)
    for source, (folder, part) in enumerate(zip(folders, parts, strict=True)):
        before = len(dataset.training)
        for items, pairs in zip((dataset.training, dataset.held_out), part, strict=True):
            for pair in pairs:
                items += read(pair, source)
                done += 1
                show(done, total)
        _note(dataset, folder.resolve().name, len(part[0]), before, len(part[1]), stated[source])
    _simulate(dataset, simulated, slides, len(folders), seed)
    if not dataset.training:
        held = sum(len(part[1]) for part in parts)
        raise _none_left(folders, len(images), held)
    check_cells(dataset.training, sum(len(kept) for kept, _ in parts), folders)
    warn_of_data(dataset.training, dataset.held_out)
    return dataset


def _none_left(folders: Sequence[Path], found: int, held_out: int) -> InputError:
    return InputError(
        "no training images are left",
        where=few([str(folder) for folder in folders], 3),
        got=f"{found} found, {held_out} held out, {found - held_out} excluded",
        remedy="hold out or exclude fewer files",
    )


def _parts(folders: Sequence[Path], divided: Sequence[_Part]) -> list[_Part]:
    """Files to train on and held out of each folder; one that is named again holds out nothing."""
    places = [folder.resolve() for folder in folders]
    return [
        (kept, [] if places[number] in places[:number] else held)
        for number, (kept, held) in enumerate(divided)
    ]


def _simulate(dataset: Dataset, volumes: int, slides: int, source: int, seed: int) -> None:
    """Add simulated volumes and slides, each kind as a separate source."""
    from terapose.apps.train.simulated import simulated_items, simulated_slides

    kinds = (("volumes", volumes, simulated_items), ("slides", slides, simulated_slides))
    for kind, count, make in kinds:
        if count:
            before = len(dataset.training)
            dataset.training += make(count, source, seed=seed)
            _note(dataset, f"{kind} simulated by terapose", count, before, 0, "-")
            source += 1


def _licences(given: Sequence[str], folders: int) -> list[str]:
    if len(given) not in (0, 1, folders):
        raise InputError(
            "licences do not match the data folders",
            where="data licence",
            got=f"{len(given)} for {folders} folders",
            allowed="none, one for all, or one for each folder in their order",
        )
    return list(given) if len(given) == folders else [*given, "unstated"][:1] * folders


def _note(
    dataset: Dataset, name: str, files: int, before: int, held_out: int, licence: str
) -> None:
    dataset.sources.append(
        {
            "data": name,
            "files": files,
            "items": len(dataset.training) - before,
            "held out": held_out,
            "licence": licence,
        }
    )


def _patterns(given: Sequence[str], images: Sequence[Path], option: str) -> list[str]:
    """Patterns as given and out of lists; each of those given, and one of each list, matches."""
    patterns: list[str] = []
    for text in given:
        listed = _lines(Path(text[1:])) if text.startswith("@") else [text]
        for pattern in listed:
            _check_pattern(pattern, text, option)
        if not any(matches(image, pattern) for image in images for pattern in listed):
            names = [image.name for image in images]
            raise InputError(
                "no image in the data has a name in this list"
                if text.startswith("@")
                else "no image in the data has this name",
                where=option,
                got=text,
                remedy=did_you_mean(text, names, f"names are like {names[0]}"),
            )
        patterns += listed
    return patterns


def _check_pattern(pattern: str, given: str, option: str) -> None:
    """Refuse what is left of a name where there is none, which matches nothing."""
    if not Path(pattern).parts:
        raise InputError(
            "a pattern of file names is empty",
            where=option,
            got=repr(pattern) if pattern == given else f"{pattern!r} in {given[1:]}",
            remedy="give the name of an image, or a pattern such as 'a*.tif'",
        )


def _lines(path: Path) -> list[str]:
    try:
        content = read_document(path).decode("utf-8")
        listed = parse_json(content) if path.suffix == ".json" else content.split("\n")
    except ValueError as error:
        raise InputError("no readable list of file names", where=path) from error
    if not isinstance(listed, list) or not all(isinstance(line, str) for line in listed):
        raise InputError(
            "no list of file names",
            where=path,
            got=type(listed).__name__ if not isinstance(listed, list) else "other values in it",
            allowed='as in ["a.tif", "b.tif"]',
        )
    return [line.strip() for line in listed if line.strip()]
