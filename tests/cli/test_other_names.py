"""Names of other programs: each is refused with the one of this program, wherever it is given."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from tests.command import Terapose

from terapose.cli import Commands, train
from terapose.core.errors import InputError
from terapose.core.near import plain
from terapose.core.other_names import COMMANDS, PARAMETERS, TRAINING, Other, elsewhere
from terapose.core.params import Parameters, check


def names(*tables: tuple[Other, ...]) -> Iterator[tuple[str, str]]:
    """Each name, and what it is here."""
    return ((name, other.here) for table in tables for other in table for name in other.names)


def test_no_name_is_listed_that_exists_here() -> None:
    for name, _ in names(PARAMETERS):
        assert name not in Parameters.model_fields, name
    options = {o for parameter in train.command.params for o in parameter.opts}
    for name, _ in names(TRAINING):
        assert f"--{name}" not in options, name
    commands = Commands().list_commands(click.Context(click.Command("terapose")))
    assert not {name for name, _ in names(COMMANDS)} & set(commands)


def test_every_name_is_listed_once() -> None:
    for table in (PARAMETERS, TRAINING, COMMANDS):
        listed = [plain(name) for name, _ in names(table)]
        assert len(listed) == len(set(listed)), sorted(n for n in listed if listed.count(n) > 1)


def test_what_stands_first_exists_here() -> None:
    """The first word of each answer, unless there is nothing of the kind."""
    options = {o for parameter in train.command.params for o in parameter.opts}
    here = {*Parameters.model_fields, "input", "outdir", "store", "jobs", *options}
    for name, said in names(PARAMETERS, TRAINING):
        first = re.split(r"[ ,;:]", said)[0]
        if first not in ("not", "none", "a", "parameters", "the", "DATA", "images/"):
            assert first in here, (name, said)


@pytest.mark.parametrize("name", [name for name, _ in names(PARAMETERS)])
def test_a_parameter_of_another_program(name: str) -> None:
    with pytest.raises(InputError, match="no such parameter") as caught:
        check({name: 1})
    assert f"{name}: no such parameter ({elsewhere(name)})" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("segment", "a.tif", "out", "--do_3D"), "--do_3D (a name of Cellpose; here: mode 3d"),
        (("segment", "--dir", "images"), "--dir (a name of Cellpose; here: input, or IMAGE"),
        (("segment", "a.tif", "out", "--flow3D_smooth", "1"), "here: flow3d_smooth)"),
        (("segment", "a.tif", "out", "--pretrained-model", "cyto"), "here: model)"),
        (("segment", "a", "out", "--expand-size", "3"), "mccellpose; here: expand, in pixels)"),
        (("train", "data", "--n_epochs", "3"), "--n_epochs (a name of Cellpose; here: --epochs)"),
        (("cellpose", "--dir", "a"), "No such command 'cellpose' (a name of Cellpose; here: seg"),
        (("fetch-data", "--crops", "all"), "a name of CellMap's toolbox; here: crop, which"),
        (("cut_cells", "--what"), "; terapose cut_cells --help lists"),
        (("cut_tiles", "a.tif", "64", "b"), "a name of cellcutter; here: none"),
    ],
)
def test_old_commands_as_they_are_typed(
    words: tuple[str, ...],
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert answer in Terapose(monkeypatch, capsys).refuses(*words)
