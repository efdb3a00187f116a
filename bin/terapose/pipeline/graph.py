"""The graph of stages, as data: everything that lists stages follows from it.

`GRAPH` is what works on a plan; `BEFORE` and `AFTER` are around it; `WHOLE` takes the place of
`GRAPH` where there is little to do. Stages are in the order in which they run. Each of the graph
comes after the last summary before it; the three whose receipts ``finish`` takes come after the
same one, and may run side by side.

Commands, the plan's tables of tasks, the local run and what `terapose plan` promises are made of
it, and the workflow (main.nf, modules/segment.nf) is tested against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from terapose.core.geometry import AXES
from terapose.core.params import SECOND, SELECTION
from terapose.pipeline import estimate, traffic, when
from terapose.pipeline.stage import MODES, Stage, always
from terapose.pipeline.traffic import Traffic

if TYPE_CHECKING:
    from terapose.core.params import Parameters
    from terapose.pipeline.plan import Plan


BEFORE = (
    Stage("simulate", "Simulate a volume.", "small", phase="before", calls="simulate"),
    Stage("check", "Check everything that can be wrong.", "small", phase="before", calls="check"),
    Stage("fetch", "Fetch the network's file.", "small", phase="before", calls="fetch"),
)
"""Stages before the plan; **check** makes the plan itself where nothing has to be found first."""
GRAPH = (
    Stage(
        "convert",
        "Copy planes of an image that cannot be read by region into the store.",
        "blocks",
        over="planes",
        reads_image=True,
        folder="source",
        memory=estimate.of_planes,
        requests=Traffic.convert,
    ),
    Stage(
        "intensities",
        "Count the intensities of blocks.",
        "blocks",
        over="counted",
        reads_image=True,
        memory=estimate.of_counts,
        requests=Traffic.intensities,
    ),
    Stage(
        "percentiles",
        "Find the intensities that become 0 and 1.",
        "gather",
        gathers=("intensities",),
        reads_image=True,
        rounds=("numpy",),
        rounds_where=when.fits_mixtures,
        parameters=("strict",),
    ),
    *(
        Stage(
            f"gradients-{axis}",
            "Run the network over slabs of planes of one orientation.",
            "network",
            over="slabs",
            axis=axis,
            input="network",
            reads_image=True,
            rounds=("torch", "numba"),
            threaded="torch",
            folder=f"gradients-{axis}",
            memory=estimate.of_pass(axis),
            requests=traffic.of_pass(axis),
            parameters=("batch_size", "use_gpu", "keep_intermediates", "strict"),
        )
        for axis in AXES
    ),
    Stage(
        "combine",
        "Resample the summed flows of blocks to the image's grid, and smooth them.",
        "blocks",
        over="blocks",
        memory=estimate.of_resized,
        memory_given=estimate.of_combined,
        requests=Traffic.combine,
        rounds=("numpy",),
        rounds_where=when.smooths,
        parameters=("flow3d_smooth", "flow_scaling", "keep_intermediates", "strict"),
    ),
    Stage(
        "follow",
        "Follow the flows of blocks to their end points.",
        "blocks",
        over="blocks",
        memory=estimate.of_follow,
        requests=Traffic.follow,
        rounds=("numba",),
        threaded="numba",
        parameters=("cellprob_threshold", "niter", "follow_tolerance", "strict"),
    ),
    Stage(
        "peaks",
        "Count end points and find the seeds of blocks.",
        "blocks",
        over="blocks",
        memory=estimate.of_peaks,
        requests=Traffic.peaks,
    ),
    Stage("seeds", "Number the seeds of all blocks.", "gather", gathers=("peaks",)),
    Stage(
        "masks",
        "Grow seeds, label blocks and measure whole objects.",
        "blocks",
        over="blocks",
        memory=estimate.of_masks,
        requests=Traffic.masks,
        rounds=("numba",),
        parameters=("strict",),
    ),
    Stage(
        "objects",
        "Make one table of all objects.",
        "gather",
        gathers=("masks",),
        parameters=("max_size_fraction", "keep_intermediates", "strict"),
    ),
    Stage(
        "flow_errors",
        "Compute the flow errors of whole objects.",
        "blocks",
        over="blocks",
        memory=estimate.of_flow_errors,
        requests=Traffic.objects,
        rounds=("numba",),
        parameters=("strict",),
        asked=when.judges_flows,
    ),
    Stage(
        "filter_planes",
        "Decide which objects in planes to keep (mode stitch).",
        "gather",
        parameters=("flow_threshold",),
        modes=("stitch",),
    ),
    Stage(
        "overlaps",
        "Count the pixels shared by objects in neighbouring planes (mode stitch).",
        "blocks",
        over="blocks",
        memory=estimate.of_own,
        requests=Traffic.neighbours,
        modes=("stitch",),
    ),
    Stage(
        "stitch",
        "Join the objects of neighbouring planes (mode stitch).",
        "gather",
        gathers=("overlaps",),
        parameters=("stitch_threshold",),
        modes=("stitch",),
    ),
    Stage(
        "cell_holes",
        "Find the holes in cells joined from planes (mode stitch).",
        "blocks",
        over="blocks",
        memory=estimate.of_cell_holes,
        requests=Traffic.objects,
        modes=("stitch",),
    ),
    Stage(
        "relabel",
        "Decide which cells to keep, and number them.",
        "gather",
        parameters=(
            *("flow_threshold", "min_size", "min_median_fraction", "border", "expand"),
            "upscale",
        ),
    ),
    Stage(
        "process_cells",
        "Apply a function to the cells of blocks.",
        "blocks",
        over="blocks",
        memory=estimate.of_blocks(seen=50, flat=120),
        requests=Traffic.processed,
        reads_image=True,
        rounds=("numpy",),
        parameters=("process", "process_options", "strict"),
        asked=when.processes,
    ),
    Stage(
        "cell_overlaps",
        "Count the pixels shared by nuclei and the cells of a second network.",
        "blocks",
        over="blocks",
        input="cells",
        memory=estimate.of_own,
        requests=Traffic.pairs,
        asked=when.has_second,
    ),
    Stage(
        "match",
        "Match nuclei to the cells of a second network.",
        "gather",
        gathers=("cell_overlaps",),
        asked=when.has_second,
    ),
    Stage(
        "export",
        "Write regions of the final label image.",
        "blocks",
        over="regions",
        memory=estimate.of_regions,
        requests=Traffic.export,
    ),
    Stage(
        "measure",
        "Measure the intensities and shapes of the cells in blocks.",
        "blocks",
        over="blocks",
        memory=estimate.of_bands,
        requests=Traffic.measure,
        reads_image=True,
        rounds=("numpy", "numba"),
        parameters=("measure", "strict"),
        asked=when.measures,
    ),
    Stage(
        "outlines",
        "Trace the outlines of the cells in blocks.",
        "blocks",
        over="blocks",
        memory=estimate.of_outlines,
        requests=Traffic.outlines,
        asked=when.traces,
    ),
    Stage(
        "finish",
        "Complete the pyramid and write the results.",
        "gather",
        gathers=("export", "measure", "outlines"),
        results=True,
        reads_image=True,
        parameters=(
            *("mask_tiff", "measure", "table", "thumbnails", "keep_intermediates"),
            "strict",
        ),
    ),
)

PLAN = Stage(
    "plan",
    "Create the store for a plan.",
    "small",
    phase="plan",
    parameters=(
        *("mode", *SELECTION, "channels", "channel_merge", "markers", "identity", "voxel_size"),
        *("pixel_size", "model", "diameter", "anisotropy", "normalize", "percentiles"),
        *("percentile_sampling", "normalize_tile", "lowhigh", "invert", "foreground_min"),
        *("tile_overlap", "augment", "skip_empty", "precision", "use_gpu", "block_shape"),
        *("slab_planes", "rectangle", "max_memory", "flow_precision", "max_tasks", "task_minutes"),
        "ome_zarr_version",
        "label_files",
    ),
    uses=("pipeline.sized",),
    includes=tuple(stage for stage in GRAPH if stage.folder),
)
"""What the graph depends on. What the plan alone decides has no other key than the plan, so the
code of stages that write such arrays is part of it."""

WHOLE = Stage(
    "whole",
    "Run all stages of a small image in one task.",
    "network",
    phase="whole",
    input="network",
    reads_image=True,
    results=True,
    parameters=tuple(dict.fromkeys(name for stage in GRAPH for name in stage.parameters)),
    includes=GRAPH,
)
"""All of the graph, where no stage has several tasks and nothing comes from a second network."""

AFTER = (
    Stage(
        "publish",
        "Verify the results before they are published.",
        "small",
        phase="after",
        calls="verify",
    ),
    Stage(
        "verify",
        "Compare the results with their checksums.",
        "small",
        phase="after",
        calls="verify",
    ),
    Stage("picture", "Draw outlines of the cells.", "small", phase="after", calls="picture"),
    Stage("evaluate", "Score against a reference.", "small", phase="after", calls="evaluate"),
    Stage(
        "report",
        "Make the report of a sample.",
        "small",
        phase="after",
        calls="report",
        asked=when.reports,
    ),
    Stage(
        "reports",
        "Make the report of all samples.",
        "small",
        phase="after",
        calls="report",
        asked=when.reports,
    ),
    Stage(
        "attach", "Copy labels into the image.", "small", phase="after", asked=when.goes_into_image
    ),
)
"""Stages on results that are complete."""

EVERY = (*BEFORE, PLAN, *GRAPH, WHOLE, *AFTER)
"""All that the workflow has a process for."""
STAGES = {stage.name: stage for stage in GRAPH}
"""Stages of the graph by name."""
SCATTERED = tuple(stage.name for stage in GRAPH if stage.over)
"""Names of those whose work is split into tasks, in the order of the data's way."""
GATHERED = frozenset(name for stage in GRAPH for name in stage.gathers)
"""Names of those whose receipts another stage takes; all others gather their own."""

