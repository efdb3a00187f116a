"""How times and memory of steps grow, and what a trace of Nextflow says."""

from __future__ import annotations

import pytest

from terapose.apps.profile.steps import ALL, Step, fit, groups, totals
from terapose.apps.profile.trace import parse, seconds, size, stage_of
from terapose.core.errors import InputError
from terapose.pipeline.graph import SCATTERED

HEADER = "task_id\thash\tname\tstatus\texit\tsubmit\tduration\trealtime\t%cpu\tpeak_rss"
TASKS = (
    ("SEGMENT:PREPARE:CHECK (s)", "COMPLETED", "13.8s", "141.6 MB"),
    ("SEGMENT:PREPARE:FETCH (auto-5b68364e)", "COMPLETED", "2.5s", "26.4 MB"),
    ("SEGMENT:FLOWS:FOLLOW (s 0)", "COMPLETED", "2m 26s", "1 GB"),
    ("SEGMENT:FLOWS:FOLLOW (s 11)", "CACHED", "4s", "1.5 GB"),
    ("SEGMENT:FLOWS:FOLLOW (s 3)", "FAILED", "9h", "90 GB"),
    ("SEGMENT:NETWORK:GRADIENTS_YX (s yx 0)", "COMPLETED", "800ms", "-"),
    ("SEGMENT:NETWORK:GRADIENTS_YX (s 2 yx 0)", "COMPLETED", "3s", "1 MB"),
    ("SEGMENT:NETWORK:GATHER_YX (s gradients-yx)", "COMPLETED", "5s", "2 MB"),
    ("SEGMENT:FLOWS:GATHER_FOLLOW (s 2 follow)", "COMPLETED", "6s", "3 MB"),
    ("SEGMENT:FLOWS:SEEDS (s 2)", "COMPLETED", "8s", "4 MB"),
    ("SEGMENT_CELLS:FLOWS:FOLLOW (s 0)", "COMPLETED", "1h", "7 GB"),
    ("SEGMENT:FLOWS:FOLLOW (s 2 0)", "COMPLETED", "7s", "2 GB"),
)
TRACE = "\n".join(
    [
        HEADER,
        *(
            f"{n}\t8b/0b3907\t{name}\t{status}\t0\t2026-11-28 00:56:56\t9s\t{time}\t7%\t{memory}"
            for n, (name, status, time, memory) in enumerate(TASKS, 1)
        ),
        "",
    ]
)
"""As Nextflow 24.10 writes it."""


def test_tasks_of_a_sample_are_added_up() -> None:
    found = parse(TRACE.splitlines(keepends=True), "trace.txt", ["s", "s 2"], SCATTERED)
    assert found["s"].keys() == {"check", "follow", "gradients-yx", "gather of yx"}
    follow = found["s"]["follow"]
    assert (follow.number, follow.seconds, follow.memory) == (2, 150.0, 1536 * 2**20)
    assert found["s"]["gradients-yx"].memory == 0
    # a sample whose name ends as that of a task
    took = {name: tasks.seconds for name, tasks in found["s 2"].items()}
    assert took == {"gradients-yx": 3, "follow": 7, "gather of follow": 6, "seeds": 8}


@pytest.mark.parametrize(
    ("text", "value"),
    [("2m 26s", 146), ("1h 2m 3s", 3723), ("800ms", 0.8), ("2d", 172800), ("1500", 1.5), ("-", 0)],
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"), [("1 GB", 2**30), ("0", 0), ("310 B", 310), ("-", 0), ("4096", 4096)]
)
def test_amounts_of_memory(text: str, value: int) -> None:
    assert size(text) == value


def test_processes_have_the_names_of_stages() -> None:
    assert stage_of("GRADIENTS_ZY") == "gradients-zy"
    assert stage_of("GATHER_FOLLOW") == "gather of follow"
    assert stage_of("FLOW_ERRORS") == "flow_errors"


def test_a_file_that_is_no_trace_is_refused() -> None:
    with pytest.raises(InputError, match="not a Nextflow trace"):
        parse(["name\tstatus\n"], "trace.txt", [], [])


def test_powers_are_found() -> None:
    found = fit((n, 3 * n**0.7) for n in (10, 100, 1000))
    assert found is not None
    assert found.factor == pytest.approx(3) and found.exponent == pytest.approx(0.7)
    assert fit([(10, 1.0), (10, 2.0)]) is None
    assert fit([(10, 1.0), (20, None)]) is None


def _run(result: str, edge: int, network: str = "a") -> list[Step]:
    """A run whose network takes time as voxels, and whose last stage only memory."""
    n = edge**3
    shape = (edge, edge, edge)
    return [
        Step(result, "network", "3d", network, shape, 4, n / 1000, n / 500, 1000),
        Step(result, "finish", "3d", network, shape, 1, 0.01, 0.01, 10 * edge**2),
    ]


def test_growth_is_that_of_all_runs_with_a_mode_and_network() -> None:
    steps = [*_run("small", 10), *_run("large", 40), *_run("mid", 20), *_run("other", 80, "b")]
    first, second = groups(steps)
    assert (first.mode, first.network, first.runs, second.runs) == ("3d", "a", 3, 1)
    network, finish, whole = first.growth
    assert network.step.result == "large" and whole.step.name == ALL
    assert network.seconds is not None and network.seconds.exponent == pytest.approx(1)
    assert network.memory is not None and network.memory.exponent == pytest.approx(0)
    assert network.share == pytest.approx(64 / 64.01)
    # too short to say anything
    assert finish.seconds is None
    assert finish.memory is not None and finish.memory.exponent == pytest.approx(2 / 3)
    assert second.growth[0].seconds is None


def test_totals_are_sums_of_times_and_the_largest_memory() -> None:
    (whole,) = totals(_run("one", 10))
    assert whole.tasks == 5 and whole.memory == 1000
    assert whole.seconds == pytest.approx(1.01)
    assert whole.processor_seconds == pytest.approx(2.01)
    assert whole.task_seconds is None
