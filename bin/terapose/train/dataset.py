"""All data of one training: which files, which are held out, and how many items they gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from terapose.errors import InputError
from terapose.train.data import Item, find_twins, items_of, split


@dataclass
class Dataset:
    """Items to train on and items held out, with what they came from.

    Attributes
    ----------
    training, held_out
        Items; the held-out ones never meet the optimiser.
    sources
        Per data folder: its name, files and items trained on, files held out.
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
    simulated: int = 0,
    seed: int = 0,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Read data folders and, if asked for, simulate volumes as a further source.

    Parameters
    ----------
    folders
        Each with ``images/`` and ``labels/``.
    holdout, exclude
        Shell patterns of file names, or ``@FILE`` for a file with one on each line (or a JSON
        list): to hold out; to leave out of training and held-out data alike.
    every
        Hold out every n-th file, by sorted name, of each folder in which no pattern of ``holdout``
        matches; 0 for none.
    voxel_size
        Of the volumes, Z, Y, X.
    plane_step
        Every n-th plane of volumes is used.
    simulated
        Number of simulated volumes to add to the training items.
    seed
        Seed of the simulated volumes.
    show
        Called with files read and files to read.

    Raises
    ------
    InputError
        A folder holds no twins, or nothing is left to train on.
    """
    patterns, dropped = _patterns(holdout), _patterns(exclude)
    parts = []
    for folder in folders:
        pairs = find_twins(folder)
        parts.append(split(pairs, holdout=patterns, exclude=dropped, every=every))
    dataset = Dataset()
    done, total = 0, sum(len(kept) + len(held) for kept, held in parts)
    for source, (folder, part) in enumerate(zip(folders, parts, strict=True)):
        before = len(dataset.training)
        for items, pairs in zip((dataset.training, dataset.held_out), part, strict=True):
            for pair in pairs:
                items += items_of(pair, source, voxel_size=voxel_size, plane_step=plane_step)
                done += 1
                show(done, total)
        _note(dataset, folder.resolve().name, len(part[0]), before, len(part[1]))
    if simulated:
        from terapose.train.simulated import simulated_items

        before = len(dataset.training)
        dataset.training += simulated_items(simulated, len(folders), seed=seed)
        _note(dataset, "simulated by terapose", simulated, before, 0)
    if not dataset.training:
        raise InputError("nothing is left to train on", remedy="hold out or exclude less")
    return dataset


def _note(dataset: Dataset, name: str, files: int, before: int, held_out: int) -> None:
    dataset.sources.append(
        {
            "data": name,
            "files": files,
            "items": len(dataset.training) - before,
            "held out": held_out,
        }
    )


def _patterns(given: Sequence[str]) -> list[str]:
    patterns: list[str] = []
    for text in given:
        if not text.startswith("@"):
            patterns.append(text)
            continue
        path = Path(text[1:])
        try:
            content = path.read_text(encoding="utf-8")
            listed = json.loads(content) if path.suffix == ".json" else content.split("\n")
        except (OSError, ValueError) as error:
            raise InputError("no readable list of file names", where=path) from error
        patterns += [str(line).strip() for line in listed if str(line).strip()]
    return patterns