OF_GATHERS = ("strict",)
"""Parameters that the gather of a stage that gathers its own receipts takes, if the stage does."""

PLANNED = {stage.folder: stage.name for stage in GRAPH if stage.folder}
"""Names of the stages that write the arrays of a plan, by the folders of these."""


PARAMETERS: dict[str, tuple[str, ...]] = {
    **{stage.command: stage.parameters for stage in EVERY if stage.parameters},
    # no task takes them: they are those of the run that finds the cells, or only ask for a stage
    "cell_overlaps": SECOND,
    "attach": ("labels_in",),
    "report": ("report",),
}
"""Parameters by the command of a stage; those that change results run it and later stages again."""


def follows_summary(stage: Stage) -> bool:
    """Whether a stage cannot be the first that leaves a summary: some before it always does."""
    before = GRAPH[: GRAPH.index(stage)]
    return any(s.over is None and s.modes == MODES and s.asked is always for s in before)


def gathered(stage: Stage, mode: str, params: Parameters) -> list[str]:
    """Names of the stages whose receipts a gather takes, of those that these parameters ask for.

    Parameters
    ----------
    stage
        The gather.
    mode
        The mode.
    params
        All parameters, or the gather's own: what decides of stages that may be left out while it
        runs is among them.
    """
    mine = (STAGES[name] for name in stage.gathers)
    return [s.name for s in mine if s.asked is stage.asked or s.is_asked(mode, params)]


def commands() -> dict[str, Stage]:
    """The stages by the names of their commands, the last first; the passes have one."""
    return {stage.command: stage for stage in reversed(EVERY) if not stage.calls}


def memory_of(plan: Plan, params: Parameters | None = None) -> dict[str, int]:
    """Bytes that a task of each stage with tasks needs; parameters as of `Stage.projected`."""
    return {s.name: s.projected(plan, params) for s in GRAPH if s.memory and plan.tasks[s.name]}
