"""Which commands read an input of a kind, and how each is called."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

Work = Callable[[], None]
_SMALL = ("--diameter", "15")


def work_of(kind: str, given: Path, common: Path, rng: random.Random) -> tuple[str, Work]:
    """Choose a command for an input.

    Parameters
    ----------
    kind
        Of the input.
    given
        The input, in a folder of its own, which the command may write to.
    common
        Good inputs that go with it.
    rng
        Decides.

    Returns
    -------
    str
        The command, for a person.
    callable
        What calls it, in the folder of the input.
    """
    commands = _COMMANDS[kind](given.name, str(common), rng)
    words = rng.choice(commands)
    if callable(words):
        return words.__name__.strip("_"), lambda: words(given, common)
    return f"terapose {' '.join(words)}", lambda: _call(words)


def _call(words: tuple[str, ...]) -> None:
    import sys

    from terapose.cli import main

    sys.argv = ["terapose", *words]
    main()


def _plainly(work: Callable[[], object]) -> None:
    """Call a function of the library as the command line does: a fault is one sentence."""
    import sys

    from terapose.core.errors import InputError

    try:
        work()
    except InputError as error:
        print(f"terapose: {error}", file=sys.stderr)
        sys.exit(2)


def _train(given: Path, common: Path) -> None:
    """What `terapose train` reads: pairs of a folder, with this as an image, or as labels."""
    from terapose.apps.train.dataset import read_dataset

    folder = given.parent / "data"
    suffix = given.suffix
    if suffix == ".h5":
        folder.mkdir()
        given.rename(folder / f"one{suffix}")
    else:
        as_labels = given.stat().st_size % 2 if given.exists() else 0
        name = "one_masks" if as_labels else "one"
        other = "one.tif" if as_labels else "one_masks.tif"
        folder.mkdir()
        given.rename(folder / f"{name}{suffix}")
        shutil.copy(common / ("image.tif" if as_labels else "labels.tif"), folder / other)
    _plainly(lambda: read_dataset([folder], channels=(1,), limit=2))


def _sheet(given: Path, common: Path) -> None:
    """What `terapose segment` reads of a samplesheet, and its check of all parameters."""
    from terapose.core.params import check
    from terapose.io.listing import listed

    shutil.copy(common / "image.tif", given.parent)

    def read() -> None:
        for name, _, own in listed(given.name, stack=False).samples:
            check(own, f"parameters of {name}")

    _plainly(read)


def _load(given: Path, _: Path) -> None:
    """Load a network, as the tasks of gradients and `terapose train --init` do."""
    from terapose.networks.loading import load

    _plainly(lambda: load(given))


_Command = tuple[str, ...] | Callable[[Path, Path], None]


def _image(name: str, common: str, rng: random.Random) -> list[_Command]:
    inside = f"{name}/raw" if name.endswith(".h5") and rng.random() < 0.5 else name
    output = rng.choice((("--output", "out"), ()))
    model = ("--model", f"{common}/model.pth")
    destination = rng.choice((("--mask-cells",), ()))
    return [
        ("check", inside, *_SMALL, *model, *output),
        ("plan", inside, *_SMALL, *model, "--output", "plan.json", "--store", "store"),
        ("cut", inside, "-", f"{common}/cells.csv", "cells.zarr", "--window-size", "9", "-p", "1"),
        ("cut", inside, inside, f"{common}/cells.csv", "cells.zarr", *destination, "-p", "1"),
        ("evaluate", inside, inside),
        _train,
    ]


def _params(name: str, common: str, rng: random.Random) -> list[_Command]:
    image = f"{common}/image.tif"
    return [
        ("check", image, "--params-file", name),
        ("check", image, "--params-file", name, "--output", "out", "--lines", "lines.tsv"),
    ]


def _samplesheet(name: str, common: str, rng: random.Random) -> list[_Command]:
    return [_sheet]


def _markers(name: str, common: str, rng: random.Random) -> list[_Command]:
    words = (f"{common}/image.tif", "--markers", name, "--model", f"{common}/model.pth")
    channels = rng.choice((("--channels", "CD3"), ("--channels", "1"), ()))
    return [("check", *words, *channels), ("plan", *words, *channels, "--measure", "CD3")]


def _model(name: str, common: str, rng: random.Random) -> list[_Command]:
    image = f"{common}/image.tif"
    return [("check", image, "--model", name), ("plan", image, "--model", name), _load]


def _mask(name: str, common: str, rng: random.Random) -> list[_Command]:
    image, table = f"{common}/image.tif", f"{common}/cells.csv"
    model = ("--model", f"{common}/model.pth")
    return [
        ("check", image, "--region", name, *model),
        ("plan", image, "--region", name, *model, "--store", "store"),
        ("cut", image, name, table, "cells.zarr", "--mask-cells", "-p", "1"),
        ("evaluate", f"{common}/labels.tif", name),
        ("evaluate", name, f"{common}/labels.tif", "--json", "scores.json"),
        _train,
    ]


def _table(name: str, common: str, rng: random.Random) -> list[_Command]:
    image, labels = f"{common}/image.tif", f"{common}/labels.tif"
    return [
        ("cut", image, labels, name, "cells.zarr", "-p", "1"),
        ("cut", image, "-", name, "cells.zarr", "--window-size", "9", "-p", "1"),
    ]


def _provenance(name: str, common: str, rng: random.Random) -> list[_Command]:
    image = f"{common}/image.tif"
    # the record of an earlier run lies in the folder of results
    words = ("check", image, "--output", ".", "--model", f"{common}/model.pth")
    return [words, (*words, "--table", "csv", "--lines", "lines.tsv")]


def _outlines(name: str, common: str, rng: random.Random) -> list[_Command]:
    more = rng.choice(((), ("--renumber", "--allow-pieces")))
    return [("measure", f"{common}/labels.tif", name, "out", "--jobs", "1", *more)]


def _manifest(name: str, common: str, rng: random.Random) -> list[_Command]:
    return [("pack", name, f"{common}/labels.tif", "out.zip", *rng.choice(((), ("--overwrite",))))]


_COMMANDS: dict[str, Callable[[str, str, random.Random], list[_Command]]] = {
    "tiff": _image,
    "zarr": _image,
    "hdf5": _image,
    "params": _params,
    "samplesheet": _samplesheet,
    "markers": _markers,
    "model": _model,
    "mask": _mask,
    "table": _table,
    "provenance": _provenance,
    "outlines": _outlines,
    "manifest": _manifest,
}
NAMES = {"provenance": "provenance.json"}
"""The name that a command looks for, where it is told only the folder."""
