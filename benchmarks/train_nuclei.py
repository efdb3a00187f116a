"""Train `nuclei-large` for as long as there is time: `python -m benchmarks.train_nuclei`.

1. Data and the part of it that is chosen by are those of `benchmarks.nuclei_data`; settings are
   those of `RECIPE`, or of one of the `TRIALS`, which differ from it in one thing each.
2. Runs go on where they were stopped: after each epoch there is a checkpoint beside the output
   (bit for bit, same machine) and a small one (`--from-small`, any machine). `--minutes` ends a
   piece after the epoch in which they are over; a killed piece loses one epoch.
3. What is simulated or composed is made anew every `made_every` epochs, with `--workers` by other
   processes meanwhile; so are batches and the masks to score.
4. Every `scored_every` epochs, and at the end, the averaged weights are scored on the validation
   part. The best of them are the output; nothing is chosen by what is held out.
5. Each epoch is a line of JSON in a `.jsonl` beside the weights.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from benchmarks.nuclei_data import Amounts, Each, Make, Pool, compacted, read_pool, score
from torch.utils.data import Dataset

from terapose.apps.train.augment import FAULTS
from terapose.apps.train.batches import Batch, Steps, draw
from terapose.apps.train.data import Item
from terapose.apps.train.loop import Trainer
from terapose.apps.train.saving import checkpoint_of, save_weights
from terapose.apps.train.settings import Settings
from terapose.apps.train.small import restore_small, save_small, small_of
from terapose.core.errors import InputError
from terapose.io.files import written
from terapose.networks.loading import load
from terapose.networks.unet import UNet
from terapose.networks.weights import resolve

SMALL = "nuclei-small"
SEEN = 6

RECIPE = Settings(
    epochs=600,
    steps=100,
    widths=(1, 16, 32, 64, 96, 128),
    seed=7,
    precision="bfloat16",
    flow_weight=1.0,
    average=0.999,
    scales=(0.5, 2.0),
    faults=FAULTS,
    cycles=4,
)
TUNING = Settings(
    epochs=3, steps=100, rate=5e-4, seed=7, precision="bfloat16", average=0.98, init=SMALL
)
"""From `nuclei-small`: what trials are compared with."""


AMOUNTS = Amounts()
SIMULATED = Amounts(fields=0, composed=0)
"""Without what is composed of real nuclei."""


@dataclass(frozen=True)
class Trial:
    """Settings and data of a run; ``init`` of the settings names the weights it starts from.

    Attributes
    ----------
    settings
        Of the training.
    amounts
        What is made.
    scored_every, made_every
        Epochs from one scoring to the next, and those for which what is made serves.
    """

    settings: Settings
    amounts: Amounts = AMOUNTS
    scored_every: int = 10
    made_every: int = 50


FRESH = replace(RECIPE, epochs=6, cycles=1, average=0.98)
LARGE = replace(
    RECIPE,
    epochs=4000,
    batch=64,
    cycles=1,
    average=0.9995,
    widths=(1, 16, 32, 64, 128, 160),
)
"""For a GPU, where an epoch takes one to two seconds."""
TRIALS = {
    "recipe": Trial(RECIPE),
    "large": Trial(LARGE, scored_every=60, made_every=60),
    "large 30": Trial(
        replace(LARGE, rate=1e-3, diameter=30.0, edge=224, batch=32), scored_every=40, made_every=60
    ),
    "as shipped": Trial(TUNING, amounts=SIMULATED),
    "no average": Trial(replace(TUNING, average=0.0), amounts=SIMULATED),
    "two cycles": Trial(replace(TUNING, cycles=2), amounts=SIMULATED),
    "flow weight 0.2": Trial(replace(TUNING, flow_weight=0.2), amounts=SIMULATED),
    "flow weight 5": Trial(replace(TUNING, flow_weight=5.0), amounts=SIMULATED),
    "scales 0.5 to 2": Trial(replace(TUNING, scales=(0.5, 2.0)), amounts=SIMULATED),
    "varied": Trial(replace(TUNING, faults=FAULTS), amounts=SIMULATED),
    **{
        f"only {fault}": Trial(replace(TUNING, faults=(fault, "sampling")), amounts=SIMULATED)
        for fault in FAULTS[:-1]
    },
    "no sampling": Trial(replace(TUNING, faults=()), amounts=SIMULATED),
    "no taper": Trial(replace(TUNING, taper="none"), amounts=SIMULATED),
    "taper both": Trial(replace(TUNING, taper="both"), amounts=SIMULATED),
    "no slides": Trial(TUNING, amounts=replace(SIMULATED, slides=0)),
    "composed": Trial(TUNING),
    "crowded fields": Trial(TUNING, amounts=Amounts(composed=0)),
    "inflated volumes": Trial(TUNING, amounts=Amounts(fields=0)),
    "all": Trial(replace(TUNING, scales=(0.5, 2.0), faults=FAULTS)),
    "new 16,32,64,96": Trial(replace(FRESH, widths=(1, 16, 32, 64, 96))),
    "new 16,32,64,96,128": Trial(FRESH),
    "new 16,32,96,144": Trial(replace(FRESH, widths=(1, 16, 32, 96, 144))),
    "new 20,40,80,144": Trial(replace(FRESH, widths=(1, 20, 40, 80, 144))),
}


class Drawn(Dataset[Batch]):
    """Batches of what is read and of what is made anew every few epochs.

    Parameters
    ----------
    pool
        Data.
    trial
        Settings, and what is made.
    folder
        Where other processes put what they make (:meth:`make_ahead`), to be waited for; None makes
        it in this process.
    """

    def __init__(self, pool: Pool, trial: Trial, folder: Path | None) -> None:
        self._pool = pool
        self._trial = trial
        self._folder = folder
        self._part = -1
        self._begun = 0
        self._steps = Steps([], trial.settings)

    def __getitem__(self, step: int) -> Batch:
        part = step // (self._trial.made_every * self._trial.settings.steps)
        if part != self._part:
            self._steps = Steps([], self._trial.settings)  # frees the memory first
            made = [item for place, make in self._jobs(part) for item in _made(place, make)]
            self._steps = Steps(self._pool.real + made, self._trial.settings)
            self._part = part
        return self._steps[step]

    def _jobs(self, part: int) -> list[tuple[Path | None, Make]]:
        seed = self._trial.settings.seed + part
        jobs = self._pool.jobs(self._trial.amounts, seed)
        names = (self._folder / f"{part}-{n}" if self._folder else None for n in range(len(jobs)))
        return list(zip(names, jobs, strict=True))

    def make_ahead(self, epoch: int, each: Each) -> None:
        """Let other processes make what an epoch and the next part of the training need."""
        if self._folder is None:
            return
        following = epoch // self._trial.made_every + 1
        for part in range(max(self._begun, following - 1), following + 1):
            places, jobs = zip(*self._jobs(part), strict=True)
            each(_make, places, jobs)
        for old in self._folder.glob(f"{following - 2}-*"):
            old.unlink()
        self._begun = following + 1


def _make(place: Path, make: Make) -> None:
    with written(place) as path:
        path.write_bytes(pickle.dumps(compacted(make)))


def _made(place: Path | None, make: Make) -> list[Item]:
    if place is None:
        return compacted(make)
    while not place.exists():
        time.sleep(0.2)
    items: list[Item] = pickle.loads(place.read_bytes())
    return items


@contextmanager
def helpers(workers: int) -> Iterator[Each]:
    """The ``map`` of as many processes, or of none."""
    if not workers:
        yield map
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as executor:
        yield executor.map


def start(settings: Settings, device: str) -> Trainer:
    """A trainer of a new network, or of the one that the settings name."""
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
    workers: int,
    seconds: float,
    fill: bool,
    report: Callable[[str], None],
) -> None:
    """Train until the end or until the time is over, with checkpoints.

    Parameters
    ----------
    trainer
        Fresh or restored.
    pool
        Data.
    output
        Weights that scored best so far; files beside it have its name.
    trial
        Its settings are the trainer's.
    workers
        Processes that draw batches, and as many that make items and masks.
    seconds
        After which no further epoch is begun.
    fill
        Whether to end the schedule with the time: once some epochs have shown how long they take,
        their number (at most the trial's) is set.
    report
        Called with a line of JSON after each epoch.
    """
    begin = time.monotonic()
    with TemporaryDirectory() as folder:
        source = Drawn(pool, trial, Path(folder) if workers else None)
        drawn = draw(source, trainer.steps, workers=workers)  # forks, so before the other processes
        with helpers(workers) as each:
            while not trainer.finished and time.monotonic() - begin < seconds:
                source.make_ahead(trainer.epoch, each)
                _epoch(trainer, pool, output, trial.scored_every, drawn, each, report)
                if fill and len(trainer.history) == SEEN:
                    left = seconds - (time.monotonic() - begin)
                    _fill(trainer, left)


def _fill(trainer: Trainer, seconds: float) -> None:
    """Set the number of epochs to what the time allows; a tenth of it is left for scores."""
    lasted = sorted(line["seconds"] for line in trainer.history if "seconds" in line)
    more = int(0.9 * seconds / lasted[len(lasted) // 2])
    epochs = min(trainer.epoch + more, trainer.settings.epochs)
    trainer.settings = replace(trainer.settings, epochs=epochs)


def _epoch(
    trainer: Trainer,
    pool: Pool,
    output: Path,
    every: int,
    drawn: Iterator[Batch],
    each: Each,
    report: Callable[[str], None],
) -> None:
    """Train for an epoch, score the network every so often, save and report."""
    clock = time.process_time(), time.monotonic()
    line = {"epoch": trainer.epoch + 1.0, "loss": trainer.run_epoch(drawn)}
    line["processor seconds"] = time.process_time() - clock[0]
    line["seconds"] = time.monotonic() - clock[1]
    if trainer.finished or trainer.epoch % every == 0:
        line |= score(trainer.scored, pool, each)
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
    parser.add_argument("--epochs", type=int, help="in place of the trial's own number")
    parser.add_argument("--seed", type=int, help="in place of the trial's own")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="in place of the trial's own, for processors without instructions for bfloat16",
    )
    parser.add_argument("--init", help="weights to start from in place of the trial's own")
    parser.add_argument("--fill", action="store_true", help="take the epochs that --minutes allow")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of this piece")
    parser.add_argument("--from-small", type=Path, help="small checkpoint of another machine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes beside this one")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    given.output.mkdir(parents=True, exist_ok=True)
    with helpers(given.workers) as each:
        pool = read_pool(given.data, seed=RECIPE.seed, each=each)
    for name in given.trial:
        output = given.output / f"{name.replace(' ', '-')}.pth"
        trial = TRIALS[name]
        own = {name: getattr(given, name) for name in ("epochs", "seed", "precision", "init")}
        changed = {name: value for name, value in own.items() if value is not None}
        trial = replace(trial, settings=replace(trial.settings, **changed))
        run(
            trial,
            pool,
            output,
            device=given.device,
            workers=given.workers,
            small=given.from_small,
            seconds=given.minutes * 60,
            fill=given.fill,
        )


def run(
    trial: Trial,
    pool: Pool,
    output: Path,
    *,
    device: str = "cpu",
    workers: int = 0,
    small: Path | None = None,
    seconds: float = float("inf"),
    fill: bool = False,
) -> None:
    """Begin or go on with a trial, from its own checkpoint or else from a small one."""
    trainer = start(trial.settings, device)
    if checkpoint_of(output).exists():
        trainer.restore(checkpoint_of(output))
    elif small:
        restore_small(trainer, small)
    with output.with_suffix(".jsonl").open("a") as log:

        def report(line: str) -> None:
            print(line, file=log, flush=True)

        if trial.settings.init and not trainer.history:
            with helpers(workers) as each:
                first = {"epoch": 0.0, **score(trainer.scored, pool, each)}
            trainer.record(first)
            # what it starts from may stay the best
            save_weights(trainer.kept(), output)
            report(json.dumps(first))
        train(
            trainer,
            pool,
            output,
            trial=trial,
            workers=workers,
            seconds=seconds,
            fill=fill,
            report=report,
        )


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"train_nuclei: {error}", file=sys.stderr)
        sys.exit(2)
