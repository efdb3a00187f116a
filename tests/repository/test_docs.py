"""The documentation against the code: files that are made, links, commands, parameters, targets."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import schema
from terapose.cli import group
from terapose.core.errors import InputError
from terapose.core.params import Parameters, check
from terapose.pipeline.graph import PARAMETERS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def spans(text: str) -> Iterator[str]:
    """Lines of fenced blocks, continued lines joined, and code within sentences."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose))


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Page and words of every command line in the documentation that starts with a program."""
    found = []
    for page in PAGES:
        for span in spans(page.read_text()):
            if span.strip().startswith(f"{program} "):
                found.append((page.name, shlex.split(span.strip(), comments=True)[1:]))
    return found


def options(words: list[str]) -> set[str]:
    """Names of options, as parameters are called."""
    return {w[2:].partition("=")[0].replace("-", "_") for w in words if w.startswith("--")}


def command_of(name: str) -> tuple[click.Command, click.Context]:
    """A command of the group and a context to parse its words in."""
    context = click.Context(group)
    command = group.get_command(context, name)
    assert command is not None, f"no command {name}"
    return command, click.Context(command, parent=context, info_name=name)


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
    known = {k: v for g in document["$defs"].values() for k, v in g["properties"].items()}
    assert set(known) == set(Parameters.model_fields) | set(schema.WORKFLOW)
    given = {k: v["default"] for k, v in known.items() if "default" in v}
    assert check({k: v for k, v in given.items() if k not in schema.WORKFLOW}) == check({})
    for name in Parameters.model_fields:
        for sign, step in (("minimum", -1), ("exclusiveMinimum", 0), ("maximum", 1)):
            if sign in known[name]:
                with pytest.raises(InputError, match=f"{name}: got"):
                    check({name: known[name][sign] + step})


def test_what_a_change_runs_again() -> None:
    assert schema.rerun("min_size") == "relabel"
    assert schema.rerun("cellprob_threshold") == "follow"
    assert schema.rerun("diameter") == "plan"
    assert schema.rerun("batch_size") == schema.rerun("keep_intermediates") == "nothing"
    assert set(map(schema.rerun, Parameters.model_fields)) <= {*PARAMETERS, "fetch", "nothing"}


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
        for block in re.findall(r"^params \{(.*?)^\}", text, re.DOTALL | re.MULTILINE):
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
    found = [(page, words) for page, words in commands("terapose") if "<stage>" not in words]
    assert len(found) > 10
    for page, words in found:
        if words[0].startswith("-"):
            continue
        command, context = command_of(words[0])
        try:
            _, rest, order = command.make_parser(context).parse_args(words[1:])
        except click.UsageError as error:
            pytest.fail(f"{page}: terapose {shlex.join(words)}: {error.format_message()}")
        assert not rest, f"{page}: terapose {shlex.join(words)}: too many words"
        assert order or len(words) == 1


def test_parameters_of_the_documentation_are_known() -> None:
    known = set(Parameters.model_fields) | set(schema.WORKFLOW)
    others = ("labsyspharm/mcmicro",)
    found = [(page, words) for page, words in commands("nextflow run") if words[1] not in others]
    assert found
    for page, words in found:
        assert options(words) <= known, f"{page}: nextflow {shlex.join(words)}"


def test_targets_of_the_documentation_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[0] for _, words in commands("make")}
    assert "demo" in named and named <= targets
