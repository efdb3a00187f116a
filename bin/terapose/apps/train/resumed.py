"""Which data a training began with: one that is resumed has to have the same.

With another division what was held out so far would have been trained on, and the scores would say
more than they should.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from terapose.apps.train.data import Item
from terapose.core.errors import InputError
from terapose.io.documents import parse_json

_NAMED = 3
_Known = dict[tuple[int, str], tuple[str, str]]
"""By folder and name of an item: part it belongs to, and digest."""


def recorded(training: Sequence[Item], held_out: Sequence[Item]) -> str:
    """The data of a training as JSON: part, number of the folder, name and digest of each item."""
    parts = (("training", training), ("held out", held_out))
    return json.dumps([(part, i.source, i.name, i.digest) for part, items in parts for i in items])


def is_record(text: str) -> bool:
    """Whether a text is one of :func:`recorded`, or "", of which nothing is known."""
    try:
        items = parse_json(text) if text else []
    except ValueError:
        return False
    kinds = [str, int, str, str]
    return isinstance(items, list) and all(
        isinstance(item, list) and [type(value) for value in item] == kinds for item in items
    )


def check_same_data(ours: str, theirs: str, *, where: Path) -> None:
    """Refuse to go on from a checkpoint of other data.

    Parameters
    ----------
    ours, theirs
        See :func:`recorded`: of what was read now, and of the checkpoint.
    where
        The checkpoint.

    Raises
    ------
    InputError
        An item was added, removed or changed, or belongs to the other part.
    """
    if ours == theirs:
        return
    now, before = _known(ours), _known(theirs)
    both = now.keys() & before.keys()
    differing = {
        "added": now.keys() - before.keys(),
        "removed": before.keys() - now.keys(),
        "moved between training and held out": {k for k in both if now[k][0] != before[k][0]},
        "changed": {k for k in both if now[k][1] != before[k][1]},
    }
    raise InputError(
        "the checkpoint was made with other data",
        where=where,
        got="; ".join(f"{_listed(keys)} {what}" for what, keys in differing.items() if keys),
        allowed="the same images, labels and held-out files, and folders in the same order",
        remedy="give what the training began with, or start again with --overwrite",
    )


def _known(text: str) -> _Known:
    return {(source, name): (part, digest) for part, source, name, digest in json.loads(text)}


def _listed(keys: Iterable[tuple[int, str]]) -> str:
    """Names of the first items, with the number of their folder, and how many more there are."""
    names = [f"{name} (folder {source + 1})" for source, name in sorted(keys)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
