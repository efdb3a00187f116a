"""Random sequences of runs, each cut and disturbed in another way, come to the same bytes.

``TERAPOSE_SOAK=FIRST:STOP`` runs seeds with `STEPS` steps each and prints what happened; a seed
says it all, so a failure is replayed with the one seed. `make soak SEEDS=0:100` does that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.reliability import page
from tests.reliability.world import CUTS, KINDS, THRESHOLDS, Trouble, World

STEPS = 20
POINTS = 440
"""About as many as a run of the smallest blocks passes."""

happened: Counter[str] = Counter()
_truths: dict[tuple[int, float], dict[str, bytes]] = {}


class Machine(RuleBasedStateMachine):
    """Runs in one folder; `model` is set before it is used."""

    model: Path

    # hypothesis begins with the simplest sequences, in which nothing happens to any run
    @initialize(chosen=st.integers(0, 2**32 - 1))
    def begin(self, chosen: int) -> None:
        """A folder with an image, unless nothing was chosen at random."""
        self.steps = 0
        if not chosen:
            return
        self.folder = tempfile.TemporaryDirectory(prefix="terapose-soak-")
        self.world = World(Path(self.folder.name), self.model, _truths)

    # one rule: hypothesis leaves rules out at random, and steps that run nothing break nothing
    @rule(
        cut=st.sampled_from(CUTS),
        threshold=st.sampled_from(THRESHOLDS),
        between=st.sampled_from(("", "damage", "remove")),
        kind=st.sampled_from(("", *KINDS)),
        at=st.integers(1, POINTS),
        seed=st.integers(0, 2**16),
        order=st.integers(0, 99),
    )
    def run(
        self,
        cut: dict[str, Any],
        threshold: float,
        between: str,
        kind: str,
        at: int,
        seed: int,
        order: int,
    ) -> None:
        """A run, cut in some way, that something happens to, after something is damaged."""
        if not hasattr(self, "world"):
            return
        self.world.cut, self.world.threshold = cut, threshold
        if between and self.world.stores:
            self.world.damage(seed, remove=between == "remove")
            happened[f"{between} between runs"] += 1
        said = self.world.run(Trouble(kind, at, seed), order)
        assert kind or said == "done", said
        ending = said if said in ("done", "killed") else "a sentence"
        happened[f"{kind or 'undisturbed'}: {ending}"] += 1
        self.steps += 1

    def teardown(self) -> None:
        """In the end all is as if nothing had happened."""
        if hasattr(self, "world"):
            if self.world.out.exists():
                self.world.settle()
                happened["settled"] += 1
                happened[f"sequences of {self.steps} runs"] += 1
            self.folder.cleanup()


def soak(model: Path, first: int, stop: int, steps: int) -> None:
    """Run seeds; each is a sequence of its own."""
    machine = type("Soaked", (Machine,), {"model": model})
    for number in range(first, stop):
        chosen = settings(
            max_examples=3,
            stateful_step_count=steps + 1,  # the first makes the folder
            deadline=None,
            database=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(seeded(number)(machine), settings=chosen)


def kill_everywhere(model: Path, folder: Path) -> None:
    """Kill before and after each kind of write and rename, wherever in the run that is."""
    world = World(folder, model, _truths)
    world.cut = CUTS[1]
    names = record_points(world, folder / "points")
    assert len(names) > 20
    for name, count in names.items():
        shutil.rmtree(world.out)
        assert world.run(Trouble("kill", (name, count // 2)), order=count) == "killed", name
        world.settle()


def record_points(world: World, place: Path) -> dict[str, int]:
    """Names of all points that a run passes, and how often."""

    class Recording(Trouble):
        def point(self, world: World, name: str) -> None:
            with place.open("a") as file:
                file.write(f"{name}\n")

    assert world.run(Recording()) == "done"
    return Counter(place.read_text().splitlines())


def in_fresh_process(*words: str | Path | int) -> int:
    """Do it in a process in which no network has run: torch's threads do not survive a fork.

    Returns its exit status.
    """
    command = [sys.executable, "-m", "tests.reliability.test_machine", *map(str, words)]
    return subprocess.run(command).returncode


@pytest.mark.slow
def test_whatever_happens_the_bytes_are_the_same(tiny_model: Path) -> None:
    first, stop = os.environ.get("TERAPOSE_SOAK", "0:5").split(":")
    steps = STEPS if "TERAPOSE_SOAK" in os.environ else 4
    assert in_fresh_process("soak", tiny_model, first, stop, steps) == 0


@pytest.mark.slow
def test_a_kill_at_any_point(tiny_model: Path, tmp_path: Path) -> None:
    assert in_fresh_process("kill", tiny_model, tmp_path) == 0


def main(kind: str, model: str, *words: str) -> None:
    """What the tests run in a process of its own."""
    if kind == "kill":
        kill_everywhere(Path(model), Path(words[0]))
        return
    first, stop, steps = map(int, words)
    if steps == STEPS:
        page.is_new(range(first, stop))  # before hours are spent
    soak(Path(model), first, stop, steps)
    if steps == STEPS:
        page.add(range(first, stop), happened)
    print(f"\nseeds {first} to {stop - 1}, {steps} steps each:")
    for what, count in sorted(happened.items()):
        print(f"  {count:6} {what}")


if __name__ == "__main__":
    main(*sys.argv[1:])
