"""Options made from the parameters' definitions: same names, same help, one place to check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from terapose.params import Parameters

F = TypeVar("F", bound=Callable[..., Any])

# a bool's flag, by the parameter's name
_FLAGS = {name for name, field in Parameters.model_fields.items() if field.annotation is bool}


def _shown(value: Any) -> str:
    """A default as help shows it."""
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value)
    return str(value)


def parameters(names: Iterable[str]) -> Callable[[F], F]:
    """Decorate a command with options for parameters; they arrive as text, or None."""

    def decorate(function: F) -> F:
        for name in reversed(list(names)):
            field = Parameters.model_fields[name]
            flag = f"--{name.replace('_', '-')}"
            text = field.description or ""
            if name in _FLAGS:
                option = click.option(f"{flag}/--no-{flag[2:]}", default=None, help=text)
            else:
                if get_origin(field.annotation) is Literal:
                    text += f" One of {', '.join(get_args(field.annotation))}."
                if field.default not in (None, ""):
                    text += f"  [default: {_shown(field.default)}]"
                option = click.option(flag, help=text, metavar="VALUE")
            function = option(function)
        return function

    return decorate
