"""A stage is known by the code that it runs: an edit reaches the stages that import it alone."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.command import Terapose
from tests.formats import EXAMPLES, Example
from tests.synthetic import write_zarr

import terapose
from terapose.core.errors import InputError
from terapose.core.imports import path_of
from terapose.io.images.opening import open_image
from terapose.pipeline import code
from terapose.pipeline.code import modules_of
from terapose.pipeline.graph import AFTER, GRAPH, PLAN, STAGES, WHOLE
from terapose.pipeline.image_plan import reader_of
from terapose.pipeline.job import stage_key
from terapose.pipeline.normal_form import normal_form
from terapose.pipeline.stage import Stage

# of a copy nearly all modules are the same as in the last test
_normal_form = cache(normal_form)
NAMES = sorted({stage.command for stage in GRAPH})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that is taken for it."""
    copy = tmp_path / "terapose"
    source = Path(terapose.__file__).parent
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "_ROOT", copy)
    monkeypatch.setattr(code, "normal_form", _normal_form)
    forget()
    yield copy
    forget()


def forget() -> None:
    """What was read of the package is read anew."""
    for function in (code.code_of, code.package_digest, code._read):
        function.cache_clear()


def codes() -> dict[str, str]:
    """What tells the code of each stage from other code, and that of the plan."""
    return {stage.command: stage.code for stage in (*GRAPH, PLAN)}


def changed(package: Path, *files: str, edit: str = "EDITED = True\n") -> set[str]:
    """Stages whose code is another one after something was added to files."""
    before = codes()
    for file in files:
        with (package / file).open("a") as module:
            module.write(edit)
    forget()
    return {name for name, code in codes().items() if code != before[name]}


def test_the_copy_is_the_package(package: Path) -> None:
    assert changed(package) == set()


def test_what_is_said_changes_none(package: Path) -> None:
    """Every module gets another docstring, comments, and other line breaks."""
    whole, before = code.package_digest(), codes()
    keys = {name: stage_key(name, {}, "") for name in STAGES}
    for path in package.rglob("*.py"):
        source = re.sub(r"^import (\w+)$", r"import \1  # used", path.read_text(), flags=re.M)
        source = re.sub(r'^( *)"""(?=\w)', r'\1"""Another one\n\nthan "this":', source, flags=re.M)
        path.write_text(source.replace("\n\n\n", "\n\n# a comment: (\n\n"))
        ast.parse(path.read_text())
    forget()
    assert code.package_digest() != whole
    assert codes() == before
    assert {name: stage_key(name, {}, "") for name in STAGES} == keys


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("io/drivers.py", "the object store refuses, or cannot be reached"),
        ("stages/plan.py", "choose a work folder on a larger disk"),
        ("stages/follow.py", "a point moves farther than a displacement can store"),
        ("stages/relabel.py", "no cells found: the label image and the table are empty"),
        ("core/amounts.py", "TB"),
    ],
)
def test_a_mended_sentence_changes_none(package: Path, file: str, sentence: str) -> None:
    before, source = codes(), (package / file).read_text()
    assert source.count(f'"{sentence}"') == 1
    (package / file).write_text(source.replace(f'"{sentence}"', f'"{sentence}," "or worse"'))
    forget()
    assert codes() == before


