"""The pages as a whole: every one in the navigation of the site, every relative link a target.

Nothing is built here; `make docs-site` does that, and is as strict about links between pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = (".", "docs", ".github", "contrib", "assets")
PAGES = sorted(
    page
    for folder in FOLDERS
    for page in (ROOT / folder).glob("*.md" if folder in (".", "docs") else "**/*.md")
)


def prose(page: Path) -> str:
    """Return the text of a page without fenced blocks and comments."""
    return re.sub(
        r"^ *```.*?^ *```|<!--.*?-->", "", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )


def anchors(page: Path) -> list[str]:
    """Return the anchors that GitHub gives the headings of a page; a repeated one is numbered."""
    found: list[str] = []
    seen: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return found


def faults(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere, in any form that Markdown has."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    links = re.findall(r"\]\(<?([^)\s>]+)", text)
    links += re.findall(r"^ *\[[^\]]+\]: +<?(\S+?)>?$", text, re.MULTILINE)
    links += re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_relative_to(ROOT) or not target.exists():
            yield f"{link}: no such file"
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            yield f"{link}: no such heading"


def entries(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation, or of a part of one."""
    if isinstance(nav, str):
        yield nav
        return
    for entry in nav.values() if isinstance(nav, dict) else nav:
        yield from entries(entry)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_a_file_or_a_heading(page: Path) -> None:
    assert list(faults(page)) == []


def test_links_that_lead_nowhere_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# `a.b`, c\n## Twice\n## Twice\n```sh\n# no heading\n```\n"
        "[good](#ab-c) [good](page.md#twice-1) [good](https://example.org/none) `[i](j)`\n"
        "[bad](none.md) ![bad](none.png) [bad](#no-heading)\n"
        "[bad](page.md#twice-2) [`bad`](../out.md)\n"
        '<img src="none.svg"> [bad][1]\n\n[1]: none.txt\n'
    )
    assert list(faults(page)) == [
        "none.md: no such file",
        "none.png: no such file",
        "#no-heading: no such heading",
        "page.md#twice-2: no such heading",
        "../out.md: no such file",
        "none.txt: no such file",
        "none.svg: no such file",
    ]


def test_every_page_is_in_the_navigation_once() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = sorted(entries(site["nav"]))
    outside = [name for name in named if not (DOCS / name).exists()]
    assert sorted({page.name for page in DOCS.glob("**/*.md")} | set(outside)) == named
    for name in outside:
        assert (ROOT / f"{name.removesuffix('.md').upper()}.md").is_file(), name


def test_the_index_says_what_every_page_is_for() -> None:
    index = (DOCS / "index.md").read_text()
    linked = {link for link in re.findall(r"\]\(([^)\s#]+)", index)}
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked
