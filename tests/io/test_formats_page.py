"""docs/formats.md says what is read, as it is read: its tables are made here.

`TERAPOSE_WRITE=1 python -m pytest tests/io/test_formats_page.py` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.formats import EXAMPLES, REFUSED, Example

from terapose.core.errors import InputError
from terapose.io.images.model import Image
from terapose.io.images.opening import open_image

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
READ = (
    "| on disk | format | axes in the file | read as | metadata | how it is read |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)
SAID = "| on disk | what is said |\n| --- | --- |\n"


def _row(example: Example, image: Image) -> str:
    names = image.channel_names
    known = [
        "voxel size" if image.voxel_size else "",
        "channel names" if names and not names[0].startswith("channel ") else "",
        f"{image.levels} levels" if image.levels > 1 else "",
        f"{image.times} times" if image.times > 1 else "",
    ]
    way = "by region" if image.is_lazy else "copied once"
    shown = ", ".join(word for word in known if word) or "-"
    read = image.layout.read
    return f"| {example.what} | {image.format} | {image.axes} | {read} | {shown} | {way} |\n"


def _between(text: str, name: str) -> tuple[int, int]:
    start = text.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
    return start, text.index(f"<!-- end of {name} -->")


def _check(name: str, table: str) -> None:
    """The part of the page is the table; or it is written."""
    text = PAGE.read_text(encoding="utf-8")
    start, stop = _between(text, name)
    if os.environ.get("TERAPOSE_WRITE"):
        PAGE.write_text(text[:start] + table + text[stop:], encoding="utf-8")
    else:
        assert text[start:stop] == table, "write it anew with TERAPOSE_WRITE=1"


def test_what_is_read(tmp_path: Path) -> None:
    rows = []
    for number, example in enumerate(EXAMPLES):
        folder = tmp_path / str(number)
        folder.mkdir()
        rows.append(_row(example, open_image(example.write(folder), **example.options)))
    _check("read", READ + "".join(rows))


def test_what_is_refused(tmp_path: Path) -> None:
    rows = []
    for number, example in enumerate(REFUSED):
        folder = tmp_path / str(number)
        folder.mkdir()
        address = example.write(folder)
        with pytest.raises(InputError) as said:
            open_image(address, **example.options)
        what = str(said.value).replace(str(folder), "").lstrip("/").partition(": ")[2]
        rows.append(f"| {example.what} | {what.replace('|', '/')} |\n")
    _check("refused", SAID + "".join(rows))
