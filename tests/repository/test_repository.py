"""What stands around the code: releases, citation, hooks, workflows, forms, types."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.sources import parsed

import common
import rerun
import schema
import terapose

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(
    path
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
    if path.name != "config.yml"
)


def document(path: Path) -> Any:
    """Return what a YAML file holds."""
    return yaml.safe_load(path.read_text())


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in document(workflow)["jobs"].values():
        yield from job["steps"]


def test_one_version_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    citation = document(ROOT / "CITATION.cff")
    release = re.search(
        r"^## (\d\S+) - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert release is not None
    assert terapose.__version__ == citation["version"] == release[1] == version
    assert str(citation["date-released"]) == release[2]


def test_citation_names_authors_and_licence_of_the_package() -> None:
    citation = document(ROOT / "CITATION.cff")
    project = PYPROJECT["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    assert "doi" not in citation
    readme = (ROOT / "README.md").read_text()
    for reference in citation["references"]:
        assert f"doi.org/{reference['doi']})" in readme


def test_changelog_is_in_versions_and_groups() -> None:
    headings = re.findall(r"^(#{2,}) (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ("##", "Unreleased")
    for level, text in headings:
        if level == "##":
            assert text == "Unreleased" or re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", text)
            groups: list[str] = []
        else:
            groups.append(text)
            order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
            assert [g for g in order if g in groups] == groups, f"{text}: twice, or out of order"


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "bin" / "terapose" / "py.typed").read_bytes() == b""


def test_hooks_use_what_make_setup_installs() -> None:
    hooks = [
        hook
        for repo in document(ROOT / ".pre-commit-config.yaml")["repos"]
        for hook in repo["hooks"]
        if repo["repo"] == "local"
    ]
    assert {"ruff", "ruff-format", "mypy", "nextflow-lint"} <= {hook["id"] for hook in hooks}
    assert len(document(ROOT / ".pre-commit-config.yaml")["repos"]) == 1
    pinned = (ROOT / "requirements" / "dev.txt").read_text()
    for hook in hooks:
        assert hook["language"] == "system"
        program, *words = hook["entry"].split()
        if program == "make":
            assert set(word for word in words if not word.startswith("-")) <= TARGETS
        else:
            tool = Path(program)
            assert tool.parent == Path(".venv/bin")
            assert tool.name == "python" or re.search(rf"^{tool.name}==", pinned, re.MULTILINE)
        re.compile(hook.get("files", ""))


def test_the_hook_of_the_pages_sees_what_they_are_made_from() -> None:
    (repo,) = document(ROOT / ".pre-commit-config.yaml")["repos"]
    (hook,) = (hook for hook in repo["hooks"] if hook["id"] == "parameters")
    made = {schema.SCHEMA, schema.PAGE, schema.CLUSTERS, schema.ELSEWHERE}
    tools = {ROOT / "tools" / f"{module.__name__}.py" for module in (schema, rerun, common)}
    imported = {
        ROOT.joinpath("bin", *node.module.split(".")).with_suffix(".py")
        for tool in tools
        for node in ast.walk(parsed(tool))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("terapose.")
    }
    assert ROOT / "bin/terapose/pipeline/graph.py" in imported
    for path in made | tools | imported:
        assert re.search(hook["files"], path.relative_to(ROOT).as_posix()), path
    assert not re.search(hook["files"], "bin/terapose/pipeline/plan.py")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_there_is(workflow: Path) -> None:
    assert document(workflow)["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"])
        else:
            program, *words = step["run"].split()
            if program == "make":
                assert set(words) <= TARGETS
            else:
                assert (ROOT / (words[0] if program == "python" else program)).is_file()


def test_macos_has_every_python_that_is_promised() -> None:
    jobs = document(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert jobs["macos"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert [s["run"] for s in jobs["macos"]["steps"] if "run" in s] == ["make test-fast"]
    assert [s["run"] for s in jobs["linux"]["steps"] if "run" in s] == [".ci/run"]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_forms_are_forms(form: Path) -> None:
    body = document(form)
    assert set(body) == {"name", "description", "labels", "body"}
    names = [part.get("id") for part in body["body"] if part["type"] != "markdown"]
    assert all(names) and len(set(names)) == len(names)
    for part in body["body"]:
        wanted = "value" if part["type"] == "markdown" else "label"
        assert isinstance(part["attributes"][wanted], str)
        if part["type"] == "dropdown":
            assert len(set(part["attributes"]["options"])) == len(part["attributes"]["options"])


def test_what_is_made_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name in ("/site/", "/htmlcov/", "/.coverage", "/.coverage.*", "/.mkdocs/"):
        assert name in ignored
    assert document(ROOT / "mkdocs.yml")["site_dir"] == "site"
    assert PYPROJECT["tool"]["coverage"]["html"]["directory"] == "htmlcov"


def test_shipped_networks_are_small() -> None:
    """At most 10 MB each and 20 MB in all, so that a clone stays small."""
    sizes = {path.name: path.stat().st_size for path in (ROOT / "assets").glob("*.pth")}
    assert {"nuclei-large.pth", "nuclei-small.pth"} <= {*sizes}
    assert max(sizes.values()) < 10**7
    assert sum(sizes.values()) < 2 * 10**7
