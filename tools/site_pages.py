"""Hooks of mkdocs: pages of the repository as the website shows them.

Links are written as GitHub follows them, relative to the file they are in. Here pages from the top
of the repository join those of docs/, links are turned to where their files are on the site, and
headings get the anchors that GitHub gives them. Markdown within `<details>` is read, as there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)\s#]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors of GitHub."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the navigation that are not in docs/, and the files that pages link to."""
    for source in _outside(config.nav):
        files.append(_file(config, source))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            source = _source(page.src_uri, link)
            known = files.get_file_from_path(_site(source)) is not None
            if not known and not source.startswith(DOCS) and (ROOT / source).is_file():
                files.append(_file(config, source))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to files of the repository into links to pages and files of the site."""
    markdown = markdown.replace("<details>", "<details markdown>")
    uri = page.file.src_uri
    here = posixpath.dirname(uri) or "."

    def turned(link: re.Match[str]) -> str:
        return posixpath.relpath(_site(_source(uri, link[1])), here)

    return LINK.sub(turned, markdown)


def _outside(nav: Any) -> Iterator[str]:
    """Yield the files at the top of the repository that the navigation names in small letters."""
    if isinstance(nav, str):
        source = _origin(nav)
        if not source.startswith(DOCS):
            yield source
        return
    for entry in nav.values() if isinstance(nav, dict) else nav:
        yield from _outside(entry)


def _origin(uri: str) -> str:
    """Return the path in the repository of a page of the site."""
    top = f"{uri.removesuffix('.md').upper()}.md"
    return DOCS + uri if (ROOT / DOCS / uri).exists() or not (ROOT / top).exists() else top


def _source(uri: str, link: str) -> str:
    """Return the path in the repository of what a page of the site links to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(_origin(uri)), link))


def _site(source: str) -> str:
    """Return where a file of the repository is on the site."""
    if source == "README.md":
        return "index.md"
    if source.startswith(DOCS):
        return source.removeprefix(DOCS)
    return source.lower() if "/" not in source else source


def _file(config: MkDocsConfig, source: str) -> File:
    """Return a file of the repository that is not in docs/ as a file of the site."""
    return File.generated(config, _site(source), abs_src_path=str(ROOT / source))
