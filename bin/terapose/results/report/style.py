"""How pages look: plain, in light and in dark, on a wide screen and on a narrow one."""

from __future__ import annotations

from terapose.core.version import __version__
from terapose.results.report.elements import Child, Markup, element
from terapose.results.report.own import GENERATOR

_CSS = """
:root { color-scheme: light dark; --ink: #1c1d21; --dim: #5c606a; --paper: #fff; --soft: #f3f4f6;
  --line: #d8dade; --bars: #3b6ea8; --warn: #a04a00; --warn-paper: #fff5ea; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7ea; --dim: #a0a4ae; --paper: #15161a;
  --soft: #1f2126; --line: #363942; --bars: #7fb0e6; --warn: #ffb870; --warn-paper: #2b2117;
  --link: #8ec2ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.2rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { max-width: 48rem; margin: .4rem 0; }
a { color: var(--link); }
.dim, figcaption, caption { color: var(--dim); font-size: .875rem; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; margin: 1rem 0; }
.facts div { background: var(--soft); border-radius: .4rem; padding: .5rem .7rem; }
.facts dt { color: var(--dim); font-size: .8rem; }
.facts dd { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
.warnings { list-style: none; padding: 0; margin: .8rem 0; display: grid; gap: .5rem; }
.warnings li { border-left: 4px solid var(--warn); background: var(--warn-paper);
  padding: .5rem .8rem; overflow-wrap: anywhere; }
.warnings strong { font-weight: 600; }
.warnings code { font-size: .9em; white-space: nowrap; }
.views { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 46%), 1fr));
  gap: .9rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr));
  gap: 1.2rem; }
.sections { display: grid; gap: .9rem; align-items: start; max-width: 62rem;
  grid-template-columns: var(--wide) var(--deep); }
figure { margin: 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg.view { border-radius: .25rem; }
.overview { max-width: 60rem; margin-bottom: .9rem; }
.view .paper { fill: #101014; }
.view.sharp image { image-rendering: pixelated; }
.view .mark { stroke: #fff; stroke-opacity: .55; stroke-width: 1.5; stroke-dasharray: 7 6;
  vector-effect: non-scaling-stroke; }
.view .ground { fill: #000; fill-opacity: .65; }
.view .bar, .view .length { fill: #fff; }
.view .length, .chart text { font-family: system-ui, sans-serif; }
.view .length, .chart .at { text-anchor: middle; }
.chart text { font-size: 12px; fill: var(--dim); }
.chart .to { text-anchor: end; }
.chart .bars, .chart .part { fill: var(--bars); }
.chart .axis { stroke: var(--dim); }
.chart .limit { stroke: var(--warn); stroke-dasharray: 4 3; }
.chart .frame { fill: none; stroke: var(--line); }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tbody th { font-weight: 400; }
td { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-size: .85em; overflow-wrap: anywhere; }
.switch { margin: .8rem 0; display: block; }
body:has(#outlines:not(:checked)) image.outlines { display: none; }
@media (max-width: 40rem) { .facts { grid-template-columns: 1fr 1fr; }
  .sections { grid-template-columns: 1fr; } .sections figure:nth-child(2) { width: var(--part); }
  table { font-size: .8rem; } th, td { padding-right: .45rem; } }
@media print { .switch { display: none; } }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"


def page(title: str, *parts: Child) -> str:
    """A whole page, which needs nothing else and runs nothing.

    Parameters
    ----------
    title
        Its title.
    *parts
        Of the body.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="generator", content=f"{GENERATOR} {__version__}"),
        # a browser that is given something to run by mistake does not run it, either
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(_CSS)),
    )
    body = element("body", element("main", *parts))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"
