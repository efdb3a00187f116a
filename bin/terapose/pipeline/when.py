"""Conditions under which stages of the graph run, on the parameters or on a plan.

`terapose.pipeline.stage` has those of most stages. The first ones are given the mode and all
parameters (`Stage.asked`), the others the plan and a stage's own parameters (`Stage.rounds_where`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terapose.core.thresholds import flow_threshold

if TYPE_CHECKING:
    from terapose.core.params import Parameters
    from terapose.pipeline.plan import Plan


def judges_flows(mode: str, params: Parameters) -> bool:
    """Whether objects are judged by their flows."""
    return bool(flow_threshold(mode, params.flow_threshold))


def has_second(mode: str, params: Parameters) -> bool:
    """Whether a second network finds the cells of nuclei."""
    return params.has_second


def processes(mode: str, params: Parameters) -> bool:
    """Whether a function of the user's is applied to the cells."""
    return bool(params.process)


def measures(mode: str, params: Parameters) -> bool:
    """Whether anything of the cells is measured."""
    return params.measure != ("none",)


def goes_into_image(mode: str, params: Parameters) -> bool:
    """Whether labels are copied into the image."""
    return params.labels_in == "image"


def reports(mode: str, params: Parameters) -> bool:
    """Whether there is a report."""
    return params.report


def traces(mode: str, params: Parameters) -> bool:
    """Whether a table has outlines."""
    return params.has_outlines


def fits_mixtures(plan: Plan, params: Mapping[str, Any]) -> bool:
    """Whether intensities are scaled by Gaussians that are fitted to them."""
    return plan.intensity.merge == "gmm"


def smooths(plan: Plan, params: Mapping[str, Any]) -> bool:
    """Whether flows are smoothed."""
    return any(params["flow3d_smooth"])
