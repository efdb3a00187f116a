"""The graph of stages, and the workflow that has to be the same one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tests.sources import includes

import rerun
from terapose.core.params import Parameters, check
from terapose.pipeline.graph import (
    AFTER,
    BEFORE,
    EVERY,
    GATHERED,
    GRAPH,
    PARAMETERS,
    PLAN,
    SCATTERED,
    STAGES,
    follows_summary,
    gathered,
    memory_of,
)
from terapose.pipeline.stage import Stage

ROOT = Path(__file__).parents[2]
PROCESSES = ROOT / "modules" / "processes"
MAIN, SEGMENT = ((ROOT / name).read_text() for name in ("main.nf", "modules/segment.nf"))
PHASES = [
    (ROOT / "modules" / "phases" / f"{Path(one.place).name}.nf").read_text()
    for one in includes(SEGMENT + MAIN)
    if Path(one.place).parent.name == "phases"
]
INCLUDES = {
    one.name: (one.what, Path(one.place).name)
    for text in (MAIN, *PHASES)
    for one in includes(text)
    if Path(one.place).parent.name == "processes"
}
"""Of each process its generic one, and the file that has it."""


def test_the_page_says_which_processes_are_in_a_phase() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([A-Z]+)` \| [^|]+ \| [^|]+ \| ([A-Z, _]+) \|$", page, re.MULTILINE)
    files = (ROOT / "modules" / "phases").glob("*.nf")
    assert [name.lower() for name, _ in rows][-1] == "look" and len(rows) == len([*files])
    for name, processes in rows:
        text = (ROOT / "modules" / "phases" / f"{name.lower()}.nf").read_text()
        assert f"workflow {name} {{" in text
        included = {
            one.name
            for one in includes(text)
            if Path(one.place).parent.name == "processes" and not one.name.startswith("GATHER_")
        }
        # the three passes of the network
        passes = {re.sub("^GRADIENTS_.*", "GRADIENTS", one) for one in included}
        assert passes == {*processes.split(", ")}, name


def process_of(name: str) -> str:
    """Name of the process of a stage."""
    return name.upper().replace("-", "_")


def gather_of(name: str) -> str:
    """Name of the process that gathers a stage without a gather of its own."""
    return f"GATHER_{name.removeprefix('gradients-').upper()}"


def test_no_stage_has_the_name_of_another_column_of_the_lines_of_check() -> None:
    """There each stage has a column of its name, with its code and parameters."""
    (header,) = re.findall(r"printf '(sample.*)\\\\n' >", (PROCESSES / "check.nf").read_text())
    # two stages have columns of their own kind: the words of fetch, and the plan itself
    others = {*header.split(r"\\t")} - {"fetch", "plan"}
    assert others == {
        *("sample", "source", "address", "identity", "network", "max_memory", "memory"),
        *("runs", "stale"),
    }
    names = {name for stage in EVERY for name in (stage.name, stage.command)}
    assert not others & (names | {f"gather-{name}" for name in names})


def test_stages_are_told_apart_and_gathered_once() -> None:
    assert len(STAGES) == len(GRAPH)
    gathered = [name for stage in GRAPH for name in stage.gathers]
    assert len(gathered) == len(GATHERED) and set(SCATTERED) >= GATHERED
    order = list(STAGES)
    assert all(order.index(n) < order.index(s.name) for s in GRAPH for n in s.gathers)
    assert len({stage.name for stage in EVERY}) == len(EVERY)
    assert {s.phase for s in GRAPH} == {"work"} and PLAN.phase == "plan"
    assert {s.phase for s in BEFORE} == {"before"} and {s.phase for s in AFTER} == {"after"}
    assert set(PARAMETERS) <= {stage.command for stage in EVERY}
    for stage in GRAPH:
        assert (stage.memory is None) == (stage.requests is None) == (stage.over is None)
    taken = {name for stage in GRAPH for name in stage.parameters}
    assert taken <= set(Parameters.model_fields)


@pytest.mark.parametrize("stage", EVERY, ids=lambda stage: stage.name)
def test_every_stage_has_its_process(stage: Stage) -> None:
    what, file = INCLUDES[process_of(stage.name)]
    text = (PROCESSES / f"{file}.nf").read_text()
    assert re.search(rf"process {what} \{{.*?label '{stage.label}'\n", text, re.DOTALL)
    command = "${job.stage}" if what in ("BLOCKS", "DECIDE") else stage.command
    called = stage.calls or f"stage {command}"
    # wherever it runs, and whatever of its environment a container passes on
    if f"terapose.py --threads ${{task.cpus}} {called} " not in text:
        # several samples, a line each (modules/packs.nf); of some it comes on standard input
        assert re.search(r"\b(one_by_one|script_of)\(task\b", text)
        assert any(f'"{called} ' in lines for lines in (text, *PHASES))
    assert ("${job.args}" in text) == (stage.phase in ("work", "whole"))
    assert ("--task ${job.task}" in text) == bool(stage.over)
    if stage.over and stage.name not in GATHERED:
        assert INCLUDES[gather_of(stage.name)] == ("GATHER", "gather")


def test_the_workflow_has_no_other_processes() -> None:
    wanted = {process_of(stage.name) for stage in EVERY}
    wanted |= {gather_of(name) for name in SCATTERED if name not in GATHERED}
    assert set(INCLUDES) == wanted | {"REFUSE"}  # it ends a sample, and is no stage


def test_the_workflow_has_the_order_of_the_graph() -> None:
    order = list[str]()
    for text in sorted(PHASES, key=lambda t: _first(t)):
        body = text[text.index("    main:") :]
        calls = re.findall(r"^    ([A-Z_]+)\(", body, re.MULTILINE)
        order += [call for call in calls if call in {process_of(stage.name) for stage in EVERY}]
    # where no image is given, one is made
    assert "        SIMULATE(" in MAIN
    assert ["SIMULATE", *order] == [process_of(stage.name) for stage in EVERY]


def _first(phase: str) -> int:
    """Place of a phase's first stage among all."""
    names = [stage.name for stage in EVERY]
    here = {one.name for one in includes(phase)}
    return min(n for n, name in enumerate(names) if process_of(name) in here)


