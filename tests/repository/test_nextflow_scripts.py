"""What can be read off the workflow's files themselves.

Nothing from outside reaches a script unquoted. What a script may hold bare: files that Nextflow
stages under names of the workflow's own, numbers and names that a plan or the workflow itself
gives, and `job.args`, words that `terapose check` has quoted. The pipeline tests try what this
promises (tests/workflow/test_hostile.py).

A process that is included under many names does what its job says, so each name has to be given
the jobs of the stage that it names.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.sources import includes

from terapose.core.geometry import AXES
from terapose.pipeline.graph import EVERY
from terapose.results.report.own import NAMES, SIGNS
from terapose.results.verify import MCMICRO

ROOT = Path(__file__).parents[2]
PROCESSES = sorted((ROOT / "modules" / "processes").glob("*.nf"))
PHASES = sorted((ROOT / "modules" / "phases").glob("*.nf"))
OWN = {"args", "axis", "job.args", "job.stage", "job.task", "task.cpus"}
TOGETHER = {"jobs.size()", "one_by_one(task)", "job.before", "n"}
"""What scripts of several samples hold: the number of these, a call, and the name of a summary."""


def _bare(text: str) -> list[str]:
    """What stands in a text of Groovy in `${...}` without being quoted."""
    return [e for e in re.findall(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}", text) if e[:7] != "quoted("]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda path: path.stem)
def test_scripts_hold_nothing_bare(process: Path) -> None:
    text = process.read_text()
    body = text[text.index("    script:") :]
    staged = set(re.findall(r"\bpath\((\w+)", text)) | set(re.findall(r"\bpath (\w+)", text))
    options = dict(re.findall(r"def (\w+) = (.+)", body))
    assert not [e for value in options.values() for e in _bare(value)]
    scripts = re.findall(r'"""(.*?)"""', body, re.DOTALL)
    # commands for several samples, a line each, which a shell does not see (modules/packs.nf)
    lines = re.findall(r'^        "([^"].+)"$', body, re.MULTILINE)
    assert len(scripts) + len(lines) == 2
    assert bool(lines) == ("script_of(task, jobs" in body)
    for script in (*scripts, *lines):
        assert set(_bare(script)) <= staged | OWN | TOGETHER | set(options)
        # quotes around a value are broken by one in it
        assert not re.search(r"""['"]\$\{""", script)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda path: path.stem)
def test_stubs_make_what_processes_declare(process: Path) -> None:
    text = process.read_text()
    stub = text.partition("    stub:\n")[2]
    assert '"""' in stub
    assert not _not_made(text.partition("    output:\n")[2].partition("    script:")[0], stub)


def _not_made(declared: str, stub: str) -> list[str]:
    """Files that a process has to leave, by its outputs, and that its stub does not name."""
    names = re.findall(r"""path\(['"]([^'"]+)['"](?!, arity: '0)""", declared)
    patterns = {name: re.escape(name).replace(r"\*", r"\S*") for name in names}
    return [n for n, made in patterns.items() if not re.search(rf"(?<![\w.]){made}(?![\w.])", stub)]


def test_reader_of_stubs_sees_what_is_not_made() -> None:
    declared = (
        """tuple val(x), path('a*/b', arity: '0..*'), path('tasks/*.csv'), path("${n}.json")"""
    )
    assert not _not_made(declared, "touch tasks/\\$stage.csv ${n}.json")
    assert _not_made(declared, "touch tasks/a.tsv ${n}.json.gz") == ["tasks/*.csv", "${n}.json"]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda path: path.stem)
def test_what_came_on_standard_input_is_no_word_of_a_command(process: Path) -> None:
    """It may hold credentials, and others see the words of commands; printf is the shell's own."""
    text = process.read_text()
    script = text[text.index("    script:") : text.index("    stub:")]
    read = re.findall(r"read -r (\w+)|(\w+)=\\\$1", script)
    names = [name for both in read for name in both if name]
    assert names or process.stem != "fetch"
    lines = [line for line in script.splitlines() if "terapose.py" in line]
    for line in lines:
        called = line[line.index("terapose.py") :]
        assert "$(cat" not in called
        assert not [name for name in names if f"${name}" in called]


def test_reader_of_scripts_sees_what_is_bare() -> None:
    assert _bare("a ${b} '${c.d}' ${quoted(e)} ${quoted(\"${f}/g\")} ${h.map { i }}") == [
        "b",
        "c.d",
        "h.map { i }",
    ]


def test_command_of_a_stage_is_that_of_the_graph() -> None:
    text = (ROOT / "modules" / "tasks.nf").read_text()
    (pattern,) = re.findall(r"return stage\.replaceFirst\(/(.+)/, ''\)", text)
    assert pattern == f"-({'|'.join(AXES)})$"
    assert all(re.sub(pattern, "", stage.name) == stage.command for stage in EVERY)


