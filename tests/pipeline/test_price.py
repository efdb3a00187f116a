"""What a plan takes and costs: sums by hand, what is not known, and prices that are none."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zarr
from tests.command import Terapose

from terapose.cli.price import bill_lines
from terapose.core.params import check
from terapose.io.shipped import shipped_file
from terapose.networks.files import identify
from terapose.pipeline import work as work_module
from terapose.pipeline.checked import open_checked
from terapose.pipeline.estimate import of_store
from terapose.pipeline.needs import Needs, needs_of, needs_of_whole
from terapose.pipeline.plan import Plan
from terapose.pipeline.planning import make_plan
from terapose.pipeline.price import Bill, Prices, Use, bill_of, read_prices
from terapose.pipeline.rates import TILES, WORK
from terapose.pipeline.traffic import Requests

GB = 10**9
PRICES = Prices(
    cpu_hour=0.05,
    memory_gb_hour=0.01,
    gpu_hour=3.0,
    disk_gb_month=0.02,
    put_per_1000=0.005,
    get_per_1000=0.0004,
    start_seconds=36.0,
)
USES = (
    Use("gradients-yx", 10, 7200 - 360, Needs(4 * GB, 60, 2, 1), Requests(5000, 20_000)),
    Use("follow", 100, 3600.0, Needs(2 * GB, 60, 1, 0), Requests(1000, 30_000)),
)
BILL = Bill(PRICES, 4, USES, ("seeds",), 73 * GB, 4 * GB)


def planned(folder: Path, model: Path, shape: tuple[int, ...], **params: Any) -> tuple[Plan, Any]:
    """A plan of an image without values, and its parameters."""
    image = folder / "image.zarr"
    if not image.exists():
        chunks = tuple(min(n, 64) for n in shape)
        zarr.create_array(str(image), shape=shape, chunks=chunks, dtype="uint16")
    checked = check({"model": str(model), **params})
    return make_plan(open_checked(str(image), checked), identify(model), checked), checked


def test_sums_are_those_by_hand() -> None:
    # 2 hours of gradients on 2 cores and a GPU; an hour of follow and 100 starts of 36 s
    assert [use.hours(PRICES) for use in USES] == [2, 2]
    # 3 rounds of a tenth of 2 hours, 25 of a hundredth
    assert BILL.hours == pytest.approx(3 * 0.2 + 25 * 0.02)
    assert BILL.amounts == pytest.approx(
        {
            "cpu_hour": 2 * 2 + 2,
            "memory_gb_hour": 4 * 2 + 2 * 2,
            "gpu_hour": 2,
            "disk_gb_month": 73 * 1.1 / 730,
            "put_per_1000": 6,
            "get_per_1000": 50,
        }
    )
    money = 6 * 0.05 + 12 * 0.01 + 2 * 3 + 0.11 * 0.02 + 6 * 0.005 + 50 * 0.0004
    assert BILL.cost(BILL.amounts) == pytest.approx(money) == pytest.approx(6.4722)
    assert BILL.unpriced == ()


def test_lines_say_the_sums_and_what_is_in_none() -> None:
    said = "\n".join(bill_lines(BILL))
    assert "time      1.1 h with 4 tasks at a time" in said
    assert "cores     6 core hours" in said and "gpus      2 GPU hours" in said
    assert "requests  6,000 that write, 50,000 that read" in said
    assert "money     6.47 USD: cores 0.30, memory 0.12, GPUs 6.00, disk 0.0022" in said
    assert "not measured, and in no figure above: the time of seeds" in said
    # without the disk, 6.47 is 6.28 and 0.19
    assert "\ngradients-yx       10 tasks, 2.0 h of tasks, 6.31 USD, 97.6 %" in said
    assert "\nfollow            100 tasks, 2.0 h of tasks, 0.16 USD, 2.4 %" in said


def test_what_has_no_price_or_rate_is_said() -> None:
    unknown = replace(USES[1], stage="peaks", seconds=None)
    bill = replace(
        BILL,
        prices=Prices(cpu_hour=1, put_per_1000=1, currency="EUR"),
        uses=(*USES, unknown),
        unmeasured=("seeds", "peaks"),
    )
    assert bill.unpriced == ("memory_gb_hour", "gpu_hour", "disk_gb_month", "get_per_1000")
    said = "\n".join(bill_lines(bill))
    for name, words in (("gpu_hour", "GPUs"), ("get_per_1000", "reading requests")):
        assert f"no price  {name} is not given: {words} are not in the sum" in said
    assert "peaks             100 tasks, not measured" in said
    assert "the time of seeds, peaks" in said and " EUR: cores " in said
    # on a disk requests cost nothing, and this is said, too
    said = "\n".join(bill_lines(replace(bill, prices=Prices(cpu_hour=1))))
    assert "(no price is given: free, as on a disk)" in said and "get_per_1000" not in said


def test_work_of_a_volume_is_its_voxels_and_tiles(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "WORK", {**WORK, ("combine", "volumes"): 1e6})
    shape = (40, 300, 500)
    plan, params = planned(tmp_path, tiny_model, shape, max_tasks=3, block_shape=(40, 100, 100))
    bill = bill_of(plan, params, PRICES, workers=5)
    found = {use.stage: use for use in bill.uses}
    voxels = math.prod(shape)
    assert found["follow"].seconds == pytest.approx(voxels / WORK["follow", "volumes"])
    assert found["combine"].seconds == 0, "the network's grid is that of the image"
    # tiles of 224 pixels that overlap by a tenth: 2 x 3 in each plane of 300 x 500
    beside = voxels / WORK["gradients-yx", "volumes"]
    rate = TILES["unet", "cpu", "float32"]
    assert found["gradients-yx"].seconds == pytest.approx(40 * 2 * 3 / rate + beside)
    # the planes of a volume of 40 are two slabs
    few = {"export", "gradients-yx"}
    assert {use.tasks for use in bill.uses if use.stage not in few} == {3}
    assert all(use.needs == needs_of(plan, use.stage, params) for use in bill.uses)
    assert bill.store == of_store(plan)
    assert {"percentiles", "seeds", "finish"} <= set(bill.unmeasured)
    assert "follow" not in bill.unmeasured and "gpu_hour" not in bill.amounts


def test_gpus_are_paid_for_by_the_network_alone(tmp_path: Path, tiny_model: Path) -> None:
    shape = (40, 300, 500)
    cut = {"max_tasks": 3, "block_shape": (40, 100, 100)}
    plan, params = planned(tmp_path, tiny_model, shape, use_gpu=True, **cut)
    bill = bill_of(plan, params, PRICES)
    on_gpus = [use for use in bill.uses if use.needs.gpus]
    assert [use.stage for use in on_gpus] == [f"gradients-{axis}" for axis in ("yx", "zx", "zy")]
    hours = sum(use.hours(PRICES) for use in on_gpus)
    assert bill.amounts["gpu_hour"] == pytest.approx(hours)
    beside = math.prod(shape) / WORK["gradients-yx", "volumes"]
    rate = TILES["unet", "cuda", "float32"]
    assert on_gpus[0].seconds == pytest.approx(240 / rate + beside)


def test_a_small_image_is_one_task(tmp_path: Path, tiny_model: Path) -> None:
    plan, params = planned(tmp_path, tiny_model, (90, 100))
    assert plan.is_small
    (use,) = bill_of(plan, params, PRICES).uses
    split, cut = planned(tmp_path, tiny_model, (90, 100), block_shape=(1, 45, 50), max_tasks=9)
    several = bill_of(split, cut, PRICES).uses
    assert (use.stage, use.tasks, use.needs) == ("whole", 1, needs_of_whole(plan))
    assert use.seconds == pytest.approx(sum(one.seconds or 0 for one in several))


def test_of_a_network_whose_speed_nobody_knows_it_is_said(tmp_path: Path, tiny_model: Path) -> None:
    plan, params = planned(tmp_path, tiny_model, (90, 100), precision="bfloat16")
    assert "gradients-yx" in bill_of(plan, params, PRICES).unmeasured
    second = params.model_copy(update={"cell_model": "other"})
    assert "the run of the second network" in bill_of(plan, second, PRICES).unmeasured


def test_the_examples_are_prices() -> None:
    prices = read_prices(shipped_file("prices.json"))
    assert prices.region and prices.date and "replace them" in prices.note
    assert None not in (prices.cpu_hour, prices.gpu_hour, prices.get_per_1000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cpu_hours": 1}', "cpu_hours: is not a price; allowed: cpu_hour, .*mean cpu_hour?"),
        ('{"cpu_hour": -0.1}', "cpu_hour: is not a price; got -0.1; allowed: a number, 0 or more"),
        ('{"cpu_hour": NaN}', "cpu_hour: is not a price; got nan"),
        ('{"gpu_hour": Infinity}', "gpu_hour: is not a price; got inf"),
        (f'{{"gpu_hour": 1{"0" * 400}}}', "gpu_hour: is not a price; got 1000"),
        ('{"cpu_hour": "0.04"}', 'cpu_hour: is not a number; got "0.04"; allowed: a number'),
        ('{"cpu_hour": true}', "cpu_hour: is not a number; got true"),
        ('{"cpu_hour": null}', "cpu_hour: is not a number; got null"),
        ('{"cpu_hour": [1]}', "cpu_hour: is not a number"),
        ('{"cpu_hour": 1, "currency": 3}', "currency: is not text; got 3"),
        ('{"cpu_hour": 1, "cpu_hour": 2}', "the same key several times"),
        ('{"currency": "EUR", "start_seconds": 3}', "holds no price; allowed: one or more of cpu"),
        ("{}", "holds no price"),
        ("[1]", "holds no prices; allowed: a JSON object"),
        ("cpu_hour: 1", "is not JSON"),
    ],
)
def test_what_is_no_price_is_refused(
    text: str, said: str, tmp_path: Path, tiny_model: Path, command: Terapose
) -> None:
    (tmp_path / "prices.json").write_text(text)
    planned(tmp_path, tiny_model, (90, 100))
    words = ("--model", tiny_model, "--price", tmp_path / "prices.json")
    answer = command.refuses("plan", tmp_path / "image.zarr", *words, "--output", tmp_path / "p")
    pattern, _, more = said.partition(".*")
    assert pattern in answer and more in answer
    assert not (tmp_path / "p").exists()


def test_the_command_prints_them(tmp_path: Path, tiny_model: Path, command: Terapose) -> None:
    planned(tmp_path, tiny_model, (90, 100))
    words = ("plan", tmp_path / "image.zarr", "--model", tiny_model)
    (tmp_path / "mine.json").write_text(json.dumps({"cpu_hour": 2, "currency": "EUR"}))
    said = command(*words, "--price", tmp_path / "mine.json", "--workers", 7)
    assert said.code == 0, said.err
    assert "\ntime      1 min with 7 tasks at a time\n" in said.out and " EUR: cores " in said.out
    said = command(*words, "--price", "default")
    assert "\nprices    us-east-1" in said.out and "with 100 tasks at a time\n" in said.out
    assert "money" not in command(*words).out
    assert "only used with --price" in command.refuses(*words, "--workers", 3)
    assert "cannot be read" in command.refuses(*words, "--price", tmp_path / "none.json")
