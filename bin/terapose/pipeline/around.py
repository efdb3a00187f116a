"""The stages before the plan and after the results, on one machine as in the workflow.

Both are found in the description (`terapose.pipeline.graph`); those whose process calls a command
of people are none of them. What they are given is what a process of the workflow has.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from terapose.core.params import Parameters, check
from terapose.io.images import Image
from terapose.pipeline.checked import mode_of
from terapose.pipeline.graph import AFTER, BEFORE
from terapose.pipeline.stage import Stage


def asked(stages: Iterable[Stage], mode: str, params: Parameters) -> list[Stage]:
    """Those of the stages that are asked for and have a module of their own."""
    return [stage for stage in stages if not stage.calls and stage.is_asked(mode, params)]


def find(stage: Stage, image: Image, params: Parameters, model_files: Sequence[Path]) -> Parameters:
    """Run a stage before the plan; returns the parameters with those that it has found."""
    found: dict[str, Any] = _module(stage).find(image, params, model_files)
    return check({**params.model_dump(exclude_defaults=True), **found})


def find_all(image: Image, params: Parameters, model_files: Sequence[Path]) -> Parameters:
    """Run all stages before the plan that are asked for, each on what those before it found."""
    for stage in asked(BEFORE, mode_of(image, params), params):
        params = find(stage, image, params, model_files)
    return params


def look(stage: Stage, results: Path, output: Path) -> None:
    """Run a stage after the results, which stay as they are; what it makes goes to ``output``."""
    _module(stage).look(results, output)


def look_all(mode: str, params: Parameters, results: Path) -> None:
    """Run all stages after the results that are asked for."""
    for stage in asked(AFTER, mode, params):
        look(stage, results, results)


def _module(stage: Stage) -> Any:
    return importlib.import_module(f"terapose.stages.{stage.command}")
