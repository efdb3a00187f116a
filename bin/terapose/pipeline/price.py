"""What a run takes of processors, GPUs, disks and requests, and what that costs at given prices.

1. the work of each stage: its voxels, or tiles of the network, at measured rates
   (`terapose.pipeline.rates`), and a start for each task; a stage without a rate is named, not
   counted as free;
2. what its tasks request (`terapose.pipeline.needs`) is paid for as long as they run;
3. stages run one after another, on so many workers that each do one task at a time;
4. the store is paid for at its peak (`terapose.pipeline.estimate`) for all of that time.

A price that is not given is named, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from terapose.core.errors import InputError
from terapose.core.near import did_you_mean
from terapose.core.params import Parameters
from terapose.io.documents import read_object
from terapose.io.labels.ome_zarr import level_shape
from terapose.pipeline.estimate import of_store
from terapose.pipeline.graph import GRAPH, WHOLE
from terapose.pipeline.needs import Needs, is_one_task, needs_of, needs_of_whole
from terapose.pipeline.plan import Plan
from terapose.pipeline.traffic import OF_TASK, Requests, Traffic
from terapose.pipeline.work import work_of

HOURS_A_MONTH = 730
_TEXTS = ("currency", "region", "date", "note")


@dataclass(frozen=True)
class Prices:
    """What is paid; None where nothing is known of it.

    Attributes
    ----------
    cpu_hour, gpu_hour
        Of a processor core and a GPU, an hour.
    memory_gb_hour
        Of a GB of memory, an hour; 0 where it is part of the price of the core.
    disk_gb_month
        Of a GB on the disk or object store with the intermediate results, a month.
    put_per_1000, get_per_1000
        Of a thousand requests that write, and that read.
    start_seconds
        For how long a task is paid before it works: until its machine and container have started.
    currency, region, date, note
        What the prices are, for people.
    """

    cpu_hour: float | None = None
    memory_gb_hour: float | None = None
    gpu_hour: float | None = None
    disk_gb_month: float | None = None
    put_per_1000: float | None = None
    get_per_1000: float | None = None
    start_seconds: float = 2.0
    currency: str = "USD"
    region: str = ""
    date: str = ""
    note: str = ""


_NUMBERS = tuple(f.name for f in fields(Prices) if f.name not in _TEXTS)


def read_prices(path: Path) -> Prices:
    """Read a JSON file of prices.

    Raises
    ------
    InputError
        If it holds anything else, or no price.
    """
    values = read_object(path, "prices")
    known = (*_NUMBERS, *_TEXTS)
    for name, value in values.items():
        where = f"{path}: {name}"
        if name not in known:
            remedy = did_you_mean(name, known)
            allowed = ", ".join(known)
            raise InputError("is not a price", where=where, allowed=allowed, remedy=remedy)
        if name in _TEXTS and not isinstance(value, str):
            raise InputError("is not text", where=where, got=json.dumps(value), allowed="text")
        if name in _NUMBERS:
            values[name] = _number(value, where)
    if not {*_NUMBERS} - {"start_seconds"} & values.keys():
        raise InputError(
            "holds no price", where=path, allowed=f"one or more of {', '.join(_NUMBERS[:-1])}"
        )
    return Prices(**values)


def _number(value: object, where: str) -> float:
    """A price, as a number."""
    allowed = "a number, 0 or more"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("is not a number", where=where, got=json.dumps(value), allowed=allowed)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number >= 0):
        raise InputError("is not a price", where=where, got=value, allowed=allowed)
    return number


@dataclass(frozen=True)
class Use:
    """What a stage takes.

    Attributes
    ----------
    stage
        Its name.
    tasks
        Their number.
    seconds
        Of work of all tasks together, without their starts; None where no rate was measured.
    needs
        What each task requests.
    requests
        To an object store, by all of them.
    """

    stage: str
    tasks: int
    seconds: float | None
    needs: Needs
    requests: Requests

    def hours(self, prices: Prices) -> float:
        """Hours that its tasks run, one after another; none where that is not known."""
        if self.seconds is None:
            return 0.0
        return (self.seconds + self.tasks * prices.start_seconds) / 3600

    def wall(self, prices: Prices, workers: int) -> float:
        """Hours that it takes on workers that each do one task at a time."""
        return math.ceil(self.tasks / workers) * self.hours(prices) / self.tasks

    def amounts(self, prices: Prices) -> dict[str, float]:
        """How much is paid for, by the names of prices."""
        hours = self.hours(prices)
        return {
            "cpu_hour": hours * self.needs.cpus,
            "memory_gb_hour": hours * self.needs.memory / 1e9,
            "gpu_hour": hours * self.needs.gpus,
            "put_per_1000": self.requests.puts / 1000,
            "get_per_1000": self.requests.gets / 1000,
        }


@dataclass(frozen=True)
class Bill:
    """What a run takes, and costs.

    Attributes
    ----------
    prices, workers
        As given.
    uses
        Of the stages with tasks, in their order.
    unmeasured
        Names of the stages whose time is in none of the sums.
    store
        Bytes at the peak.
    labels
        Bytes of the label images on all levels, before they are compressed.
    """

    prices: Prices
    workers: int
    uses: tuple[Use, ...]
    unmeasured: tuple[str, ...]
    store: int
    labels: int

    @property
    def hours(self) -> float:
        """From the start to the end, of the stages whose time is known."""
        return sum(use.wall(self.prices, self.workers) for use in self.uses)

    @property
    def amounts(self) -> dict[str, float]:
        """How much is paid for in all, by the names of prices; 0 is left out."""
        found: dict[str, float] = {"disk_gb_month": self.store / 1e9 * self.hours / HOURS_A_MONTH}
        for use in self.uses:
            for name, amount in use.amounts(self.prices).items():
                found[name] = found.get(name, 0.0) + amount
        return {name: found[name] for name in _NUMBERS if found.get(name)}

    def cost(self, amounts: Mapping[str, float]) -> float:
        """Money for amounts, as far as there are prices for them."""
        return sum(n * (getattr(self.prices, name) or 0.0) for name, n in amounts.items())

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Names of the prices that would be needed, and are not given."""
        return tuple(name for name in self.amounts if getattr(self.prices, name) is None)


