"""What `terapose evaluate` does with pairs of label images: score, print, write files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terapose.core.errors import InputError, shown

if TYPE_CHECKING:
    from terapose.apps.evaluate.asked import Answer, Asked
    from terapose.apps.evaluate.cellmap import Instances, Semantic
    from terapose.apps.evaluate.pairs import Pair
    from terapose.io.images.array_like import Lazy

Blocks = tuple[float, float, float]


@dataclass(frozen=True)
class Files:
    """Files that are asked for.

    Attributes
    ----------
    report
        JSON.
    table
        CSV.
    picture
        PNG.
    """

    report: Path | None = None
    table: Path | None = None
    picture: Path | None = None

    def check(self, pairs: Sequence[Pair], table: Path | None) -> None:
        """Refuse to write over what is compared, the table that names it, or results."""
        from terapose.results.named_files import check_files

        read = [address for pair in pairs for address in (pair.reference, pair.predicted)]
        named = [] if table is None else [str(table)]
        check_files((self.report, self.table, self.picture), (*read, *named))


def chosen_pairs(reference: str, predicted: str, table: Path | None) -> tuple[list[Pair], bool]:
    """Pairs of images that a command line names, and whether they are several.

    Raises
    ------
    InputError
        If it names both a table and images, or neither, or what `terapose.apps.evaluate.pairs`
        refuses.
    """
    from terapose.apps.evaluate.pairs import (
        Pair,
        is_folder,
        label_image,
        pairs_in_folders,
        pairs_in_table,
    )

    if (table is None) == (not reference) or (table is None) == (not predicted):
        raise InputError(
            "needs two label images, two folders, or a table of pairs",
            where="evaluate",
            remedy="give REFERENCE and PREDICTED, or --pairs",
        )
    if table is not None:
        return pairs_in_table(table), True
    reference, predicted = label_image(reference), label_image(predicted)
    if is_folder(reference) and is_folder(predicted):
        return pairs_in_folders(reference, predicted), True
    return [Pair("", reference, predicted)], False


def score_one(pair: Pair, asked: Asked, out: Files) -> None:
    """Score a single pair."""
    from terapose.apps.evaluate.drawing import draw
    from terapose.apps.evaluate.files import write_csv, write_json
    from terapose.apps.evaluate.summary import HEADER, row_of
    from terapose.cli.score_tables import print_evaluation

    found = _answer(pair, asked, "comparing")
    print_evaluation(found.evaluation)
    _print_notes(found)
    if out.report is not None:
        write_json(found.as_dict(), out.report)
    if out.table is not None:
        write_csv(HEADER, [row_of(found.evaluation)], out.table)
    if out.picture is not None:
        draw({pair.predicted: found.evaluation}, out.picture)


def score_all(pairs: Sequence[Pair], asked: Asked, out: Files) -> None:
    """Score several pairs, and all of them together."""
    from terapose.apps.evaluate.asked import check_pairs
    from terapose.apps.evaluate.drawing import draw
    from terapose.apps.evaluate.files import write_csv, write_json
    from terapose.apps.evaluate.summary import HEADER, row_of, summary
    from terapose.cli.score_tables import print_summary

    check_pairs([(pair.reference, pair.predicted, "") for pair in pairs], asked)
    answers = {pair.title: _answer(pair, asked, shown(pair.title, 40)) for pair in pairs}
    evaluations = {name: one.evaluation for name, one in answers.items()}
    rows = {name: row_of(one) for name, one in evaluations.items()}
    total = summary(evaluations)
    print_summary(rows, total)
    for one in answers.values():
        _print_notes(one)
    if out.report is not None:
        each = {name: one.as_dict() for name, one in answers.items()}
        write_json({"pairs": each, "summary": total}, out.report)
    if out.table is not None:
        named = [{"name": name, **row} for name, row in rows.items()]
        write_csv(("name", *HEADER), named, out.table)
    if out.picture is not None:
        draw(evaluations, out.picture)


def score_cellmap(pairs: Sequence[Pair], asked: Asked, out: Files, kind: str | None) -> None:
    """Score pairs as the CellMap challenge does; pairs of a class are pooled."""
    from terapose.apps.evaluate.asked import cellmap_answer, check_pairs
    from terapose.apps.evaluate.cellmap import SCORED, pooled
    from terapose.apps.evaluate.files import write_csv, write_json
    from terapose.cli.progress import progress
    from terapose.cli.score_tables import CELLMAP, cellmap_rows, print_cellmap

    if out.picture is not None:
        raise InputError("these scores are not drawn", where="cellmap", remedy="leave picture out")
    kinds = [pair.kind or kind or "" for pair in pairs]
    if "" in kinds:
        raise InputError(
            "says nothing of the kind of class",
            where=pairs[kinds.index("")].title,
            remedy="fill in the column kind, or give --cellmap for those without",
        )
    named = zip(pairs, kinds, strict=True)
    check_pairs([(pair.reference, pair.predicted, one) for pair, one in named], asked)
    scores: list[tuple[Pair, Instances | Semantic]] = []
    for pair, one in zip(pairs, kinds, strict=True):
        with progress(shown(pair.title, 40) or "comparing") as show:
            found = cellmap_answer(pair.reference, pair.predicted, one, asked, progress=show)
        scores.append((pair, found))
    classes, total = pooled([(pair.label, found) for pair, found in scores])
    print_cellmap(classes, total)
    for pair, found in scores:
        if getattr(found, "status", SCORED) != SCORED:
            click.echo(f"note: {shown(pair.title)}: {found.as_dict()['status']}", err=True)
    if out.report is not None:
        each = [
            {"name": pair.name, "class": pair.label, **found.as_dict()} for pair, found in scores
        ]
        by_class = {name: found.as_dict() for name, found in classes.items()}
        write_json({"pairs": each, "classes": by_class, **total}, out.report)
    if out.table is not None:
        write_csv(CELLMAP, cellmap_rows(scores), out.table)


def _answer(pair: Pair, asked: Asked, title: str) -> Answer:
    from terapose.apps.evaluate.asked import answer
    from terapose.cli.progress import progress

    with progress(title) as show:
        return answer(
            pair.reference,
            pair.predicted,
            asked,
            recorded=_recorded(pair.predicted),
            progress=show,
        )


def _print_notes(found: Answer) -> None:
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _recorded(address: str) -> Callable[[Lazy], Blocks | None] | None:
    """Looks up the blocks of the run that a label image is a result of."""
    if "://" in address:
        return None

    def found(labels: Lazy) -> Blocks | None:
        from terapose.results.earlier import record_of
        from terapose.results.report.source import block_of

        record = record_of(Path(address).parent) or {}
        try:
            block = block_of(record)
            same = list(labels.shape) == record["output"]["shape"]
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        divided = block is not None and any(b < n for b, n in zip(block, labels.shape, strict=True))
        return block if same and divided else None

    return found
