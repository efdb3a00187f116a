"""The stages before the plan and after the results, on one machine as in the workflow.

Both are found in the description (`terapose.pipeline.graph`); stages whose process calls a user
command are not among them. They get the same inputs as a process of the workflow.

When a stage before the plan runs, **check** has opened the image, has fixed what later stages
are given and which of them run. So what is found may shape the plan alone, and in the same mode;
where it chooses another part of the image, that is opened and checked in its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from terapose.core.params import Parameters, check
from terapose.io.images.model import Image
from terapose.pipeline.checked import mode_of, open_checked
from terapose.pipeline.graph import AFTER, BEFORE, GRAPH, PLAN
from terapose.pipeline.stage import Stage

_LATER = {name for stage in GRAPH for name in stage.parameters}
FINDABLE = frozenset(PLAN.parameters) - _LATER - {"mode", "model"}
"""Parameters that a stage before the plan may find: those that the plan alone depends on. The mode
is fixed by then, and the network's file is fetched."""
PLACING = ("upscale", "table")
"""Parameters of later stages that say where results are: a level that a stage before the plan finds
has to lead there. Stages are not given them."""
_GIVEN = frozenset(name for stage in (*BEFORE, PLAN) for name in stage.parameters)


def asked(stages: Iterable[Stage], mode: str, params: Parameters) -> list[Stage]:
    """Those of the stages that are asked for and have a module of their own."""
    return [stage for stage in stages if not stage.calls and stage.is_asked(mode, params)]


def before_plan(params: Parameters) -> dict[str, Any]:
    """The parameters of the plan and of the stages before it, as far as they are not defaults."""
    return params.model_dump(mode="json", include=set(_GIVEN), exclude_defaults=True)


class Found(NamedTuple):
    """The image and all parameters after a stage before the plan."""

    image: Image
    params: Parameters


def find(stage: Stage, image: Image, params: Parameters, model_files: Sequence[Path]) -> Found:
    """Run a stage before the plan.

    Parameters
    ----------
    stage
        The stage; it is given `before_plan` of the parameters, wherever it runs.
    image
        From `open_checked`, with these parameters.
    params
        All that are known.
    model_files
        The network's files.

    Returns
    -------
    Found
        The parameters with those that were found, and the image that these choose.

    Raises
    ------
    ValueError
        If it finds what it may not: a mistake in the stage.
    InputError
        If a value is not one of the parameter, or the image does not go with what was found.
    """
    found: dict[str, Any] = stage.implementation.find(
        image, check(before_plan(params)), model_files
    )
    if strange := sorted(found.keys() - FINDABLE):
        raise ValueError(
            f"stage {stage.name}: finds {', '.join(strange)}, which shapes more than the plan; "
            f"allowed: {', '.join(sorted(FINDABLE))}"
        )
    given = params.model_dump(exclude_defaults=True)
    after = check({**given, **found}, f"what stage {stage.name} found")
    opened = open_checked(image.address, after)
    modes = mode_of(image, params), mode_of(opened, after)
    if len(set(modes)) > 1:
        raise ValueError(
            f"stage {stage.name}: changes the mode from {modes[0]} to {modes[1]}, when it is fixed "
            "which stages run"
        )
    return Found(opened, after)


def find_all(image: Image, params: Parameters, model_files: Sequence[Path]) -> Found:
    """Run all stages before the plan that are asked for, each on what those before it found."""
    found = Found(image, params)
    for stage in asked(BEFORE, mode_of(image, params), params):
        found = find(stage, *found, model_files)
    return found


def look(stage: Stage, results: Path, output: Path) -> None:
    """Run a stage after the results, which stay as they are; what it makes goes to ``output``."""
    stage.implementation.look(results, output)


def look_all(mode: str, params: Parameters, results: Path) -> None:
    """Run all stages after the results that are asked for."""
    for stage in asked(AFTER, mode, params):
        look(stage, results, results)
