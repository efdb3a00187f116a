"""Train the shipped network for as long as there is time: `python -m benchmarks.train_nuclei`.

1. Data and the part of it that is chosen by are those of `benchmarks.nuclei_data`; settings are
   those of `RECIPE`, or of one of the `TRIALS`, which differ from it in one thing each.
2. Runs go on where they were stopped: after each epoch there is a checkpoint beside the output
   (bit for bit, same machine) and a small one (`--from-small`, any machine). `--minutes` ends a
   piece after the epoch in which they are over; a killed piece loses one epoch.
3. What is simulated or composed is made anew every `MADE_EVERY` epochs, with `--workers` by other
   processes meanwhile; so are batches and the masks to score.
4. Every `SCORED_EVERY` epochs, and at the end, the averaged weights are scored on the validation
   part. The best of them are the output; nothing is chosen by what is held out.
5. Each epoch is a line of JSON in a `.jsonl` beside the weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from benchmarks.nuclei_data import Amounts, Each, Pool, read_pool, score

from terapose.errors import InputError
from terapose.networks import load
from terapose.networks.unet import UNet
from terapose.networks.weights import resolve
from terapose.train.batches import batches
from terapose.train.loop import Trainer
from terapose.train.saving import checkpoint_of, save_weights
from terapose.train.settings import Settings
from terapose.train.small import restore_small, save_small, small_of

SCORED_EVERY = 10
MADE_EVERY = 50
SHIPPED = "nuclei-small"

RECIPE = Settings(
    epochs=600,
    steps=100,
    widths=(1, 16, 32, 64, 96, 128),
    seed=7,
    precision="bfloat16",
    flow_weight=1.0,
    average=0.999,
    scales=(0.5, 2.0),
    varied=True,
    cycles=4,
)
TUNING = Settings(
    epochs=3, steps=100, rate=5e-4, seed=7, precision="bfloat16", average=0.98, init=SHIPPED
)
"""From the shipped weights, with the settings that made them: what trials are compared with."""


AMOUNTS = Amounts()


@dataclass(frozen=True)
class Trial:
    """Settings and data of a run; ``init`` of the settings names the weights it starts from."""

    settings: Settings
    composed: bool = True
    amounts: Amounts = AMOUNTS


FRESH = replace(RECIPE, epochs=6, cycles=1, average=0.98)
LARGE = replace(RECIPE, epochs=900, batch=64, cycles=1)
"""For a GPU."""
TRIALS = {
    "recipe": Trial(RECIPE),
    "large": Trial(LARGE),
    "large 20": Trial(replace(LARGE, widths=(1, 20, 40, 80, 120, 160))),
    "as shipped": Trial(TUNING, composed=False),
    "flow weight 0.2": Trial(replace(TUNING, flow_weight=0.2), composed=False),
    "flow weight 5": Trial(replace(TUNING, flow_weight=5.0), composed=False),
    "scales 0.5 to 2": Trial(replace(TUNING, scales=(0.5, 2.0)), composed=False),
    "varied": Trial(replace(TUNING, varied=True), composed=False),
    "composed": Trial(TUNING),
    "all": Trial(replace(TUNING, scales=(0.5, 2.0), varied=True)),
    "new 16,32,64,96": Trial(replace(FRESH, widths=(1, 16, 32, 64, 96))),
    "new 16,32,64,96,128": Trial(FRESH),
    "new 16,32,96,144": Trial(replace(FRESH, widths=(1, 16, 32, 96, 144))),
    "new 20,40,80,144": Trial(replace(FRESH, widths=(1, 20, 40, 80, 144))),
}


@dataclass(frozen=True)
class Machine:
    """Where to train and what helps.

    Attributes
    ----------
    device
        "cpu" or "cuda".
    workers
        Processes that draw batches.
    each
        ``map``, or that of other processes, to read, make and score.
    """

    device: str = "cpu"
    workers: int = 0
    each: Each = map


@contextmanager
def machine(device: str, workers: int) -> Iterator[Machine]:
    """Start the processes that help."""
    if not workers:
        yield Machine(device)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as executor:
        yield Machine(device, workers, executor.map)


def start(settings: Settings, device: str) -> Trainer:
    """A trainer of a new network, or of the shipped one."""
    if not settings.init:
        return Trainer(settings, device=device)
    network = load(resolve(settings.init), device="cpu", precision="float32").module.net
    assert isinstance(network, UNet)
    return Trainer(settings, network, device)


def train(
    trainer: Trainer,
    pool: Pool,
    output: Path,
    *,
    trial: Trial,
    on: Machine,
    seconds: float,
    report: Callable[[str], None],
) -> None:
    """Train until the end or until the time is over, with checkpoints.

    Parameters
    ----------
    trainer
        Fresh or restored.
    pool
        Data; what is made of it is replaced as the epochs go by.
    output
        Weights that scored best so far; files beside it have its name.
    trial
        What is made, and whether items composed of real nuclei take part.
    on
        Where to train.
    seconds
        After which no further epoch is begun.
    report
        Called with a line of JSON after each epoch.
    """
    begin = time.monotonic()
    settings = trainer.settings
    epochs = range(trainer.epoch, settings.epochs)
    drawn = following = None
    for epoch in epochs:
        if time.monotonic() - begin > seconds:
            break
        part = epoch // MADE_EVERY
        if drawn is None or epoch % MADE_EVERY == 0:
            made = following or pool.make(trial.amounts, settings.seed + part, on.each)
            pool.made = []  # frees the memory first
            pool.made = [item for items in made for item in items]
            following = pool.make(trial.amounts, settings.seed + part + 1, on.each)
            items = pool.training(composed=trial.composed)
            drawn = batches(items, settings, trainer.steps, workers=on.workers)
        clock = time.process_time(), time.monotonic()
        loss = trainer.run_epoch(drawn)
        line = {"epoch": float(trainer.epoch), "loss": loss}
        line["processor seconds"] = time.process_time() - clock[0]
        line["seconds"] = time.monotonic() - clock[1]
        if trainer.finished or trainer.epoch % SCORED_EVERY == 0:
            line |= score(trainer.scored, pool, on.each)
        trainer.record(line)
        if "choice" in line and line["choice"] >= best(trainer):
            save_weights(trainer.kept(), output)
        trainer.save(checkpoint_of(output))
        save_small(trainer, small_of(output))
        report(json.dumps({name: round(value, 4) for name, value in line.items()}))


def best(trainer: Trainer) -> float:
    """The highest "choice" of all epochs so far."""
    return max((line["choice"] for line in trainer.history if "choice" in line), default=0.0)


def main(words: Sequence[str] | None = None) -> None:
    """Parse the command line, read, train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--trial", choices=TRIALS, nargs="+", default=["recipe"])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of this piece")
    parser.add_argument("--from-small", type=Path, help="small checkpoint of another machine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes beside this one")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    given.output.mkdir(parents=True, exist_ok=True)
    with machine(given.device, given.workers) as on:
        pool = read_pool(given.data, seed=RECIPE.seed, each=on.each)
        for name in given.trial:
            output = given.output / f"{name.replace(' ', '-')}.pth"
            small, seconds = given.from_small, given.minutes * 60
            run(TRIALS[name], pool, output, on=on, small=small, seconds=seconds)


def run(
    trial: Trial, pool: Pool, output: Path, *, on: Machine, small: Path | None, seconds: float
) -> None:
    """Begin or go on with a trial, from its own checkpoint or else from a small one."""
    trainer = start(trial.settings, on.device)
    if checkpoint_of(output).exists():
        trainer.restore(checkpoint_of(output))
    elif small:
        restore_small(trainer, small)
    with output.with_suffix(".jsonl").open("a") as log:

        def report(line: str) -> None:
            print(line, file=log, flush=True)

        if trial.settings.init and not trainer.history:
            first = {"epoch": 0.0, **score(trainer.scored, pool, on.each)}
            trainer.record(first)
            report(json.dumps(first))
        train(trainer, pool, output, trial=trial, on=on, seconds=seconds, report=report)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"train_nuclei: {error}", file=sys.stderr)
        sys.exit(2)