@pytest.mark.parametrize("name", [s.name for s in GRAPH if s.gathers and s.name != "finish"])
def test_gathers_take_the_receipts_of_their_stage(name: str) -> None:
    (gathered,) = STAGES[name].gathers
    asked = rf"{process_of(name)}\(\w+\(\w+, '{name}', [\w.]+, receipts\(\w+, '{gathered}', "
    assert any(re.search(asked + rf"{process_of(gathered)}\.out\)\)\)", text) for text in PHASES)


def test_all_stages_after_percentiles_follow_a_summary() -> None:
    assert [s.name for s in GRAPH if not follows_summary(s)] == [
        "convert",
        "intensities",
        "percentiles",
    ]


def test_a_gather_takes_receipts_of_what_was_asked_for() -> None:
    """Its own parameters decide which: a workflow gives it no others."""
    finish, match = STAGES["finish"], STAGES["match"]
    names = ("measure", "table")
    for given, wanted in (
        ({}, ["export", "measure"]),
        ({"measure": "none"}, ["export"]),
        ({"table": "geojson"}, ["export", "measure", "outlines"]),
    ):
        params = check(given)
        own = Parameters.model_construct(**{name: getattr(params, name) for name in names})
        assert gathered(finish, "2d", params) == gathered(finish, "2d", own) == wanted
    assert gathered(match, "2d", Parameters.model_construct()) == ["cell_overlaps"]
    assert gathered(STAGES["relabel"], "3d", check({})) == []