def test_a_container_with_another_copy_is_refused(package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    code.check_same(copy)
    # not to be seen from here
    code.check_same(tmp_path / "nowhere")
    with (copy / "core" / "errors.py").open("a") as module:
        module.write("# edited")
    forget()
    with pytest.raises(InputError, match="another version of Terapose than the workflow; build it"):
        code.check_same(copy)


@pytest.mark.parametrize(
    "file",
    [
        *("apps/picture.py", "apps/evaluate/scores.py", "cli/segment.py", "api/runner.py"),
        *("pipeline/local.py", "pipeline/repair.py", "pipeline/running.py", "io/samples.py"),
        *("io/images/describe.py", "stages/check.py", "core/errors.py", "core/params.py"),
        *("core/version.py", "pipeline/estimate.py", "pipeline/graph.py", "pipeline/stage.py"),
        *("pipeline/state.py", "pipeline/handover.py", "pipeline/around.py", "pipeline/peak.py"),
        *("pipeline/needs.py", "pipeline/rates.py"),
    ],
)
def test_what_runs_describes_or_reports_changes_none(package: Path, file: str) -> None:
    whole = code.package_digest()
    # what is damaged is exported again by what runs tasks
    assert changed(package, file) <= {"finish"}
    assert code.package_digest() != whole


def test_what_is_laid_out_otherwise_is_laid_out_again_and_no_more(package: Path) -> None:
    files = ("results/publishing.py", "results/thumbnails/cut.py", "io/tables/geojson.py")
    assert changed(package, *files) == {"finish"}


def test_an_edited_report_changes_the_reports_alone(package: Path) -> None:
    files = sorted((package / "results/report").glob("*.py"))
    assert package / "results/report/sample_page.py" in files
    before = {stage.name: stage.code for stage in (WHOLE, *AFTER)}
    # `own` says which files are a report: what draws and scores knows them
    drawn = [str(file.relative_to(package)) for file in files if file.stem != "own"]
    assert changed(package, *drawn) == set()
    again = {stage.name for stage in (WHOLE, *AFTER) if stage.code != before[stage.name]}
    assert {"report", "reports"} <= again <= {"report", "reports", "evaluate", "picture"}
    assert changed(package, "results/report/own.py") == set()


@pytest.mark.parametrize(
    "file",
    [
        *("pipeline/planning.py", "pipeline/layout.py", "pipeline/checked.py"),
        *("pipeline/upscale.py", "stages/plan.py", "stages/convert.py", "stages/gradients.py"),
        *("pipeline/fitting.py", "io/images/channels.py", "io/images/model.py"),
        "networks/unet.py",
    ],
)
def test_what_makes_a_plan_changes_the_plan(package: Path, file: str) -> None:
    assert "plan" in changed(package, file)


def test_edited_planning_leaves_the_keys_of_stages(package: Path) -> None:
    assert changed(package, "pipeline/planning.py", "pipeline/layout.py") == {"plan"}


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("algorithms/flows/follow.py", {"follow"}),
        ("algorithms/flows/flow_error.py", {"flow_errors"}),
        ("networks/unet.py", {"gradients", "plan"}),
        ("algorithms/objects/moments.py", {"measure", "finish"}),
        ("stages/relabel.py", {"relabel"}),
    ],
)
def test_an_edited_kernel_changes_its_stages(package: Path, file: str, stages: set[str]) -> None:
    keys = {name: stage_key(name, {}, "") for name in STAGES}
    assert changed(package, file) == stages
    again = {name for name in STAGES if stage_key(name, {}, "") != keys[name]}
    assert {STAGES[name].command for name in again} == stages - {"plan"}


def test_a_number_in_a_kernel_is_code(package: Path) -> None:
    kernel = package / "algorithms/flows/follow.py"
    source = kernel.read_text().replace("2.0 / (length", "2.5 / (length")
    assert source != kernel.read_text()
    before = codes()
    kernel.write_text(source)
    forget()
    assert {name for name, code in codes().items() if code != before[name]} == {"follow"}


def test_what_all_read_with_changes_all(package: Path) -> None:
    assert changed(package, "io/images/model.py") == {*NAMES, "plan"}


