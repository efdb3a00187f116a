"""Options made from the parameters' definitions: same names, same help, one place to check."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from terapose.cli.values import join_numbers
from terapose.core.params import SELECTION, Parameters, check
from terapose.core.selection import Selection

F = TypeVar("F", bound=Callable[..., Any])

# a bool's flag, by the parameter's name
_FLAGS = {name for name, field in Parameters.model_fields.items() if field.annotation is bool}


class Planning(click.Command):
    """A command with all parameters; takes several numbers after one ``--channel``.

    That is how MCMICRO gives them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the numbers that follow ``--channel`` or ``--channels``."""
        joined = join_numbers(args, "--channel", "--channels")
        return super().parse_args(
            ctx, [re.sub("^--channel(=|$)", r"--channels\1", w) for w in joined]
        )


_UNDER_LABELS = {
    "time": "Which time point of the image, if there are several, counted from 1.",
    "level": "Pyramid level of the image that the labels fit; 0 is the finest.",
    "region": "Part of the image that the labels cover: z0:z1,y0:y1,x0:x1 (or y0:y1,x0:x1) in "
    "voxels of the level, from 0; or a mask image, whose bounding box is used.",
}


def _shown(value: Any) -> str:
    """A default as help shows it."""
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value)
    return str(value)


def parameters(
    names: Iterable[str], texts: Mapping[str, str] = MappingProxyType({})
) -> Callable[[F], F]:
    """Decorate a command with options for parameters; they arrive as text, or None.

    Parameters
    ----------
    names
        Of the parameters.
    texts
        Help in place of the parameter's own, for commands in which it means something else.
    """

    def decorate(function: F) -> F:
        for name in reversed(list(names)):
            field = Parameters.model_fields[name]
            flag = f"--{name.replace('_', '-')}"
            text = texts.get(name, field.description or "")
            if name in _FLAGS:
                option = click.option(f"{flag}/--no-{flag[2:]}", default=None, help=text)
            else:
                if get_origin(field.annotation) is Literal:
                    text += f" One of {', '.join(get_args(field.annotation))}."
                if name not in texts and field.default not in (None, ""):
                    text += f"  [default: {_shown(field.default)}]"
                option = click.option(flag, help=text, metavar="VALUE")
            function = option(function)
        return function

    return decorate


def looking(function: F) -> F:
    """Options that choose the part of an image that was segmented, of commands that show labels."""
    return parameters(SELECTION, _UNDER_LABELS)(function)


def selection(address: str, options: dict[str, Any], default: Selection | None = None) -> Selection:
    """What options of the names in `SELECTION` choose, taken out of a command's options.

    A mask of tissue becomes the box that holds all of it.

    Parameters
    ----------
    address
        Of the image.
    options
        Of the command.
    default
        What is chosen where an option is not given.

    Raises
    ------
    InputError
        If one is wrong, or ``time`` is ``all``: a command takes one image.
    """
    from terapose.io.samples import one_image

    given = {name: options.pop(name) for name in SELECTION if name in options}
    known = {} if default is None else default.options
    values = {**known, **{k: v for k, v in given.items() if v is not None}}
    params = one_image(check(values), "this command takes one time point")
    if not params.tissue:
        return params.selection
    from terapose.pipeline.checked import open_region

    return open_region(address, params).selection