def bill_of(
    plan: Plan,
    params: Parameters,
    prices: Prices,
    *,
    workers: int = 1,
    image_chunk: Sequence[int] | None = None,
) -> Bill:
    """What the run of a plan takes, and costs.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters.
    prices
        What is paid.
    workers
        Tasks that run at a time.
    image_chunk
        (Z, Y, X) of the image's chunks, if it is on an object store.
    """
    values = params.model_dump()
    running = [stage for stage in GRAPH if stage.runs(plan, params)]
    requests = requests_of(plan, values, image_chunk)
    uses = tuple(
        Use(
            stage.name,
            len(plan.tasks[stage.name]),
            work_of(plan, values, stage.name),
            needs_of(plan, stage.name, params),
            requests[stage.name],
        )
        for stage in running
        if stage.over is not None
    )
    unmeasured = [s.name for s in running if s.over is None]
    unmeasured += [use.stage for use in uses if use.seconds is None]
    unmeasured += ["the run of the second network"] * params.has_second
    if is_one_task(plan, params):
        uses = (_whole(plan, uses),)
    return Bill(prices, workers, uses, tuple(unmeasured), of_store(plan), _labels(plan, params))


def requests_of(
    plan: Plan, params: Mapping[str, Any], image_chunk: Sequence[int] | None
) -> dict[str, Requests]:
    """Requests of each stage that works on arrays, by its name, for all its tasks.

    Parameters
    ----------
    plan
        The plan.
    params
        All parameters by name.
    image_chunk
        (Z, Y, X) of the image's chunks, if it is on an object store, too.
    """
    traffic = Traffic(plan, params, image_chunk)
    return {
        stage.name: stage.requests(traffic) + Requests(*2 * [OF_TASK * len(plan.tasks[stage.name])])
        for stage in GRAPH
        if stage.requests and plan.tasks[stage.name]
    }


def _labels(plan: Plan, params: Parameters) -> int:
    """Bytes of the label images, with cells, nuclei and cytoplasm where there are three."""
    output = plan.result(params.upscale)
    voxels = sum(math.prod(level_shape(output.shape, factor)) for factor in output.factors)
    return 4 * voxels * (3 if params.expand or params.has_second else 1)


def _whole(plan: Plan, uses: Sequence[Use]) -> Use:
    """One task that does what the tasks of all stages do."""
    seconds = sum(use.seconds or 0.0 for use in uses)
    requests = sum((use.requests for use in uses), Requests())
    return Use(WHOLE.name, 1, seconds, needs_of_whole(plan), requests)
