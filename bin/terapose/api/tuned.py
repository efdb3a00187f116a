"""What `terapose tune` has left: stores of runs whose results were temporary."""

from __future__ import annotations

from pathlib import Path

from terapose.api import home
from terapose.api.tune.folder import FORMAT, NAMES, NUMBERS
from terapose.core.errors import InputError, StoreError
from terapose.core.masking import masked
from terapose.io.documents import parse_json, read_document
from terapose.results.destination import is_same


def digests_of(folder: Path) -> tuple[str, ...]:
    """Plans of the stores that a call which is finished has left in its folder, earlier ones, too.

    A call removes the files of an earlier one first, and writes its own last: it is finished if all
    of them are there. Its runs are on regions of the image that they name. A store of another image
    or of all of it is of another run, which was given the folder as ``--store``.

    Parameters
    ----------
    folder
        What was ``OUT``; of any other folder there are none.
    """
    if not all((folder / name).is_file() for name in NAMES):
        return ()
    try:
        numbers = parse_json(read_document(folder / NUMBERS))
    except (InputError, ValueError):
        return ()
    if not isinstance(numbers, dict) or numbers.get("format") != FORMAT:
        return ()
    found = []
    for store in home.stores_in(folder / home.NAME):
        try:
            plan = home.plan_in(store)
        except StoreError:
            continue
        image = plan.image
        if image.selection.region and is_same(masked(image.address), str(numbers.get("image"))):
            found.append(plan.digest)
    return tuple(found)
