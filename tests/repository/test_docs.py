"""The documentation against the code: files that are made, links, commands, parameters, targets."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import schema
from rerun import MCMICRO, rerun
from terapose.cli import group
from terapose.cli.options import Planning
from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.pipeline.arguments import arguments
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.stage import MODES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "contrib").rglob("*.md"),
    ]
)


STAGES = [stage.command for stage in GRAPH]
PLACES = {"<stage>", "NAME"}
"""Words of a page in whose place a reader puts the name of a stage."""
RULE = re.DOTALL | re.MULTILINE


def spans(text: str) -> Iterator[str]:
    """Lines of fenced blocks, continued lines joined, and code within sentences."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, RULE)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=RULE)
    yield from (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose))


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Page and words of every command line in the documentation that starts with a program.

    Those in a container of Apptainer are among them.
    """
    found = []
    for page in PAGES:
        for span in spans(page.read_text()):
            line = re.sub(r"^apptainer exec \S+ ", "", span.strip())
            if line.startswith(f"{program} "):
                found.append((page.name, shlex.split(line, comments=True)[1:]))
    return found


def options_of(words: list[str]) -> tuple[click.Command, dict[str, Any]]:
    """The command that words call, and its options as they are given; nothing is run.

    Raises
    ------
    click.UsageError
        If there is no such command, option or choice, or there are too many words.
    """
    command: click.Command = group
    context = click.Context(group)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, parent=context, info_name=name)
    given, rest, _ = command.make_parser(context).parse_args(words)
    if rest:
        raise click.UsageError(f"too many words: {shlex.join(rest)}")
    for option in command.params:
        if given.get(option.name) is not None and not isinstance(option.type, click.Path):
            option.type_cast_value(context, given[option.name])
    return command, given


def every_command() -> Iterator[tuple[str, click.Command]]:
    """All commands by the words that call them."""
    places: list[tuple[str, click.Command]] = [("terapose", group)]
    while places:
        name, command = places.pop()
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for own in command.list_commands(context):
                found = command.get_command(context, own)
                assert found is not None
                places.append((f"{name} {own}", found))


def test_examples_in_help_have_all_that_their_commands_require() -> None:
    for name, shown in every_command():
        text = (shown.epilog or "").replace("\\\n", " ")
        lines = [line.strip() for line in text.splitlines() if line.strip().startswith("terapose ")]
        assert lines and all(line.startswith(f"{name} ") for line in lines), name
        for line in lines:
            command, given = options_of(shlex.split(line.partition(" < ")[0])[1:])
            required = [param.name for param in command.params if param.required]
            assert not [own for own in required if given.get(str(own)) in (None, ())], line


def settings(words: list[str]) -> dict[str, Any]:
    """Parameters in a command line of the workflow, flags as True."""
    found: dict[str, Any] = {}
    for word, value in zip(words, [*words[1:], "-"], strict=True):
        if word.startswith("--"):
            name, _, own = word[2:].partition("=")
            found[name] = own or (True if value.startswith("-") else value)
    return found


def test_schema_and_parameter_page_are_in_step() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "schema.py", "--check"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{ROOT / 'bin'}"},
    )
    assert done.returncode == 0, done.stderr


def test_every_parameter_is_in_the_schema_as_it_is_in_the_code() -> None:
    document = json.loads((ROOT / "nextflow_schema.json").read_text())
    assert [r["$ref"] for r in document["allOf"]] == [f"#/$defs/{g}" for g in document["$defs"]]
    assert document["$id"] and document["unevaluatedProperties"] is False
    known = {k: v for g in document["$defs"].values() for k, v in g["properties"].items()}
    assert set(known) == set(Parameters.model_fields) | set(schema.WORKFLOW)
    given = {k: v["default"] for k, v in known.items() if "default" in v}
    assert check({k: v for k, v in given.items() if k not in schema.WORKFLOW}) == check({})
    for name in Parameters.model_fields:
        for sign, step in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1)):
            if sign in known[name]:
                with pytest.raises(InputError, match=f"{name}: got"):
                    check({name: known[name][sign] + step})


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("min_size", "relabel"),
        ("cellprob_threshold", "follow"),
        ("stitch_threshold", "stitch"),
        ("diameter", "plan"),
        ("model", "fetch"),
        ("measure", "measure"),
        ("cell_model", "cell_overlaps"),
        ("batch_size", "nothing"),
        ("keep_intermediates", "nothing"),
        (
            "flow_threshold",
            "relabel; filter_planes in mode stitch; flow_errors if it is switched on or off",
        ),
        ("table", "finish; outlines if it is switched on or off"),
        ("outdir", "publish"),
        ("publish_mode", "publish"),
        ("publish_layout", "relabel"),
    ],
)
def test_what_a_change_runs_again(name: str, stage: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|.*", (ROOT / "docs" / "parameters.md").read_text(), re.M)
    assert row.endswith(f" | {stage} |")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("flow_threshold", 0.2, 0.3),
        ("flow_threshold", 0.2, 0),
        ("table", "csv", "csv,h5ad"),
        ("table", "csv", "csv,geojson"),
        ("measure", "all", "none"),
        ("upscale", False, True),
        ("min_size", 3, 4),
        ("expand", 1, 2),
    ],
)
def test_a_change_reaches_first_the_stage_of_the_page(
    mode: str, name: str, one: object, other: object
) -> None:
    """What CHECK says of the stages to the workflow differs from this stage on, in each mode."""

    def told(value: object) -> dict[str, str]:
        params = check({name: value})
        given = {s.command: arguments(params, s.parameters) for s in GRAPH}
        return {s.command: given[s.command] for s in GRAPH if s.is_asked(mode, params)}

    first, second = told(one), told(other)
    found = next(s for s in STAGES if first.get(s) != second.get(s))
    usual, *others = rerun(name).split("; ")
    conditions = dict(part.split(" ", 1) for part in others)
    assert found == usual or found in conditions
    if found in conditions:
        switched = (found in first) != (found in second)
        assert conditions[found] == (
            "if it is switched on or off" if switched else f"in mode {mode}"
        )


def test_layout_of_mcmicro_sets_these_parameters() -> None:
    text = (ROOT / "modules" / "sources.nf").read_text()
    (given,) = re.findall(r"publish_layout == 'mcmicro' \? \[(.+?)\] :", text)
    assert tuple(re.findall(r"(\w+):", given)) == MCMICRO


def test_workflow_keeps_to_itself_what_the_schema_says_it_does() -> None:
    text = (ROOT / "modules" / "samples.nf").read_text()
    own = re.search(r"own_parameters\(\) \{\s*return \[(.*?)\]", text)
    assert own and set(re.findall(r"'(\w+)'", own[1])) == set(schema.WORKFLOW)


def test_parameters_of_configuration_and_params_file_are_known() -> None:
    known = set(Parameters.model_fields) | set(schema.WORKFLOW)
    given = json.loads((ROOT / "params.json").read_text())
    assert set(given) <= known
    check({k: v for k, v in given.items() if k not in schema.WORKFLOW})
    for path in (ROOT / "nextflow.config", *(ROOT / "conf").glob("*.config")):
        text = path.read_text()
        named = set(re.findall(r"^params\.(\w+)\s*=", text, re.MULTILINE))
        for block in re.findall(r"^params \{(.*?)^\}", text, RULE):
            named |= set(re.findall(r"^\s*(\w+)\s*=", block, re.MULTILINE))
        assert named <= known, path.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{page.name}: {link}"


def test_commands_of_the_documentation_parse() -> None:
    found = [(page, words) for page, words in commands("terapose") if not set(words) & PLACES]
    assert len(found) > 10
    for page, words in found:
        if words[0].startswith("-"):
            continue
        line = f"{page}: terapose {shlex.join(words)}"
        try:
            command, given = options_of(words)
            if isinstance(command, Planning):
                check({k: v for k, v in given.items() if k in Parameters.model_fields})
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")
        except InputError as error:
            pytest.fail(f"{line}: {error}")


@pytest.mark.parametrize(
    "line",
    [
        "segmnt a.tif out",
        "segment a.tif out --diametre 12",
        "segment a.tif out more.tif",
        "segment a.tif out --publish-mode move",
        "stage follow --taks 0",
        "evaluate a.zarr b.zarr --thresholds half",
    ],
)
def test_a_command_that_would_fail_does_not_parse(line: str) -> None:
    with pytest.raises(click.UsageError):
        options_of(shlex.split(line))


def test_parameters_of_the_documentation_are_known() -> None:
    known = set(Parameters.model_fields) | set(schema.WORKFLOW)
    others = ("labsyspharm/mcmicro",)
    found = [(page, words) for page, words in commands("nextflow run") if words[1] not in others]
    assert found
    for page, words in found:
        line = f"{page}: nextflow {shlex.join(words)}"
        given = settings(words)
        assert set(given) <= known, line
        try:
            check({k: v for k, v in given.items() if k not in schema.WORKFLOW})
        except InputError as error:
            pytest.fail(f"{line}: {error}")
        for name in set(given) & set(schema.WORKFLOW):
            allowed = schema.WORKFLOW[name].get("enum", [given[name]])
            assert given[name] in allowed, line


def test_profiles_of_the_documentation_are_in_the_configuration() -> None:
    block = re.search(r"^profiles \{(.*?)^\}", (ROOT / "nextflow.config").read_text(), RULE)
    assert block
    profiles = set(re.findall(r"^    (\w+) \{", block[1], re.MULTILINE))
    named = {
        name
        for page in PAGES
        for names in re.findall(r"(?<!-)-profile ([\w,]+)", page.read_text())
        for name in names.split(",")
    }
    assert "slurm" in named and named <= profiles


def test_scripts_of_the_documentation_have_these_options() -> None:
    found = [(page, words) for page, words in commands("python") if "benchmarks" in " ".join(words)]
    assert len(found) > 10
    for page, words in found:
        line = f"{page}: python {shlex.join(words)}"
        script = ROOT / (words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0])
        if not script.exists():
            script = script.with_suffix("") / "__main__.py"
        assert script.exists(), line
        source = script.read_text()
        for word in words:
            if word.startswith("--"):
                assert f'"{word}"' in source, f"{line}: no option {word}"


def test_targets_of_the_documentation_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[0] for _, words in commands("make")}
    assert "demo" in named and named <= targets


def test_libraries_that_round_are_those_of_the_stages() -> None:
    """The table of what depends on the kind of machine."""
    page = (ROOT / "docs/hpc.md").read_text()
    table = page.partition("### Machines of several kinds")[2].partition("###")[0]
    rows = re.findall(r"^\| ([^|]+) \| (PyTorch|NumPy|numba):", table, re.MULTILINE)
    shown = {
        (stage.split(" with ")[0].strip(), library.removeprefix("Py").lower())
        for stages, library in rows
        for stage in re.split("[,;]", stages)
    }
    assert shown == {(stage.command, library) for stage in GRAPH for library in stage.rounds}


def test_each_stage_is_in_the_table_of_the_store() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    table = page.partition("## The store")[2].partition("\n\n## ")[0]
    shown = set(re.findall(r"^\| `([a-z_]+)-(?:<key>|yx`)", table, re.MULTILINE))
    # these write what relabel names, the converted image, and the results
    elsewhere = {"export", "convert", "finish"}
    assert shown == {stage.command for stage in GRAPH} - elsewhere
