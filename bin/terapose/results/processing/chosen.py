"""The function that the parameters of a run name, as every task of it has it.

A file is read once, when a run is checked. From then on the parameter is its name and its content,
packed into a word: tasks need no file, wherever they run, and other content is another parameter,
with which the stage is run again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Sequence

from terapose.core.errors import InputError
from terapose.core.near import did_you_mean
from terapose.core.params import Parameters
from terapose.io.documents import read_document
from terapose.io.homes import expanded
from terapose.results.processing.builtin import BUILTIN
from terapose.results.processing.functions import Function, load, made_of

_PACKED = re.compile(r"([^/:]+\.py):([\w=-]+)", re.ASCII)
_LONGEST = 64_000
"""Bytes of a packed file: a word of a command line has at most 128 kB."""
_UNPACKED = 2**20
_RUN = ("components", "split", "size")
"""Built-in functions that a run can name: **merge** needs the IDs of labels that are there."""


def packed(params: Parameters) -> Parameters:
    """Parameters with the content of a file in place of the path.

    Raises
    ------
    InputError
        If there is no such function, the file is wrong or too long, or an option is.
    """
    if not params.process:
        return params
    function = chosen(params.process, params.process_options)
    if function.name in BUILTIN or _PACKED.fullmatch(params.process):
        return params
    path = expanded(params.process)
    data = read_document(path)
    if hashlib.sha256(data).hexdigest() != function.digest:
        raise InputError("changes while it is read", where=path, remedy="run again")
    name = re.sub(r"[^\w.-]", "_", path.name, flags=re.ASCII)
    word = f"{name}:{base64.urlsafe_b64encode(zlib.compress(data, 9)).decode()}"
    if len(word) > _LONGEST or len(data) > _UNPACKED:
        raise InputError(
            "is too large to be used as process in a run",
            where=path,
            got=f"{len(data)} bytes, {len(word)} packed",
            allowed=f"{_UNPACKED} bytes, {_LONGEST} packed",
            remedy="process finished labels instead (terapose process)",
        )
    return params.model_copy(update={"process": word})


def chosen(source: str, settings: Sequence[str]) -> Function:
    """The function that the parameters ``process`` and ``process_options`` name.

    Raises
    ------
    InputError
        If there is none, or it has no such option.
    """
    return _function(source).with_options(options_of(settings, "process_options"))


def options_of(settings: Sequence[str], where: str) -> dict[str, str]:
    """Options by name, of texts NAME=VALUE.

    Raises
    ------
    InputError
        If one is something else.
    """
    given: dict[str, str] = {}
    for one in settings:
        name, mark, value = one.partition("=")
        name = name.strip()
        if not mark:
            raise InputError("is not an option", where=where, got=one, allowed="NAME=VALUE")
        if name in given:
            raise InputError(
                "is given twice", where=where, got=name, allowed="one value for each option"
            )
        given[name] = value
    return given


def _function(source: str) -> Function:
    if source in _RUN:
        return BUILTIN[source]
    if found := _PACKED.fullmatch(source):
        name, word = found.groups()
        try:
            data = zlib.decompress(base64.urlsafe_b64decode(word))
        except (ValueError, zlib.error) as error:
            raise InputError("is damaged", where="process", got=name, remedy="run again") from error
        return made_of(name, data)
    if source.endswith(".py"):
        return load(expanded(source))
    raise InputError(
        "there is no such function",
        where="process",
        got=source,
        allowed=f"{', '.join(_RUN)}, or a file with the ending .py",
        remedy="process finished labels with it (terapose process)"
        if source in BUILTIN
        else did_you_mean(source, _RUN),
    )