@pytest.mark.parametrize("file", ["opening", "tiffs", "zarrs", "hdf5", "n5", "vendors", "imaris"])
def test_an_edited_reader_changes_plans_alone(package: Path, file: str) -> None:
    """And not that of the network, whatever the format: a plan names the reader of its image."""
    assert changed(package, f"io/images/{file}.py") == set()


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("zarr", {"zarrs", "zarr_codecs", "model"}),
        ("tif", {"tiffs", "tiff_planes", "tiff_files", "model"}),
    ],
)
def test_an_edited_reader_changes_the_plans_of_its_format(
    package: Path, tmp_path: Path, kind: str, files: set[str]
) -> None:
    pixels = np.zeros((4, 5), np.uint8)
    if kind == "tif":
        tifffile.imwrite(tmp_path / "image.tif", pixels)
    else:
        write_zarr(tmp_path / "image.zarr", pixels, dimension_names="yx")
    image = open_image(tmp_path / f"image.{kind}")
    tried = ("zarrs", "zarr_codecs", "tiffs", "tiff_planes", "tiff_files", "model", "bdv", "n5")
    before, found = reader_of(image), set()
    for name in tried:
        module = package / f"io/images/{name}.py"
        source = module.read_text()
        module.write_text(source + "EDITED = True\n")
        forget()
        if reader_of(image) != before:
            found.add(name)
        module.write_text(source)
    assert found == files
    forget()
    assert reader_of(image) == before


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.what)
def test_the_reader_is_what_reads(tmp_path: Path, example: Example) -> None:
    """What decodes an image is part of what was found of its reader."""
    image = open_image(example.write(tmp_path), **example.options)
    parts = [image.open_source, *type(image.open_source()).__mro__]
    names = {getattr(part, "func", part).__module__ for part in parts}
    own = {name.removeprefix("terapose.") for name in names if name.startswith("terapose.")}
    assert own <= modules_of(image.reader)


def test_imports_are_those_of_pythons_parser() -> None:
    for path in code._ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(code._ROOT).with_suffix("").parts)
        names = set[str]()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        wanted = (name.removeprefix("terapose.") for name in names if name.startswith("terapose."))
        found = code._read(module.removesuffix(".__init__")).imports
        assert {n for n in wanted if path_of(n, code._ROOT).is_file()} <= found, module


def test_a_version_is_a_key_of_its_own() -> None:
    stage = STAGES["follow"]
    assert replace(stage, version=2).code != stage.code


@pytest.mark.parametrize("stage", [None, *PLAN.includes], ids=lambda s: s.name if s else "plan")
def test_a_raised_version_changes_the_plan(stage: Stage | None) -> None:
    """That of the plan itself, and of each stage whose arrays have no key but the plan."""
    raised = replace(PLAN, version=2)
    if stage is not None:
        others = [replace(s, version=2) if s is stage else s for s in PLAN.includes]
        raised = replace(PLAN, includes=tuple(others))
    assert raised.code != PLAN.code
    assert {s.command for s in PLAN.includes} == {"convert", "gradients"}


def test_nothing_that_is_imported_is_missed() -> None:
    """What Python has loaded for a stage is among what was found in the source."""
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for known in [m for m in sys.modules if m.startswith('terapose')]:\n"
        "        del sys.modules[known]\n"
        "    importlib.import_module(f'terapose.stages.{name}')\n"
        "    print(name, *(m for m in sys.modules if m.startswith('terapose.')))\n"
    )
    bin_folder = Path(terapose.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, *NAMES, "plan"],
        cwd=bin_folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(NAMES) + 1
    for name, *loaded in lines:
        silent = {n for m in code._SILENT for n in modules_of(*code._read(m).imports)}
        known = modules_of(f"stages.{name}") | code._SILENT | silent
        assert set(loaded) <= {f"terapose.{module}" for module in (*known, "stages")}, name


def test_a_task_of_other_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text("{}")
    words = ("--plan", tmp_path / "plan.json", "--store", tmp_path, "--output", tmp_path / "o")
    run = Terapose(monkeypatch, capsys)
    for name, more in (("convert", ("--task", 0)), ("gather", ("--stage", "follow", tmp_path))):
        said = run.refuses("stage", name, *words, "--code", "1-abc", *more)
        assert "the code has changed since the run began; got 1-" in said
        assert "allowed: 1-abc; run again with -resume" in said
