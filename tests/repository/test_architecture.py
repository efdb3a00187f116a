"""The layers of the package and the one direction of imports: never up (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sources import parsed

import terapose
from terapose.pipeline.graph import GRAPH, PLAN

PACKAGE = Path(terapose.__file__).parent
DOCS = PACKAGE.parents[1] / "docs"
ROOMS = {
    "core": (),
    "io": ("core",),
    "algorithms": ("core", "io.compiled"),
    "networks": ("core", "io", "algorithms"),
    "pipeline": ("core", "io", "algorithms", "networks"),
    "intermediates": ("core", "io", "algorithms", "networks", "pipeline"),
    "results": ("core", "io", "algorithms", "pipeline", "intermediates"),
    "stages": ("core", "io", "algorithms", "networks", "pipeline", "intermediates", "results"),
    "apps": ("core", "io", "algorithms", "networks", "results"),
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
    page = (DOCS / "architecture.md").read_text()
    lines = page.partition("| layer | content | imports |\n")[2].splitlines()[1:]
    rows = [line.strip("| ").split(" | ") for line in lines[: len(ROOMS)]]
    assert [row[0].strip("`") for row in rows] == list(ROOMS)
    for place, (name, _, imports) in enumerate(rows):
        named = set(re.findall("`([^`]+)`", imports))
        if imports.startswith("those above"):
            named = {*ROOMS} & {row[0].strip("`") for row in rows[:place]} - named
        assert named == set(ROOMS[name.strip("`")]), name


def test_every_stage_is_on_the_page_and_in_its_diagram() -> None:
    page, diagram = ((DOCS / f"architecture.{kind}").read_text() for kind in ("md", "svg"))
    drawn = re.findall('class="name"[^>]*>([^<]+)<', diagram)
    names = [stage.name for stage in (*GRAPH, PLAN)]
    assert {name.lower().replace(" ", "-") for name in drawn} == {*names, "check", "fetch"}
    described = set(re.findall(r"\*\*(\w+)\*\*", page))
    assert {name.partition("-")[0] for name in names} <= described


def test_pictures_are_written_in_one_place() -> None:
    """There a disk that is full is one sentence, and a picture is there whole or not at all."""
    saving = [path for path in PACKAGE.rglob("*.py") if ".savefig(" in path.read_text()]
    assert [path.relative_to(PACKAGE).as_posix() for path in saving] == ["apps/figures.py"]


def test_files_are_renamed_in_one_place() -> None:
    """There a rename is a point at which tests end the process, and replaces what has the name."""
    names = {"os.rename", "os.replace", "os.renames", "shutil.move"}
    for path in set(PACKAGE.rglob("*.py")) - {PACKAGE / "io" / "files.py"}:
        for node in ast.walk(parsed(path)):
            match node:
                case ast.ImportFrom(module="os" | "shutil" as module, names=imports):
                    assert not {f"{module}.{one.name}" for one in imports} & names, path
                # of a path: columns of a table are renamed by keywords, text has two words
                case ast.Call(func=ast.Attribute(attr="rename" | "replace"), args=[_], keywords=[]):
                    raise AssertionError(f"{path}:{node.lineno}")
                case ast.Call(func=ast.Attribute() as function):
                    assert ast.unparse(function) not in names, f"{path}:{node.lineno}"


def test_text_is_written_in_utf_8() -> None:
    """Whatever the locale is: files go from one machine to another."""
    for path in PACKAGE.rglob("*.py"):
        calls = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))
        for call in calls:
            name, given = ast.unparse(call.func), [keyword.arg for keyword in call.keywords]
            if name.endswith(".write_text") and name != "files.write_text":
                assert "encoding" in given, f"{path}:{call.lineno}"


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
    """Importing a module brings its packages along: they import nothing themselves."""
    # click, which every command needs; and the names of the API, imported when they are asked for
    busy = {PACKAGE, PACKAGE / "cli"}
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent not in busy:
            assert len(parsed(path).body) == 1 and ast.get_docstring(parsed(path)), path
    body = parsed(PACKAGE / "__init__.py").body
    assert not [one for one in body if isinstance(one, ast.Import)]
    froms = [one for one in body if isinstance(one, ast.ImportFrom)]
    assert {one.module for one in froms} == {"__future__", "typing", "terapose.core.version"}


@pytest.mark.parametrize("folder", ["bin", "benchmarks", "tools", "tests"])
def test_files_and_functions_can_be_read_at_once(folder: str) -> None:
    """As CONTRIBUTING.md has it: docstrings count in files, but not in functions."""
    for path in (PACKAGE.parents[1] / folder).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert _length(node) <= 60, f"{path}:{node.lineno} {node.name}"


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    described = ast.get_docstring(function) is not None
    skipped = (first.end_lineno or 0) - first.lineno + 1 if described else 0
    return (function.end_lineno or 0) - function.lineno + 1 - skipped


def test_tests_are_in_the_rooms_of_what_they_test() -> None:
    folder = Path(__file__).parents[1]
    besides = {"equivalence", "property", "workflow", "reliability", "integration", "repository"}
    files = sorted(folder.rglob("test_*.py"))
    assert {path.parent.name for path in files} <= {*ROOMS, *besides}
    names = [path.name for path in files]
    assert len(names) == len(set(names)), "pytest imports modules by name"
