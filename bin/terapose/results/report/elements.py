"""Elements of a page. Text is escaped, whoever wrote it; only what is made here is not."""

from __future__ import annotations

import html

from terapose.core.errors import shown

_VOID = frozenset(["input", "meta", "image", "rect", "line", "path", "img"])
_MOST = 2000


class Markup(str):
    """Markup that was made by `element`, or is a constant of this package."""

    __slots__ = ()


Child = str | int | float | None


def text(value: object) -> Markup:
    """A value as text of a page: escaped and cut off, without control characters or credentials."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(shown(value, _MOST), quote=True))


def element(name: str, /, *children: Child, **attributes: object) -> Markup:
    """An element with its children.

    Parameters
    ----------
    name
        Of the element; a constant.
    *children
        Markup as it is, everything else as text; None is left out.
    **attributes
        Values, which are escaped; None leaves one out. A ``_`` at the end of a name is dropped, one
        within becomes a hyphen, but in ``viewBox`` and the like there is none.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Several children, one after the other."""
    return Markup("".join(text(child) for child in children if child is not None))


def table(header: list[Child], rows: list[list[Child]], caption: str | None = None) -> Markup:
    """A table that scrolls in its own box where the page is too narrow.

    Parameters
    ----------
    header
        Titles of the columns.
    rows
        Cells of each row; the first is the row's title.
    caption
        Above the table.
    """
    head = element("tr", *(element("th", title, scope="col") for title in header))
    body = joined(
        *(
            element(
                "tr",
                element("th", first, scope="row"),
                *(
                    element("td", cell, class_=_kind(cell) if len(rest) > 1 else None)
                    for cell in rest
                ),
            )
            for first, *rest in rows
        )
    )
    return element(
        "div",
        element(
            "table",
            None if caption is None else element("caption", caption),
            element("thead", head),
            element("tbody", body),
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption or "table",
    )


def _kind(cell: Child) -> str | None:
    """Numbers, and dashes in their places, are aligned to the right."""
    if isinstance(cell, Markup) or cell is None:
        return None
    return "number" if str(cell)[:1] in "-\N{EN DASH}0123456789" else None


def number(value: float | None, digits: int = 3) -> str:
    """A number as it is read: 1,234 or 0.123; a dash where there is none.

    Parameters
    ----------
    value
        The number.
    digits
        Significant ones, of numbers that are not whole.
    """
    if value is None or value != value:
        return "\N{EN DASH}"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