def test_results_lie_where_they_are_verified() -> None:
    text = (ROOT / "modules" / "outdir.nf").read_text()
    (layout,) = re.findall(r"publish_layout == 'mcmicro' \? \"(.+)\" : name\n", text)
    assert layout.replace("${name}", "*") == MCMICRO


GENERIC = {"BLOCKS", "DECIDE", "GATHER", "GRADIENTS"}
_CALL = re.compile(r"^    ([A-Z_]+)\(\s*(\w+)\(\w+, '([\w-]+)'", re.MULTILINE)
_STAGE_OF = {f"GRADIENTS_{axis}": f"gradients-{axis.lower()}" for axis in ("YX", "ZX", "ZY")}
_STAGE_OF |= {f"GATHER_{axis}": f"gradients-{axis.lower()}" for axis in ("YX", "ZX", "ZY")}
_GIVES = {
    "BLOCKS": "blocks",
    "DECIDE": "decision",
    "GATHER": "gathering",
    "GRADIENTS": "passes",
}


def _misnamed(text: str) -> set[str]:
    """Names of generic processes in a phase that are not given the jobs of their own stage."""
    generic = {one.name: one.what for one in includes(text) if one.what in GENERIC}
    right = {
        name
        for name, gives, stage in _CALL.findall(text)
        if name in generic
        and gives == _GIVES[generic[name]]
        and stage == _STAGE_OF.get(name, name.removeprefix("GATHER_").lower())
    }
    return set(generic) - right


@pytest.mark.parametrize("phase", PHASES, ids=lambda path: path.stem)
def test_each_name_is_given_its_own_stage(phase: Path) -> None:
    assert not _misnamed(phase.read_text())


def test_every_process_file_has_one_process_that_is_used() -> None:
    used = {
        (one.what, Path(one.place).name) for phase in PHASES for one in includes(phase.read_text())
    }
    made = {
        (name, path.stem)
        for path in PROCESSES
        for name in re.findall(r"^process (\w+) \{$", path.read_text(), re.MULTILINE)
    }
    assert len(made) == len(PROCESSES)
    assert made - used == {("SIMULATE", "simulate")}  # of main.nf


def _places(text: str) -> list[str]:
    """What each statement of a file includes from."""
    return re.findall(r"^include \{[^}]*\} from '([^']+)'$", text, re.MULTILINE)


def test_no_file_is_included_twice_by_another() -> None:
    """Nextflow compiles a file anew for each statement that includes it."""
    for file in (ROOT / "main.nf", *(ROOT / "modules").rglob("*.nf")):
        places = _places(file.read_text())
        assert len(places) == len(set(places)), file
    twice = "include { A } from './x'\ninclude {\n    B ;\n    C as D\n} from './x'\n"
    assert _places(twice) == ["./x", "./x"]


def test_reader_of_phases_sees_wrong_names() -> None:
    include = "include { BLOCKS as PEAKS } from '../processes/blocks'\n"
    assert not _misnamed(f"{include}    PEAKS(blocks(runs, 'peaks', before))\n")
    assert _misnamed(f"{include}    PEAKS(blocks(runs, 'masks', before))\n") == {"PEAKS"}
    assert _misnamed(f"{include}    PEAKS(decision(runs, 'peaks', before, left))\n") == {"PEAKS"}
    assert _misnamed(include) == {"PEAKS"}


def test_reports_are_known_by_the_same_signs() -> None:
    text = (ROOT / "modules" / "outdir.nf").read_text()
    signs = dict(re.findall(r"'(report[\w.]+)': '(.*)'", text))
    known = {name: SIGNS[name] for name in NAMES}
    assert {name: sign.replace("\\n", "\n").encode() for name, sign in signs.items()} == known


def test_services_that_need_an_image_are_the_profiles_of_services() -> None:
    """Those that take it from conf/cluster.config, and a file that names another executor."""
    config = (ROOT / "nextflow.config").read_text()
    found = re.findall(
        r"^    '?([\w-]+)'? \{\n"
        r"        includeConfig 'conf/cluster\.config'\n"
        r"        includeConfig 'conf/(\w+)\.config'\n",
        config,
        re.MULTILINE,
    )
    for _, file in found:
        assert re.search(r"^    executor +=", (ROOT / f"conf/{file}.config").read_text(), re.M), (
            file
        )
    (listed,) = re.findall(
        r"def services = \[(.*?)\]", (ROOT / "modules" / "sources.nf").read_text()
    )
    assert re.findall(r"'([\w-]+)'", listed) == [name for name, _ in found] != []