def test_what_decides_whose_receipts_a_gather_takes_is_given_to_it() -> None:
    """Else it would take a stage for one that nobody asked for, and leave its receipts out."""
    pairs = [(stage, STAGES[name]) for stage in GRAPH for name in stage.gathers]
    others = [(s, one) for s, one in pairs if one.asked is not s.asked]
    assert {one.name for _, one in others} >= {"measure", "outlines"}
    for stage, one in others:
        assert rerun.deciding(one) <= {*PARAMETERS[stage.command]}, (stage.name, one.name)


def test_the_workflow_knows_the_stages() -> None:
    text = (ROOT / "modules" / "stages.nf").read_text()
    scattered, gathers, reading, around = (
        re.findall(r"'([\w-]+)'", names) for names in re.findall(r"return \[(.*?)\]", text, re.S)
    )
    assert tuple(scattered) == SCATTERED
    assert gathers == [name for name in STAGES if name not in SCATTERED]
    assert reading == [stage.name for stage in GRAPH if stage.reads_image]
    assert around == [stage.name for stage in (*BEFORE, *AFTER)]


def sources_of(stage: Stage) -> list[str]:
    """Of the module of a stage, and of those it imports that read for stages."""
    package, texts, left = ROOT / "bin" / "terapose", {}, [f"stages/{stage.command}.py"]
    while left:
        name = left.pop()
        if name not in texts and (package / name).exists():
            texts[name] = (package / name).read_text()
            imports = r"^from terapose\.(intermediates[\w.]*) import ([\w, ]+|\()"
            for place, names in re.findall(imports, texts[name], re.MULTILINE):
                folder = place.replace(".", "/")
                left += [f"{folder}.py", *(f"{folder}/{one}.py" for one in names.split(", "))]
    return list(texts.values())


@pytest.mark.parametrize("stage", GRAPH, ids=lambda stage: stage.name)
def test_only_stages_that_read_the_image_are_given_it(stage: Stage) -> None:
    """A task finds no image that is not staged for it, and one that is is compared with -resume."""
    pattern = re.compile(r"\bjob\.(read_\w+|image|full_image|seen_image)\b")
    assert any(map(pattern.search, sources_of(stage))) == stage.reads_image
    what, file = INCLUDES[process_of(stage.name)]
    takes = "path(image, " in (PROCESSES / f"{file}.nf").read_text()
    # these two take the image only of stages that read it (`image_for` in modules/tasks.nf)
    assert takes if what in ("BLOCKS", "DECIDE") else takes == stage.reads_image


@pytest.mark.parametrize("mode", ["3d", "2d", "stitch"])
def test_what_runs_is_what_has_tasks_and_is_asked_for(
    tmp_path: Path, tiny_model: Path, mode: str
) -> None:
    from tests.fields import prepared  # brings Cellpose, which is slow to import

    shape = (1, 20, 20) if mode == "2d" else (4, 20, 20)
    image = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint16)
    plan, _ = prepared(tmp_path, tiny_model, image, mode=mode)
    assert set(plan.tasks) == set(SCATTERED) >= {n for n in SCATTERED if plan.tasks[n]}
    assert set(memory_of(plan)) == {n for n in SCATTERED if plan.tasks[n]}

    def running(**params: object) -> set[str]:
        given = check({"mode": mode, "flow_threshold": 0, "measure": "none", **params})
        return {stage.name for stage in GRAPH if stage.runs(plan, given)}

    least = running()
    stitched = {"filter_planes", "overlaps", "stitch", "cell_holes"}
    assert (stitched <= least) == (mode == "stitch") and (mode == "stitch" or not stitched & least)
    assert ("gradients-zy" in least) == (mode == "3d") and "convert" not in least
    assert running(flow_threshold=0.4) - least == {"flow_errors"}
    assert running(measure="all") - least == {"measure"}
    assert running(table="csv,geojson") - least == {"outlines"}
    if mode == "2d":
        second = {"measure": "shape", "cell_channels": "1"}
        assert running(**second) - running(measure="shape") == {"cell_overlaps", "match"}
