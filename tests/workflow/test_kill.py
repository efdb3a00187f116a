"""Killed at random moments and started again: the same bytes as an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.workflow.conftest import Launches
from tests.workflow.launch import PATIENCE, ROOT, Launch, Run, environment, results, with_network

pytestmark = pytest.mark.slow

# a task for each stage
CUT = ("--block_shape", "7,20,24", "--slab_planes", 24, "--single_task", "false")
STAGES = ("intensities", "gradients-yx", "gradients-zx", "gradients-zy", "combine", "follow")
"""The first of those whose tasks are said to be done, in their order."""
SEED = int(os.environ.get("TERAPOSE_KILL_SEED", "0"))
ROUNDS = int(os.environ.get("TERAPOSE_KILL_ROUNDS", "1"))


def _kill_all(launch: Launch, run: Run, rng: random.Random) -> None:
    run.kill_all()


def _kill_engine(launch: Launch, run: Run, rng: random.Random) -> None:
    """Nextflow alone: the next run meets its orphaned tasks."""
    run.kill_engine()


def _kill_task(launch: Launch, run: Run, rng: random.Random) -> None:
    """A task alone: Nextflow runs it again."""
    assert launch.kill_task(rng), run.said


Kill = Callable[[Launch, Run, random.Random], None]
KILLS: tuple[Kill, ...] = (_kill_task, _kill_all, _kill_engine)


def _disturbed(launch: Launch, image: Path, kills: list[Kill], rng: random.Random) -> None:
    """Run until done, with each of the kills at a random moment."""
    words = ("--input", image, *CUT, "-resume")
    run = launch.start(*words)
    for kill in kills:
        if run.process.poll() is not None:
            run = launch.start(*words)
        # a run has about 21 tasks; those that earlier runs finished are cached
        assert run.wait_for(tasks=run.tasks + rng.randint(1, 3)), run.said
        # within the task that was started last, whatever machine this is
        time.sleep(rng.uniform(0, 0.5))
        kill(launch, run, rng)
    if run.wait().process.returncode:
        launch.done(*words)


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_killed_run_resumes_to_the_same_bytes(
    launches: Launches, image: Path, undisturbed: tuple[str, bytes], turn: int
) -> None:
    rng = random.Random(SEED + turn)
    launch = launches("kill")
    kills = [*KILLS, *rng.choices(KILLS[1:], k=1)]
    rng.shuffle(kills)
    _disturbed(launch, image, kills, rng)
    names = [kill.__name__ for kill in kills]
    assert results(launch.out / "nuclei") == undisturbed, names


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_killed_command_goes_on_to_the_same_bytes(
    image: Path, undisturbed: tuple[str, bytes], tmp_path: Path, turn: int
) -> None:
    rng = random.Random(SEED + turn)
    out = tmp_path / "out"
    words = [ROOT / "bin" / "terapose.py", "segment", image, out, "--jobs", 2]
    words += ["--block-shape", "7,20,24", "--slab-planes", "24", *with_network(())]
    command = [str(word) for word in words]
    # a moment after a stage, whatever machine this is
    for stage in sorted(rng.sample(range(len(STAGES)), 3)):
        with subprocess.Popen(
            command, env=environment(), start_new_session=True, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            said = next((line for line in process.stderr if line.startswith(STAGES[stage:])), None)
            assert said, "it ended before it was killed"
            time.sleep(rng.uniform(0, 0.2))
            os.killpg(process.pid, signal.SIGKILL)
    subprocess.run(command, env=environment(), check=True, timeout=PATIENCE)
    assert results(out) == undisturbed
