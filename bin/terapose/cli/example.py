"""Examples in the help of stages, made from what their commands require."""

from __future__ import annotations

import textwrap

import click

from terapose.pipeline.graph import GATHERED, GRAPH, STAGES
from terapose.pipeline.stage import MODES, Stage, always

_VALUES = {
    "--plan": "plan.json",
    "--store": "store",
    "--task": "0",
    "--output": "0.json",
    "--model-file": "network",
    "--cells": "cells",
    "--stage": "follow",
}
_WIDTH = 88
_TIE = "\0"
"""Between an option and its value, which stay on one line."""


def _summary_before(stage: Stage) -> str:
    """Name of the file with the last summary before a stage, whatever the mode."""
    *_, last = (
        s.name
        for s in GRAPH[: GRAPH.index(stage)]
        if s.name not in GATHERED and s.modes == MODES and s.asked is always
    )
    return f"{last}.json"


def add_example(command: click.Command, stage: str, output: str = "") -> click.Command:
    """Show a command line, with all that a command requires, at the end of the help.

    Parameters
    ----------
    command
        Of a stage, with all its options.
    stage
        Name of a stage that it runs.
    output
        Value of ``--output``; by default that of a task.

    Returns
    -------
    click.Command
        The same command.
    """
    described = STAGES[stage]
    known = {**_VALUES, "--axis": described.axis, **({"--output": output} if output else {})}
    words = ["terapose", "stage", str(command.name)]
    for param in command.params:
        name = param.opts[0]
        if isinstance(param, click.Argument):
            words.append(name)
        elif name == "--before" and (param.required or command.name == "gather"):
            words.append(f"{name}{_TIE}{_summary_before(described)}")
        elif param.required:
            words.append(f"{name}{_TIE}{known[name]}")
    lines = textwrap.wrap(
        " ".join(words),
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    command.epilog = "\b\nExample:\n" + " \\\n".join(lines).replace(_TIE, " ")
    return command
