"""A stage is known by the code that it runs: an edit reaches the stages that import it alone."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.command import Terapose

import terapose
from terapose.pipeline import code
from terapose.pipeline.code import code_of, modules_of
from terapose.pipeline.graph import GRAPH, STAGES
from terapose.pipeline.job import stage_key
from terapose.pipeline.plan import PLANNING

NAMES = sorted({stage.command for stage in GRAPH})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that is taken for it."""
    copy = tmp_path / "terapose"
    source = Path(terapose.__file__).parent
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "_ROOT", copy)
    forget()
    yield copy
    forget()


def forget() -> None:
    """What was read of the package is read anew."""
    for function in (code.code_of, code.package_digest, code._imports):
        function.cache_clear()


def changed(package: Path, *files: str) -> set[str]:
    """Stages whose code is another one after files were edited; "plan" is that of plans."""
    modules = {"plan": PLANNING, **{name: (f"stages.{name}",) for name in NAMES}}
    before = {name: code_of(*own) for name, own in modules.items()}
    for file in files:
        with (package / file).open("a") as module:
            module.write("# a comment\n")
    forget()
    return {name for name, was in before.items() if code_of(*modules[name]) != was}


def test_the_copy_is_the_package(package: Path) -> None:
    assert changed(package) == set()


@pytest.mark.parametrize(
    "file",
    ["apps/picture.py", "apps/evaluate.py", "cli/segment.py", "api/runner.py", "pipeline/local.py"],
)
def test_what_no_stage_imports_changes_none(package: Path, file: str) -> None:
    whole = code.package_digest()
    assert changed(package, file) == set()
    assert code.package_digest() != whole


def test_what_is_laid_out_otherwise_is_laid_out_again_and_no_more(package: Path) -> None:
    files = ("results/publishing.py", "results/thumbnails/cut.py", "io/tables/geojson.py")
    assert changed(package, *files) == {"finish"}


def test_texts_and_the_graph_change_nothing(package: Path) -> None:
    pipeline = (f"pipeline/{name}.py" for name in ("estimate", "graph", "stage", "state"))
    files = ("core/errors.py", "core/version.py", *pipeline)
    assert changed(package, *files) == set()


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


def test_what_all_read_with_changes_all(package: Path) -> None:
    assert changed(package, "io/images/model.py") == {*NAMES, "plan"}


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
        found = code._imports(module.removesuffix(".__init__"))
        assert {n for n in wanted if code._path_of(n).is_file()} <= found, module


def test_a_version_is_a_key_of_its_own() -> None:
    stage = STAGES["follow"]
    assert replace(stage, version=2).code != stage.code


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
        # the graph knows parameters by name; their values are part of the keys
        known = modules_of(f"stages.{name}") | code._SILENT | modules_of("core.params")
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
