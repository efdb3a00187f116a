"""The intensities that become 0 and 1 in the whole image, found once for runs on regions of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from terapose.api.home import home_of
from terapose.core.geometry import Box
from terapose.core.normalizing import NORMALIZATIONS
from terapose.core.params import Parameters
from terapose.pipeline.checked import open_checked, part_of
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.local import Runner, repairing, run_stages

_UP_TO = "percentiles"


def scale_of(image: str, params: Parameters, part: Box, output: Path) -> dict[str, Any]:
    """Parameters that scale intensities as a run on a region does, without reading all of it again.

    Parameters
    ----------
    image
        Path or URL.
    params
        Of a run on one of the regions.
    part
        That region, as `terapose.api.runner.segment_file` takes it.
    output
        Folder in which the store of that run is.

    Returns
    -------
    dict
        Empty where there is no single pair for each channel (`normalize` other than ``global``), or
        it is not given by percentiles (`channel_merge` ``gmm``).
    """
    from terapose.networks.ensemble import identify_all, resolve_all
    from terapose.pipeline.planning import make_plan
    from terapose.stages import plan as plan_stage

    if NORMALIZATIONS[params.normalize].measures != "image" or params.channel_merge == "gmm":
        return {}
    models = identify_all(resolve_all(params.model, digest=params.model_digest))
    plan = make_plan(part_of(open_checked(image, params), part), models, params)
    store = home_of(output, output).store(plan.digest)
    plan_stage.run(plan, store)
    runner = Runner(plan, store)
    last = next(n for n, stage in enumerate(GRAPH) if stage.name == _UP_TO)
    state = repairing(runner, lambda: run_stages(runner, params, {}, GRAPH[: last + 1])).state
    ends = tuple(end for pair in zip(state.low, state.high, strict=True) for end in pair)
    return {"normalize": "lowhigh", "lowhigh": ends, "foreground_min": None}
