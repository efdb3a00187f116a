"""The layers of the package and the one direction of imports: never up (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sources import parsed

import terapose

PACKAGE = Path(terapose.__file__).parent
ROOMS = {
    "core": (),
    "io": ("core",),
    "algorithms": ("core", "io.compiled"),
    "networks": ("core", "io", "algorithms"),
    "pipeline": ("core", "io", "algorithms", "networks"),
    "intermediates": ("core", "io", "algorithms", "networks", "pipeline"),
    "results": ("core", "io", "algorithms", "pipeline", "intermediates"),
    "stages": ("core", "io", "algorithms", "networks", "pipeline", "intermediates", "results"),
    "apps": ("core", "io", "algorithms", "networks"),
    "api": ("core", "io", "networks", "pipeline", "results", "stages", "apps"),
    "cli": (
        "core",
        "io",
        "networks",
        "pipeline",
        "intermediates",
        "results",
        "stages",
        "apps",
        "api",
    ),
}
"""What each room imports, besides itself."""


def imported(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, anywhere in it, without ``terapose.``."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("terapose.") for n in names if n.split(".")[0] == "terapose")


def modules(room: str) -> dict[str, Path]:
    """Files of a room by name."""
    files = sorted((PACKAGE / room).rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def test_the_page_says_what_rooms_import() -> None:
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text()
    lines = page.partition("| layer | content | imports |\n")[2].splitlines()[1:]
    rows = [line.strip("| ").split(" | ") for line in lines[: len(ROOMS)]]
    assert [row[0].strip("`") for row in rows] == list(ROOMS)
    for place, (name, _, imports) in enumerate(rows):
        named = set(re.findall("`([^`]+)`", imports))
        if imports.startswith("those above"):
            named = {*ROOMS} & {row[0].strip("`") for row in rows[:place]} - named
        assert named == set(ROOMS[name.strip("`")]), name


def test_all_code_is_in_a_room() -> None:
    # a folder that has moved leaves its bytecode behind
    found = {path.name for path in PACKAGE.iterdir() if path.is_file() or any(path.glob("**/*.py"))}
    assert found - {"__init__.py", "py.typed"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_goes_up(room: str) -> None:
    allowed = tuple(f"{name}." for name in (room, *ROOMS[room]))
    up = {
        f"{name} imports {other}"
        for name, path in modules(room).items()
        for other in imported(path)
        if not f"{other}.".startswith(allowed)
    }
    assert not up


@pytest.mark.parametrize("name", modules("stages"))
def test_no_stage_imports_a_stage(name: str) -> None:
    path = modules("stages")[name]
    assert not [other for other in imported(path) if other.startswith("stages")]


def test_packages_are_light() -> None:
    """Importing a module brings its packages along: they import nothing heavy themselves."""
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent.name == "cli":
            continue  # click, which every command needs
        for node in parsed(path).body:
            if isinstance(node, ast.Import):
                raise AssertionError(f"{path} imports {node.names[0].name}")
            if isinstance(node, ast.ImportFrom):
                outside = not str(node.module).startswith("terapose.")
                assert not outside or node.module in ("__future__", "typing"), path


def test_tests_are_in_the_rooms_of_what_they_test() -> None:
    folder = Path(__file__).parents[1]
    besides = {"equivalence", "property", "workflow", "reliability", "integration", "repository"}
    files = sorted(folder.rglob("test_*.py"))
    assert {path.parent.name for path in files} <= {*ROOMS, *besides}
    names = [path.name for path in files]
    assert len(names) == len(set(names)), "pytest imports modules by name"
