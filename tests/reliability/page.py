"""What random sequences of runs came to, added up in docs/reliability.md by `make soak`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->\n", "<!-- soak: end -->"
ENDINGS = ("done", "killed", "a sentence")
WHAT = {
    "undisturbed": "nothing",
    "damage between runs": "a file of the store was damaged before",
    "remove between runs": "a file of the store was removed before",
    "kill": "it is killed at a write or a rename",
    "full": "the disk is full from some write on",
    "damage": "a file of the store is damaged",
    "remove": "a file of the store is removed",
    "swap": "the image is replaced",
    "twin": "all tasks run twice at the same time",
}
"""What may happen to a run, in words. What was damaged before may come with any other."""


def read(text: str) -> tuple[set[int], Counter[str]]:
    """Seeds, and how often each trouble came to each end, as a page has them."""
    seeds, counts = set[int](), Counter[str]()
    for first, last in re.findall(r"(\d+) to (\d+)", text):
        seeds |= set(range(int(first), int(last) + 1))
    for what, words in WHAT.items():
        for row in re.findall(rf"^\| {words} \| (.*) \|$", text, re.MULTILINE):
            cells = row.replace(",", "").replace("-", "0").split(" | ")
            numbers = [int(cell) for cell in cells]
            counts[what] = numbers[0]
            for ending, number in zip(ENDINGS, numbers[1:], strict=True):
                counts[f"{what}: {ending}"] = number
    return seeds, counts


def table(seeds: set[int], counts: Counter[str]) -> str:
    """The part of the page."""
    starts = sorted(n for n in seeds if n - 1 not in seeds)
    stops = sorted(n for n in seeds if n + 1 not in seeds)
    spans = ", ".join(f"{a} to {b}" for a, b in zip(starts, stops, strict=True))
    runs = sum(counts[f"{what}: {ending}"] for what in WHAT for ending in ENDINGS)
    lines = [
        f"{len(seeds):,} seeds with up to two sequences each, {runs:,} runs (seeds {spans}).",
        "",
        "| what happens to a run | times | done | killed | error |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for what, words in WHAT.items():
        ends = [counts[f"{what}: {ending}"] for ending in ENDINGS]
        shown = [f"{n:,}" for n in ends] if sum(ends) or not counts[what] else ["-"] * len(ends)
        lines.append(f"| {words} | {counts[what]:,} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def is_new(seeds: range, page: Path = PAGE) -> bool:
    """Whether a page has nothing of these seeds yet.

    Raises
    ------
    ValueError
        If it has some of them, and not others.
    """
    known, _ = read(_part(page)[1])
    if known >= set(seeds):
        return False
    if known & set(seeds):
        raise ValueError(f"some of the seeds {seeds} are in {page} already")
    return True


def add(seeds: range, happened: Counter[str], page: Path = PAGE) -> None:
    """Add what seeds came to; those that are there already add nothing."""
    if not is_new(seeds, page):
        return
    head, old, tail = _part(page)
    known, counts = read(old)
    for what in WHAT:
        ends = [f"{what}: {ending}" for ending in ENDINGS]
        counts[what] += happened[what] or sum(happened[end] for end in ends)
        for end in ends:
            counts[end] += happened[end]
    text = table(known | set(seeds), counts)
    page.write_text(f"{head}{BEGIN}{text}{END}{tail}", encoding="utf-8")


def _part(page: Path) -> tuple[str, str, str]:
    """What stands before the table, the table, and what comes after it."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, _, tail = rest.partition(END)
    return head, old, tail
