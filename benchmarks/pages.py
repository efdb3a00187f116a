"""Pages of the documentation that scripts write a part of."""

from __future__ import annotations

from pathlib import Path


def into(page: Path, text: str, begin: str, end: str) -> None:
    """Put a text between two marks in a page."""
    before, rest = page.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
