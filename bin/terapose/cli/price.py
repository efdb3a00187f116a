"""`terapose plan --price`: what a plan takes and costs, in lines for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from terapose.core.amounts import in_bytes
from terapose.core.errors import shown

if TYPE_CHECKING:
    from terapose.core.params import Parameters
    from terapose.io.images.model import Image
    from terapose.pipeline.plan import Plan
    from terapose.pipeline.price import Bill, Prices

EXAMPLES = "prices.json"
"""File among those that come with Terapose (`terapose.io.shipped`)."""
WORKERS = 100
"""Tasks at a time, unless another number is given."""
_WORDS = {
    "cpu_hour": "cores",
    "memory_gb_hour": "memory",
    "gpu_hour": "GPUs",
    "disk_gb_month": "disk",
    "put_per_1000": "writing requests",
    "get_per_1000": "reading requests",
}


def prices_of(given: str) -> Prices:
    """Prices in a file, or with ``default`` the examples."""
    from pathlib import Path

    from terapose.io.shipped import shipped_file
    from terapose.pipeline.price import read_prices

    return read_prices(shipped_file(EXAMPLES) if given == "default" else Path(given))


def price_lines(
    plan: Plan, params: Parameters, image: Image, prices: Prices, workers: int | None
) -> list[str]:
    """What a plan takes and costs.

    Parameters
    ----------
    plan, params, image
        As they are checked and planned.
    prices
        As `prices_of` found them.
    workers
        Tasks at a time.
    """
    from terapose.io.remote import SCHEMES
    from terapose.pipeline.price import bill_of

    is_remote = image.address.partition("://")[0].lower() in SCHEMES
    chunk = image.chunks if is_remote else None
    bill = bill_of(plan, params, prices, workers=workers or WORKERS, image_chunk=chunk)
    about = ", ".join(shown(text) for text in (prices.region, prices.date) if text)
    note = f": {shown(prices.note)}" if prices.note else ""
    return [f"prices    {about or 'of no region or date'}{note}", *bill_lines(bill)]


def bill_lines(bill: Bill) -> list[str]:
    """The sums, and each stage's share of the money."""
    amounts = bill.amounts
    lines = [f"time      {_hours(bill.hours)} with {bill.workers} tasks at a time"]
    lines += [f"cores     {_number(amounts.get('cpu_hour', 0))} core hours"]
    lines += [f"memory    {_number(amounts.get('memory_gb_hour', 0))} GB hours"]
    if gpus := amounts.get("gpu_hour"):
        lines += [f"gpus      {_number(gpus)} GPU hours"]
    months = _number(amounts.get("disk_gb_month", 0))
    lines += [f"disk      {in_bytes(bill.store)} at its peak, {months} GB months", _requests(bill)]
    labels = f"a label image of {in_bytes(bill.labels)} before it is compressed, and tables"
    lines += [f"results   {labels}: to keep them is in no figure here"]
    parts = {name: bill.cost({name: amount}) for name, amount in amounts.items()}
    lines += [f"money     {_money(sum(parts.values()), bill)}{_listed(parts, bill)}"]
    for name in _unpriced(bill):
        lines += [f"no price  {name} is not given: {_WORDS[name]} are not in the sum"]
    if bill.unmeasured:
        names = ", ".join(bill.unmeasured)
        lines += [f"unknown   not measured, and in no figure above: the time of {names}"]
    return [*lines, *_shares(bill)]


def _requests(bill: Bill) -> str:
    """How many there are, and whether they are paid for."""
    puts, gets = (
        round(1000 * bill.amounts.get(name, 0)) for name in ("put_per_1000", "get_per_1000")
    )
    free = "" if _pays_requests(bill) else " (no price is given: free, as on a disk)"
    return f"requests  {puts:,} that write, {gets:,} that read, if all is on an object store{free}"


def _pays_requests(bill: Bill) -> bool:
    return not (bill.prices.put_per_1000 is None and bill.prices.get_per_1000 is None)


def _unpriced(bill: Bill) -> list[str]:
    """Prices that are needed and not given; whoever gives neither kind of request has a disk."""
    paid = _pays_requests(bill)
    return [name for name in bill.unpriced if paid or not name.endswith("_per_1000")]


def _listed(parts: Mapping[str, float], bill: Bill) -> str:
    known = [f"{_WORDS[n]} {_money(c, bill, unit=False)}" for n, c in parts.items() if c]
    return f": {', '.join(known)}" if known else ""


def _shares(bill: Bill) -> list[str]:
    """A line for each stage; the disk is that of all of them."""
    costs = [bill.cost(use.amounts(bill.prices)) for use in bill.uses]
    whole = sum(costs)
    lines = []
    for use, cost in zip(bill.uses, costs, strict=True):
        if use.seconds is None:
            said = "not measured"
        else:
            part = f", {100 * cost / whole:.1f} %" if whole else ""
            said = f"{_hours(use.hours(bill.prices))} of tasks, {_money(cost, bill)}{part}"
        lines.append(f"{use.stage:<14} {use.tasks:>6} tasks, {said}")
    return lines


def _money(amount: float, bill: Bill, *, unit: bool = True) -> str:
    text = f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"
    return f"{text} {shown(bill.prices.currency)}" if unit else text


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def _hours(hours: float) -> str:
    if hours < 1:
        return f"{math.ceil(60 * hours)} min"
    return f"{hours:,.1f} h"
