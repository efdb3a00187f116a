"""What runs came to is added up in a page, each seed once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.reliability import page

HAPPENED = Counter(
    {"kill: killed": 7, "kill: done": 2, "swap: a sentence": 1200, "damage between runs": 31}
)


def test_seeds_are_added_once(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(f"before\n{page.BEGIN}{page.END}\nafter\n")
    page.add(range(0, 10), HAPPENED, file)
    once = file.read_text()
    assert once.startswith("before\n") and once.endswith(f"{page.END}\nafter\n")
    assert "10 seeds with up to two sequences each, 1,209 runs (seeds 0 to 9)." in once
    assert "| it is killed at a write or a rename | 9 | 2 | 7 | 0 |" in once
    assert "| a file of the store was damaged before | 31 | - | - | - |" in once
    page.add(range(0, 10), HAPPENED, file)
    assert file.read_text() == once
    page.add(range(20, 25), HAPPENED, file)
    twice = file.read_text()
    assert "15 seeds with up to two sequences each, 2,418 runs (seeds 0 to 9, 20 to 24)." in twice
    assert "| the image is replaced | 2,400 | 0 | 0 | 2,400 |" in twice
    with pytest.raises(ValueError, match="already"):
        page.add(range(5, 15), HAPPENED, file)


def test_the_page_has_a_table() -> None:
    text = page.PAGE.read_text()
    part = text[text.index(page.BEGIN) + len(page.BEGIN) : text.index(page.END)]
    assert page.table(*page.read(part)) == part
